"""`like=`: pictures that look like examples of the data."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import sequential
from keras import layers, ops

from vis.backend.step import engine
from vis.input_modifiers import Jitter
from vis.losses import ActivationMaximization
from vis.parametrizations import Fourier, PrincipalComponents
from vis.regularizers import TotalVariation
from vis.visualization import (
    visualize_activation,
    visualize_activation_with_losses,
    visualize_filters,
)


def squares(count=300, seed=0):
    """Grey images of a bright square in one of four corners, with a constant border."""
    rng = np.random.default_rng(seed)
    images = np.full((count, 12, 12, 1), 0.25, "float32")
    images[:, 1:11, 1:11] = rng.uniform(0.1, 0.3, (count, 10, 10, 1))
    labels = rng.integers(4, size=count)
    for image, label in zip(images, labels, strict=True):
        top, left = 1 + 5 * (label // 2), 1 + 5 * (label % 2)
        image[top : top + 5, left : left + 5] += rng.uniform(0.4, 0.7)
    return images, labels


@pytest.fixture(scope="module")
def data():
    return squares()


@pytest.fixture(scope="module")
def model(data):
    keras.utils.set_random_seed(0)
    model = sequential(
        (12, 12, 1),
        layers.Conv2D(8, 3, activation="relu", name="conv"),
        layers.Flatten(),
        layers.Dense(4),
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(*data, epochs=12, verbose=0)
    assert model.evaluate(*data, verbose=0)[1] > 0.98
    return model


class Batches(keras.utils.PyDataset):
    def __init__(self, examples, labels):
        super().__init__()
        self.examples, self.labels = examples, labels

    def __len__(self):
        return -(-len(self.examples) // 32)

    def __getitem__(self, i):
        some = slice(32 * i, 32 * (i + 1))
        return self.examples[some], self.labels[some]


def pictures(model, like, filters=(0, 1, 2, 3), **settings):
    settings = {"seed": 0, "progress": False, "max_iter": 40, **settings}
    return visualize_filters(model, -1, list(filters), like=like, **settings)


def nearest(images, data):
    """The label of the nearest example to each image."""
    examples, labels = data
    distances = ((images[:, None] - examples[None]) ** 2).sum((2, 3, 4))
    return labels[distances.argmin(1)]


def test_pictures_look_like_the_examples_of_their_class(model, data):
    images = visualize_filters(model, -1, seed=0, progress=False, like=data[0])
    np.testing.assert_array_equal(nearest(images, data), range(4))
    assert (images >= data[0].min(0)).all()
    assert (images <= data[0].max(0)).all()
    assert (images[:, 0] == 0.25).all()
    without = visualize_filters(model, -1, seed=0, progress=False, input_range=(0.0, 1.0))
    errors = [((p[:, None] - data[0][None]) ** 2).mean((2, 3, 4)).min() for p in (images, without)]
    assert errors[0] < errors[1] / 2


def test_visualize_activation(model, data):
    drawn = [visualize_activation(model, -1, c, like=data[0], seed=0) for c in range(4)]
    np.testing.assert_array_equal(nearest(np.stack(drawn), data), range(4))
    assert drawn[0].dtype == np.float32
    losses = [(ActivationMaximization(model.layers[-1], 2), 1)]
    again = visualize_activation_with_losses(model.inputs[0], losses, like=data[0], seed=0)
    np.testing.assert_array_equal(again, drawn[2])


def test_the_same_seed_alone_and_in_a_batch(model, data):
    together = pictures(model, data[0])
    np.testing.assert_array_equal(pictures(model, data[0]), together)
    np.testing.assert_array_equal(pictures(model, data[0], [2])[0], together[2])
    assert (pictures(model, data[0], [2], seed=1)[0] != together[2]).any()
    facets = pictures(model, data[0], [2, 2])
    np.testing.assert_array_equal(facets[0], together[2])
    assert (facets[1] != facets[0]).any()


@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_one_trace_for_all_filters_of_a_layer(model, data, monkeypatch):
    """`evaluate_losses` is only called while a step is traced."""
    calls = []
    evaluate_losses = engine.evaluate_losses

    def recorded(*args):
        calls.append(args)
        return evaluate_losses(*args)

    monkeypatch.setattr(engine, "evaluate_losses", recorded)
    settings = {"seed": 0, "progress": False, "max_iter": 3, "like": data[0]}
    visualize_filters(model, "conv", [0], **settings)
    traces = len(calls)
    assert traces
    for channels in ([3, 5], [1, 2, 6]):
        visualize_filters(model, "conv", channels, **settings)
    visualize_filters(model, "conv", [4, 7], **{**settings, "like": data[0].copy()})
    assert len(calls) == traces


def test_like_is_short_for_principal_components(model, data):
    parametrization = PrincipalComponents(data[0])
    drawn = pictures(model, data[0], [1])
    again = pictures(model, None, [1], parametrization=parametrization)
    np.testing.assert_array_equal(drawn, again)
    one = visualize_activation(model, -1, 1, like=data[0], seed=0, max_iter=9)
    other = visualize_activation(model, -1, 1, parametrization=parametrization, seed=0, max_iter=9)
    np.testing.assert_array_equal(one, other)


def test_explicit_arguments_override_the_defaults(model, data):
    call = {"like": data[0], "seed": 0}
    usual = visualize_activation(model, -1, 1, **call)
    explicit = {
        "lp_norm_weight": 0,
        "tv_weight": 0,
        "max_iter": 100,
        "input_modifiers": [Jitter(0.04)],
        "input_range": (float(data[0].min()), float(data[0].max())),
    }
    np.testing.assert_array_equal(visualize_activation(model, -1, 1, **call, **explicit), usual)
    for name, value in [
        ("tv_weight", 300),
        ("lp_norm_weight", 300),
        ("max_iter", 5),
        ("input_modifiers", [Jitter(4)]),
        ("optimizer", keras.optimizers.Adam(0.01)),
    ]:
        assert (visualize_activation(model, -1, 1, **call, **{name: value}) != usual).any()
    smooth = visualize_activation(model, -1, 1, tv_weight=300, **call)
    assert abs(np.diff(smooth, axis=0)).mean() < 0.8 * abs(np.diff(usual, axis=0)).mean()
    half = visualize_activation(model, -1, 1, **{**call, "input_range": (0.0, 1.0)})
    assert half.max() <= 1
    seed_image = data[0][data[1] == 2][0]
    begun = visualize_activation(model, -1, 1, seed_input=seed_image, max_iter=1, **call)
    assert np.corrcoef(begun.ravel(), seed_image.ravel())[0, 1] > 0.8
    usual = pictures(model, data[0], [1])
    for name, value in [
        ("max_iter", 5),
        ("input_modifiers", [Jitter(4)]),
        ("optimizer", keras.optimizers.Adam(0.01)),
    ]:
        assert (pictures(model, data[0], [1], **{name: value}) != usual).any()


def test_weights_of_explicit_losses(model, data):
    losses = [
        (ActivationMaximization(model.layers[-1], 2), 0.001),
        (TotalVariation(model.inputs[0]), 500),
    ]
    smooth = visualize_activation_with_losses(model.inputs[0], losses, like=data[0], seed=0)
    usual = visualize_activation(model, -1, 2, like=data[0], seed=0)
    assert abs(np.diff(smooth, axis=0)).mean() < 0.8 * abs(np.diff(usual, axis=0)).mean()


def test_resuming_from_a_checkpoint(model, data, tmp_path):
    call = {"like": data[0], "seed": 3}
    whole = visualize_activation(model, -1, 1, max_iter=20, **call)
    resumable = {"checkpoint": tmp_path / "run.npz", **call}
    visualize_activation(model, -1, 1, max_iter=8, **resumable)
    np.testing.assert_array_equal(
        visualize_activation(model, -1, 1, max_iter=20, **resumable), whole
    )
    with pytest.raises(ValueError, match=r"`checkpoint`.*`parametrization`(.|\n)*Received: "):
        visualize_activation(model, -1, 1, max_iter=30, **{**resumable, "like": squares(seed=5)[0]})


def test_uint8_examples_give_uint8_pictures():
    rng = np.random.default_rng(0)
    examples = rng.integers(0, 256, (40, 9, 9, 3), dtype="uint8")
    model = sequential((9, 9, 3), layers.Rescaling(1 / 255), layers.Conv2D(2, 3))
    drawn = visualize_filters(model, -1, [0], like=examples, progress=False, max_iter=3)
    assert drawn.dtype == np.uint8
    assert visualize_activation(model, -1, 0, like=examples, max_iter=3).dtype == np.uint8


@pytest.mark.every(2)
@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((7,), layers.Dense(3)),
        ((20, 2), layers.Conv1D(3, 3)),
        ((6, 6, 6, 1), layers.Conv3D(3, 3)),
        ((3, 10, 8), layers.Conv2D(3, 1, data_format="channels_first")),
        ((40, 30, 3), layers.Conv2D(3, 5)),
    ],
)
def test_inputs_of_each_kind(shape, layer, monkeypatch):
    # The last has a texture.
    monkeypatch.setattr("vis.parametrizations.principal_components._MAX_VALUES", 1000)
    examples = np.random.default_rng(0).normal(size=(30, *shape)).astype("float32")
    model = sequential(shape, layer)
    if shape == (3, 10, 8):
        # A CPU has no convolution with the channels first.
        model = sequential(
            shape, layers.GlobalAveragePooling2D(data_format="channels_first"), layers.Dense(3)
        )
    drawn = visualize_filters(model, -1, [0, 2], like=examples, progress=False, max_iter=4, seed=0)
    expected = (10, 8, 3) if shape == (3, 10, 8) else shape
    assert drawn.shape == (2, *expected)
    one = visualize_activation(model, -1, 0, like=examples, max_iter=4)
    assert one.shape == expected
    for picture in (*drawn, one):
        assert examples.min() <= picture.min() < picture.max() <= examples.max()


def test_table_rows_keep_their_correlations():
    rng = np.random.default_rng(0)
    size = rng.uniform(1, 3, 400)
    rows = np.stack([size, 1000 * size, 5 - size, np.full(400, 7.0)], axis=1)
    rows[:, :3] *= rng.normal(1, 0.02, (400, 3))
    rows = rows.astype("float32")
    model = sequential((4,), layers.Dense(1, use_bias=False))
    model.set_weights([np.array([[1.0], [0], [0], [0.0]])])
    (row,) = visualize_filters(model, -1, [0], like=rows, progress=False, seed=0)
    # Only the first column is optimised; the others follow.
    assert row[0] > 2.3
    assert abs(row[1] / 1000 - row[0]) < 0.25
    assert abs(5 - row[0] - row[2]) < 0.4
    assert row[3] == 7


def test_embedded_words():
    rng = np.random.default_rng(0)
    inputs = keras.Input((5,), dtype="int32")
    embedding = layers.Embedding(50, 4)
    x = layers.Flatten()(embedding(inputs))
    model = keras.Model(inputs, layers.Dense(3)(x))
    words = rng.integers(1, 9, (60, 5))
    words[:, 0] = 7
    drawn = visualize_filters(model, -1, [0, 1], like=words, progress=False, max_iter=9)
    assert drawn.shape == (2, 5, 4)
    table = embedding.get_weights()[0]
    np.testing.assert_array_equal(drawn[0, 0], table[7])
    assert drawn.min() >= table[1:9].min()
    assert drawn.max() <= table[1:9].max()
    one = visualize_activation(model, -1, 0, like=words, max_iter=9)
    np.testing.assert_array_equal(one[0], table[7])


@pytest.mark.parametrize("shape", [(), (1,)])
def test_strings_as_examples(shape):
    import tensorflow as tf

    look_up = layers.TextVectorization(vocabulary=["good", "bad", "film"], output_sequence_length=3)
    inputs = keras.Input(shape, dtype="string")
    embedding = layers.Embedding(9, 4)
    x = layers.Flatten()(embedding(look_up(inputs)))
    model = keras.Model(inputs, layers.Dense(2)(x))
    texts = ["good film", "bad film", "film", "good good film"] * 3
    drawn = pictures(model, texts, [0, 1], max_iter=3)
    assert drawn.shape == (2, 3, 4)
    shaped = np.reshape(texts, (12, *shape))
    for same in (
        shaped,
        tf.data.Dataset.from_tensor_slices(shaped),
        tf.data.Dataset.from_tensor_slices(shaped).batch(5),
        iter(texts),
    ):
        np.testing.assert_array_equal(pictures(model, same, [0, 1], max_iter=3), drawn)
    with pytest.raises(TypeError, match="`like` must hold text"):
        pictures(model, np.zeros((9, *shape)), [0])
    with pytest.raises(ValueError, match="`like` must hold at least two examples"):
        pictures(model, iter(()), [0])


@pytest.fixture(scope="module")
def two_inputs():
    inputs = {"image": keras.Input((8, 8, 1), name="image"), "row": keras.Input((3,), name="row")}
    x = layers.Flatten()(layers.Conv2D(4, 3)(inputs["image"]))
    outputs = layers.Dense(2)(layers.Concatenate()([x, inputs["row"]]))
    rng = np.random.default_rng(0)
    examples = {"image": rng.uniform(0, 1, (20, 8, 8, 1)), "row": rng.uniform(10, 20, (20, 3))}
    return keras.Model(inputs, outputs), examples


def test_open_length_of_texts():
    inputs = keras.Input((None,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(20, 4)(inputs))
    model = keras.Model(inputs, layers.Dense(3)(x))
    words = np.random.default_rng(0).integers(1, 9, (60, 6))
    drawn = visualize_filters(model, -1, [0], like=words, progress=False, max_iter=3)
    assert drawn.shape == (1, 6, 4)
    assert visualize_activation(model, -1, 0, like=words, max_iter=3).shape == (6, 4)


def test_several_inputs_by_name_or_position(two_inputs):
    model, examples = two_inputs
    drawn = visualize_activation(model, -1, 0, like=examples, max_iter=5, seed=0)
    assert {name: value.shape for name, value in drawn.items()} == {
        "image": (8, 8, 1),
        "row": (3,),
    }
    assert 0 <= drawn["image"].min() < drawn["image"].max() <= 1
    assert 10 <= drawn["row"].min() < drawn["row"].max() <= 20
    listed = visualize_activation(
        model, -1, 0, like=[examples["image"], examples["row"]], max_iter=5, seed=0
    )
    np.testing.assert_array_equal(listed["row"], drawn["row"])
    batches = ({k: v[i : i + 5] for k, v in examples.items()} for i in range(0, 20, 5))
    singles = ({k: v[i] for k, v in examples.items()} for i in range(20))
    labelled = ((tuple(v[i : i + 5] for v in examples.values()), [0] * 5) for i in (0, 5, 10, 15))
    for stream in (batches, singles, labelled):
        streamed = visualize_activation(model, -1, 0, like=stream, max_iter=5, seed=0)
        np.testing.assert_array_equal(streamed["image"], drawn["image"])
        np.testing.assert_array_equal(streamed["row"], drawn["row"])


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_ranges_and_parametrizations_by_input_name():
    inputs = {"zebra": keras.Input((3,), name="a"), "ant": keras.Input((3,), name="b")}
    outputs = layers.Dense(2)(layers.Concatenate()([inputs["zebra"], inputs["ant"]]))
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    examples = {"zebra": rng.uniform(0, 1, (20, 3)), "ant": rng.uniform(10, 20, (20, 3))}
    priors = {name: PrincipalComponents(values) for name, values in examples.items()}
    for settings in (
        {"like": examples},
        {"parametrization": priors},
        {"like": examples, "input_range": {"zebra": (0.0, 1.0), "ant": (0.0, 25.0)}},
    ):
        drawn = visualize_activation(model, -1, 0, max_iter=4, **settings)
        assert drawn["zebra"].max() <= 1
        assert drawn["ant"].min() >= 10


def test_fixed_inputs_need_no_examples(two_inputs):
    model, examples = two_inputs
    fixed = {"row": np.full(3, 12.0)}
    like = {"image": examples["image"]}
    one = visualize_activation(model, -1, 0, like=like, fixed_inputs=fixed, max_iter=5)
    many = visualize_filters(
        model, -1, like=examples, fixed_inputs=fixed, max_iter=5, progress=False
    )
    assert many.shape == (2, *np.shape(one if not isinstance(one, dict) else one["image"]))
    with pytest.raises(ValueError, match=r"`like`.*'row'"):
        visualize_activation(model, -1, 0, like=like, max_iter=5)


def test_open_image_size(recwarn):
    model = sequential((None, None, 1), layers.Conv2D(3, 3))
    examples = np.random.default_rng(0).uniform(size=(20, 14, 11, 1))
    drawn = visualize_filters(model, -1, like=examples, max_iter=3, progress=False)
    assert drawn.shape == (3, 14, 11, 1)
    assert visualize_activation(model, -1, 0, like=examples, max_iter=3).shape == (14, 11, 1)
    assert not [w for w in recwarn if "open in size" in str(w.message)]


def test_each_kind_of_dataset(model, data):
    import tensorflow as tf

    examples, labels = data
    expected = pictures(model, examples, [1], max_iter=5)
    labelled = tf.data.Dataset.from_tensor_slices((examples, labels))
    for same in (
        list(examples),
        [examples[:100], examples[100:]],
        examples[..., 0],
        (examples, labels),
        list(zip(examples, labels, strict=True)),
        ops.convert_to_tensor(examples),
        np.moveaxis(examples, -1, 1),
        labelled,
        labelled.batch(32),
        tf.data.Dataset.from_tensor_slices(examples).batch(7),
        (image for image in examples),
        Batches(examples, labels),
    ):
        np.testing.assert_array_equal(pictures(model, same, [1], max_iter=5), expected)


def test_an_endless_generator_is_read_in_part(model):
    read = 0

    def endless():
        nonlocal read
        rng = np.random.default_rng(0)
        while True:
            read += 1
            yield rng.uniform(size=(40, 12, 12, 1)), np.zeros(40)

    pictures(model, endless(), [1], max_iter=3)
    assert read == 5000 / 40


def test_a_folder_of_images(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    for i, image in enumerate(images):
        folder = tmp_path / ("cats", "dogs")[i // 4]
        folder.mkdir(exist_ok=True)
        keras.utils.save_img(folder / f"{i}.png", image, scale=False)
    read_by_keras = keras.utils.image_dataset_from_directory(
        tmp_path, image_size=(16, 16), batch_size=3, verbose=0, shuffle=False
    )
    model = sequential((16, 16, 3), layers.Conv2D(2, 3))
    expected = pictures(model, images, [0, 1], max_iter=3)
    for folder in (tmp_path, str(tmp_path)):
        np.testing.assert_array_equal(pictures(model, folder, [0, 1], max_iter=3), expected)
        one = visualize_activation(model, -1, 0, like=folder, seed=0, max_iter=3)
        assert one.dtype == np.uint8
    drawn = pictures(model, read_by_keras, [0, 1], max_iter=3)
    np.testing.assert_allclose(drawn, expected, atol=1)
    scaled = pictures(model, tmp_path, [0, 1], max_iter=3, input_range=(-1.0, 1.0))
    assert -1 <= scaled.min() < scaled.max() <= 1
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    by_losses = visualize_activation_with_losses(
        model.inputs[0], losses, like=tmp_path, seed=0, max_iter=3
    )
    assert by_losses.dtype == np.uint8


def test_folders_for_a_model_with_two_inputs(two_inputs, tmp_path):
    model, examples = two_inputs
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1)).astype("uint8")
    for i, image in enumerate(images):
        keras.utils.save_img(tmp_path / f"{i}.png", image, scale=False)
    ranges = {"image": (0.0, 1.0), "row": (5.0, 25.0)}
    for like in ({"image": tmp_path, "row": examples["row"]}, [tmp_path, examples["row"]]):
        drawn = visualize_activation(
            model, -1, 0, like=like, input_range=ranges, max_iter=3, seed=0
        )
        assert 0 <= drawn["image"].min() < drawn["image"].max() <= 1
    with pytest.raises(ValueError, match=r"`like` must be an array.* of shape "):
        visualize_activation(model, -1, 0, like={"image": tmp_path, "row": tmp_path})
    with pytest.raises(TypeError, match="`like` must be a list"):
        visualize_activation(model, -1, 0, like=tmp_path)


GOOD = np.random.default_rng(0).uniform(size=(20, 12, 12, 1))
NAN = np.where(np.arange(12)[:, None] == 3, np.nan, GOOD)


@pytest.mark.parametrize(
    ("like", "settings", "message"),
    [
        (GOOD[:, :9], {}, r"shape \(12, 12, 1\).*Received: like of shape \(20, 9, 12, 1\)"),
        (GOOD[:, :9].tolist(), {}, r"shape \(12, 12, 1\).*Received: "),
        (NAN, {}, r"finite.*Received: .* 240 NaN"),
        (300 * GOOD, {"input_range": (0, 255)}, r"is \(0, 255\)\. Received: .* from 0.* to 29"),
        (GOOD - 0.5, {"input_range": (0.0, 1.0)}, r"is \(0, 1\)\. Received: .* from -0\.49"),
        (GOOD, {"input_range": (0, 255)}, r"is \(0, 255\)\. Received: .* to 0.9"),
        (GOOD[:1], {}, r"at least two.*Received: 1 example$"),
        (GOOD[0], {}, r"at least two.*Received: 1 example$"),
        ([], {}, r"at least two.*Received: no examples"),
        (iter([]), {}, r"at least two.*Received: no examples"),
        (np.ones((5, 12, 12, 1)), {}, r"differ.*Received: 5 examples that are all alike"),
        ("photographs/", {}, r"folder that exists.*Received: like=photographs/"),
        (["a", "b"], {}, r"numbers.*Received: "),
        ({1, 2}, {}, r"be a folder, an array.*Received: like of type set"),
        (7, {}, r"be a folder, an array.*Received: like of type int"),
        (len, {}, r"be a folder, an array.*Received: like of type"),
        ({"input": GOOD}, {}, r"names of the inputs.*Received: "),
        ([GOOD[0], GOOD[0, :9]], {}, r"shape \(12, 12, 1\).*Received: like of shape \(9, 12, 1\)"),
        (GOOD + 1j, {}, r"numbers.*Received: like of type complex"),
    ],
)
def test_bad_examples(model, like, settings, message):
    for call in (visualize_filters, visualize_activation):
        if hasattr(like, "__next__"):
            like = iter([])
        with pytest.raises((TypeError, ValueError), match=rf"`like`(.|\n)*{message}"):
            call(model, -1, [1], like=like, max_iter=1, **settings)


def test_contradicting_arguments(model, data):
    for call in (visualize_filters, visualize_activation):
        with pytest.raises(ValueError, match=r"`parametrization`.*`like`(.|\n)*Received: "):
            call(model, -1, 0, like=data[0], parametrization=Fourier())
        of_another_shape = PrincipalComponents(data[0][:, :9])
        with pytest.raises(ValueError, match=r"`parametrization`(.|\n)*Received: .*\(9, 12, 1\)"):
            call(model, -1, 0, parametrization=of_another_shape)
    with pytest.raises(ValueError, match=r"`like`(.|\n)*Received: .*\(12, 12, 1\)"):
        visualize_filters(model, "conv", 0, like=data[0], image_size=20)

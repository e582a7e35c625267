"""`top_activating_images`, against NumPy and for each kind of dataset."""

from __future__ import annotations

import itertools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import channels_last, sequential
from keras import layers
from PIL import Image

from vis.utils.utils import LayerOutput
from vis.visualization import top_activating_images

RNG = np.random.default_rng(0)
CONVOLUTIONS = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}


def find(model, images, layers, *args, **kwargs):
    return top_activating_images(model, images, layers, *args, progress=False, **kwargs)


def convolved(images, kernel, bias, stride, padding):
    """A convolution of channels-last images as a sum over windows, and its padding at the start."""
    size, sizes = kernel.shape[0], images.shape[1:-1]
    padding_before = [0] * len(sizes)
    if padding == "same":
        padded = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in sizes]
        padding_before = [n // 2 for n in padded]
        pairs = [(before, n - before) for before, n in zip(padding_before, padded, strict=True)]
        images = np.pad(images, [(0, 0), *pairs, (0, 0)])
    out = [(n - size) // stride + 1 for n in images.shape[1:-1]]
    outputs = np.zeros((len(images), *out, kernel.shape[-1]))
    axes = list(range(len(out) + 1))
    for position in itertools.product(*map(range, out)):
        window = tuple(slice(i * stride, i * stride + size) for i in position)
        inputs = images[(slice(None), *window)]
        outputs[(slice(None), *position)] = np.tensordot(
            inputs, kernel, ([a + 1 for a in axes], axes)
        )
    return outputs + bias, padding_before


def sampled_heatmap(values, box, first_centre, stride, points=400):
    """A heatmap over a box: in each cell, the mean of the values nearest to many points."""
    ends = len(box) // 2
    values = (values - values.min()) / (values.max() - values.min())
    for start, stop, first in zip(box[:ends], box[ends:], first_centre, strict=True):
        cells = min(max(round((stop - start) / stride), 1), 16)
        rows = []
        for left, right in itertools.pairwise(np.linspace(start, stop, cells + 1)):
            pixels = left + (np.arange(points) + 0.5) / points * (right - left)
            nearest = np.floor((pixels - first) / stride + 0.5).astype(int)
            inside = nearest[(nearest >= 0) & (nearest < len(values))]
            rows.append(values[inside].mean(axis=0) if len(inside) else 0 * values[0])
        # Each axis is moved to the end; after all of them, the order is the same again.
        values = np.moveaxis(np.stack(rows), 0, -1)
    return values


@pytest.mark.every(5)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_against_numpy(dimensions, data_format, stride, padding):
    sizes = (13, 10, 9)[:dimensions]
    shape = (2, *sizes) if data_format == "channels_first" else (*sizes, 2)
    kind = CONVOLUTIONS[dimensions]
    layer = kind(3, 3, strides=stride, padding=padding, data_format=data_format)
    model = sequential(shape, layer)
    layer.set_weights([layer.get_weights()[0], np.array([0.1, -0.2, 0.3], "float32")])
    images = RNG.normal(size=(12, *shape)).astype("float32")
    found = find(model, images, -1, count=5, batch_size=4).layers[0]

    last = channels_last(images, data_format)
    maps, padding_before = convolved(last, *layer.get_weights(), stride, padding)
    flat = maps.reshape(len(images), -1, 3)
    activations = flat.max(axis=1)
    np.testing.assert_allclose(found.activations, activations, atol=1e-5)
    order = np.argsort(-activations, axis=0)[:5].T
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.values, np.sort(activations, axis=0)[::-1][:5].T, atol=1e-5)
    for channel, rank in itertools.product(range(3), range(5)):
        image = order[channel, rank]
        values = maps[image, ..., channel]
        position = np.array(np.unravel_index(values.argmax(), values.shape))
        np.testing.assert_array_equal(found.positions[channel, rank], position)
        start = position * stride - padding_before
        box = [*np.maximum(start, 0), *np.minimum(start + 3, sizes)]
        np.testing.assert_array_equal(found.boxes[channel, rank], box)
        window = tuple(map(slice, *np.split(np.array(box), 2)))
        crop = channels_last(found.crop(channel, rank)[None], data_format)[0]
        np.testing.assert_array_equal(crop, last[(image, *window)])
        heatmap = found.heatmaps[channel][rank]
        centres = 1.5 - np.array(padding_before)
        np.testing.assert_allclose(
            heatmap, sampled_heatmap(values, box, centres, stride), atol=0.01
        )
        assert 0 <= heatmap.min() <= heatmap.max() <= 1 + 1e-6


def test_a_large_heatmap_is_averaged():
    inputs = keras.Input((32, 32, 1))
    maps = layers.Conv2D(1, 3, padding="same")(inputs)
    mean = layers.GlobalAveragePooling2D(keepdims=True)(maps)
    model = keras.Model(inputs, layers.Add(name="wide")([maps, mean]))
    images = RNG.uniform(size=(3, 32, 32, 1)).astype("float32")
    found = find(model, images, "wide", count=1).layers[0]
    heatmap, values = (
        found.heatmaps[0][0],
        model.predict(images, verbose=0)[found.indices[0, 0], ..., 0],
    )
    values = (values - values.min()) / np.ptp(values)
    assert found.boxes[0, 0].tolist() == [0, 0, 32, 32]
    np.testing.assert_allclose(heatmap, values.reshape(16, 2, 16, 2).mean(axis=(1, 3)), atol=1e-5)


def test_a_global_receptive_field_is_the_whole_image():
    model = sequential(
        (8, 8, 1),
        layers.Conv2D(2, 3, padding="same"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax", name="classes"),
    )
    images = RNG.normal(size=(6, 8, 8, 1)).astype("float32")
    found = find(model, images, "classes").layers[0]
    dense = model.layers[-1]
    features = keras.Model(model.inputs, dense.input).predict(images, verbose=0)
    logits = features @ dense.get_weights()[0] + dense.get_weights()[1]
    np.testing.assert_allclose(found.activations, logits, atol=1e-5)
    assert found.indices.shape == (3, 6)
    assert found.positions.shape == (3, 6, 0)
    assert (found.boxes == [0, 0, 8, 8]).all()
    assert found.receptive_field == (8, 8)
    assert found.heatmaps[0][0].shape == ()
    np.testing.assert_array_equal(found.crop(2, rank=5), images[found.indices[2, 5]])


def test_receptive_fields_of_convolutions_without_padding():
    """Their stride is less than the ratio of the input's and the output's size."""
    stack = [layers.Conv2D(2, 3, strides=2) for _ in range(3)]
    model = sequential((51, 51, 1), *stack)
    images = RNG.normal(size=(30, 51, 51, 1)).astype("float32")
    found = find(model, images, -1, count=30).layers[0]
    assert found.receptive_field == (15, 15)
    boxes = np.concatenate([found.positions * 8, found.positions * 8 + 15], axis=-1)
    np.testing.assert_array_equal(found.boxes, boxes)


def test_ties_go_to_the_earlier_image():
    image = RNG.normal(size=(1, 6, 6, 1)).astype("float32")
    images = np.concatenate([0.5 * image, image, 0.5 * image, image, image])
    model = sequential((6, 6, 1), layers.Conv2D(1, 3, use_bias=False, activation="relu"))
    for size in (1, 2, 5):
        found = find(model, images, -1, count=4, batch_size=size).layers[0]
        assert found.indices.tolist() == [[1, 3, 4, 0]]


def network():
    return sequential(
        (8, 8, 3),
        layers.Conv2D(4, 3, activation="relu", name="first"),
        layers.Conv2D(5, 3, name="second"),
        layers.BatchNormalization(name="norm"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", name="classes"),
    )


IMAGES = RNG.integers(0, 256, (17, 8, 8, 3)).astype("uint8")
ALL = ["first", "second", "norm", "classes"]


chained = itertools.chain.from_iterable


def assert_same(one, other):
    assert_same_layers(one, other)
    assert one.images.keys() == other.images.keys()
    for i in one.images:
        np.testing.assert_array_equal(one.images[i], other.images[i])


def assert_same_layers(one, other, exactly=True):
    assert list(one) == list(other)
    for a, b in zip(one.layers, other.layers, strict=True):
        np.testing.assert_array_equal(a.filters, b.filters)
        np.testing.assert_array_equal(a.indices, b.indices)
        for name in ("activations", "values", "positions", "boxes"):
            ours, theirs = getattr(a, name), getattr(b, name)
            assert ours.dtype == theirs.dtype
            if exactly:
                np.testing.assert_array_equal(ours, theirs)
            else:
                np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
        for ours, theirs in zip(chained(a.heatmaps), chained(b.heatmaps), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=0 if exactly else 1e-3)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_results_do_not_depend_on_the_batch_size(size):
    model = network()
    assert_same(find(model, IMAGES, ALL), find(model, IMAGES, ALL, batch_size=size))


def test_several_layers_match_each_layer_alone():
    model = network()
    together = find(model, IMAGES, ALL, [None, [1, 0], 2, None], count=3)
    filters = {"first": [0, 1, 2, 3], "second": [1, 0], "norm": [2], "classes": [0, 1, 2]}
    assert list(together) == ALL
    for name, layer in together.items():
        assert layer.filters.tolist() == filters[name]
        alone = find(model, IMAGES, name, filters[name], count=3)[name]
        assert alone.name == layer.name == name
        np.testing.assert_allclose(alone.values, layer.values, rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(alone.indices, layer.indices)


def test_filters_by_layer():
    model = network()
    found = find(model, IMAGES, ["first", "classes"], {-1: 2, "first": [3, 0]})
    assert [layer.filters.tolist() for layer in found.values()] == [[3, 0], [2]]
    found = find(model, IMAGES, ["first", "classes"], {"first": 1})
    assert [layer.filters.tolist() for layer in found.values()] == [[1], [0, 1, 2]]


def test_results_by_path_or_name():
    block = sequential((8, 8, 3), layers.Conv2D(2, 3, name="conv"), layers.ReLU(name="relu"))
    block.name = "block"
    model = sequential((8, 8, 3), block, layers.Conv2D(2, 3, name="conv"))
    found = find(model, IMAGES, ["block/conv", "block/relu", "conv"])
    assert list(found) == ["block/conv", "block/relu", "conv"]
    assert len(found) == 3
    assert found["block/conv"] is found.layers[0]
    assert found["relu"] is found["block/relu"] is found.layers[1]
    assert found["conv"] is found.layers[2]
    assert "block" not in found
    with pytest.raises(KeyError, match="'cnov' must be one of the layers"):
        found["cnov"]


def test_crops_are_selected_by_channel_and_rank():
    found = find(network(), IMAGES, "first", [2, 0], count=3)["first"]
    for row, channel in enumerate([2, 0]):
        top, left, bottom, right = found.boxes[row, 1]
        expected = IMAGES[found.indices[row, 1], top:bottom, left:right]
        np.testing.assert_array_equal(found.crop(channel, 1), expected)
    np.testing.assert_array_equal(found.crop(0), found.crop(channel=0, rank=0))
    for channel in (1, 4, -1):
        with pytest.raises(ValueError, match="`channel` must be"):
            found.crop(channel)
    with pytest.raises(ValueError, match="`rank` must be less than the number of images, 3"):
        found.crop(2, rank=3)
    with pytest.raises(TypeError, match="`channel` must be an integer"):
        found.crop("first")


def test_a_softmax_is_applied_for_the_layers_after_it():
    model = sequential(
        (6,), layers.Dense(3, activation="softmax", name="gate"), layers.Dense(2, name="last")
    )
    values = RNG.normal(size=(9, 6)).astype("float32")
    gate, last = find(model, values, ["gate", "last"]).layers
    np.testing.assert_allclose(last.activations, model.predict(values, verbose=0), atol=1e-5)
    kernel, bias = model.layers[0].get_weights()
    np.testing.assert_allclose(gate.activations, values @ kernel + bias, atol=1e-5)
    assert gate.boxes.shape == (3, 9, 0)


def test_a_softmax_layer():
    model = sequential((6,), layers.Dense(3), layers.Softmax(name="classes"))
    values = RNG.normal(size=(4, 6)).astype("float32")
    (found,) = find(model, values, "classes").layers
    kernel, bias = model.layers[0].get_weights()
    np.testing.assert_allclose(found.activations, values @ kernel + bias, atol=1e-5)


def test_only_top_images_are_kept():
    found = find(network(), IMAGES, ["first", "classes"], [0, [1, 2]], count=2)
    assert found.images.keys() == {int(i) for x in found.layers for i in x.indices.flat}
    for i, image in found.images.items():
        np.testing.assert_array_equal(image, IMAGES[i])
        assert image.dtype == "uint8"
        assert image.base is None


def test_kinds_of_datasets():
    """All kinds are in test_data.py."""
    model = network()
    expected = find(model, IMAGES, ALL)
    labelled = tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(17))).batch(6)
    for source in (list(IMAGES), (IMAGES, np.arange(17)), labelled, iter(IMAGES)):
        found = find(model, source, ALL)
        assert_same(expected, found)
        assert found.names is None


def test_a_generator_is_read_once_and_not_held_in_memory():
    read, alive, most = 0, [], 0

    class Counted(np.ndarray):
        def __del__(self):
            if self.base is None:
                alive.pop()

    def stream():
        nonlocal read, most
        for image in np.repeat(IMAGES, 10, axis=0):
            own = np.ndarray.__new__(Counted, image.shape, "uint8")
            own[:] = image
            alive.append(None)
            read, most = read + 1, max(most, len(alive))
            yield own

    found = find(network(), stream(), ALL, count=1, batch_size=4)
    assert read == len(found.layers[0].activations) == 170
    assert most <= 10
    assert len(found.images) <= 15


def test_images_of_several_sizes():
    model = sequential((None, None, 3), layers.Conv2D(3, 3, name="conv"), layers.Conv2D(2, 3))
    images = [RNG.normal(size=(8 + i % 3, 12 - i % 2, 3)).astype("float32") for i in range(12)]
    found = find(model, images, [0, 1], count=3, batch_size=5)
    for number, layer in enumerate(found.layers):
        inner = keras.Model(model.inputs, model.layers[number].output)
        maps = [inner([image[None]]).numpy()[0] for image in images]
        expected = np.array([m.max(axis=(0, 1)) for m in maps])
        np.testing.assert_allclose(layer.activations, expected, atol=1e-5)
        np.testing.assert_array_equal(layer.indices, np.argsort(-expected, axis=0)[:3].T)
        for i, box in zip(layer.indices.flat, layer.boxes.reshape(-1, 4), strict=True):
            height, width = images[i].shape[:2]
            assert (box[:2] >= 0).all()
            assert (box[2:] <= (height, width)).all()
            assert (box[2:] - box[:2] == 3 + 2 * number).all()


def test_nested_layers_and_calls_of_shared_layers():
    base = sequential((8, 8, 3), layers.Conv2D(4, 3, name="conv"))
    base.name = "base"
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    inputs = keras.Input((8, 8, 3))
    outputs = shared(shared(base(inputs)))
    model = keras.Model(inputs, outputs)
    result = find(model, IMAGES, ["base/conv", LayerOutput("shared", call=1)])
    assert list(result) == ["base/conv", "shared, call 1"]
    found = result.layers
    inner = base(IMAGES.astype("float32")).numpy()
    np.testing.assert_allclose(found[0].activations, inner.max(axis=(1, 2)), rtol=1e-4)
    outer = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found[1].activations, outer.max(axis=(1, 2)), rtol=1e-4)
    (one,) = find(model, IMAGES, LayerOutput("shared", call=1)).layers
    np.testing.assert_allclose(one.activations, found[1].activations, rtol=1e-4)


def test_flattened_positions_have_their_own_pixel_as_box():
    model = sequential((8, 8, 3), layers.Reshape((64, 3)), layers.Dense(2, name="tokens"))
    found = find(model, IMAGES, "tokens", count=2).layers[0]
    tokens = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found.activations, tokens.max(axis=1), rtol=1e-4)
    assert found.positions.shape == (2, 2, 1)
    rows, columns = np.unravel_index(found.positions[..., 0], (8, 8))
    expected = np.stack([rows, columns, rows + 1, columns + 1], axis=-1)
    np.testing.assert_array_equal(found.boxes, expected)
    assert found.heatmaps[0][0].shape == (1, 1)


def test_text_tokens_as_input():
    model = sequential((None,), layers.Embedding(9, 4), layers.Conv1D(2, 3, name="conv"))
    words = RNG.integers(0, 9, (7, 12))
    found = find(model, words, "conv").layers[0]
    expected = model.predict(words, verbose=0).max(axis=1)
    np.testing.assert_allclose(found.activations, expected, atol=1e-5)
    assert found.boxes.shape == (2, 7, 0)


def two_inputs():
    image, gain = keras.Input((8, 8, 3), name="image"), keras.Input((2,), name="gain")
    maps = layers.Conv2D(2, 3, name="conv")(image)
    scaled = layers.Multiply(name="scaled")([maps, layers.Reshape((1, 1, 2))(gain)])
    return keras.Model([image, gain], scaled)


def test_fixed_inputs():
    model, gains = two_inputs(), np.array([2.0, -1.0])
    found = find(model, IMAGES, "scaled", fixed_inputs={"gain": gains}).layers[0]
    maps = model.predict([IMAGES, np.tile(gains, (17, 1))], verbose=0)
    np.testing.assert_allclose(found.activations, maps.max(axis=(1, 2)), rtol=1e-4)


def test_a_folder_of_images(tmp_path):
    (tmp_path / "inside").mkdir()
    names = ["b.png", "a <img src=x>.png", "inside/c.bmp"]
    for name, image in zip(names, IMAGES, strict=False):
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    torn = (tmp_path / "b.png").read_bytes()[:-60]
    (tmp_path / "torn.png").write_bytes(torn)
    model = network()
    with pytest.warns(
        UserWarning, match=r"that are not images; they are skipped: 'notes.txt', 'torn.png'"
    ):
        found = find(model, tmp_path, ALL)
    assert found.names == ["a <img src=x>.png", "b.png", "inside/c.bmp"]
    assert_same(find(model, IMAGES[[1, 0, 2]], ALL), found)
    (tmp_path / "notes.txt").unlink()
    (tmp_path / "torn.png").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = find(model, str(tmp_path), ALL, input_range=(-1, 1))
    expected = find(model, IMAGES[[1, 0, 2]] / 127.5 - 1, ALL)
    assert_same_layers(expected, scaled, exactly=False)
    for i, image in scaled.images.items():
        assert image.dtype == "float32"
        np.testing.assert_allclose(image, expected.images[i], atol=1e-5)


def test_images_in_another_range_than_the_model_expects():
    model = sequential((8, 8, 3), layers.Rescaling(1 / 127.5, offset=-1), layers.Conv2D(2, 3))
    with pytest.warns(UserWarning, match="`images` should have values from about 0 to 255"):
        find(model, IMAGES / 255, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find(model, IMAGES, -1)


def test_batches_as_on_a_gpu(monkeypatch):
    """The code path of a GPU, on this machine's kernels."""
    model, other = network(), network()
    other.set_weights(model.get_weights())
    expected = find(model, IMAGES, ALL)
    monkeypatch.setattr("vis.backend.device.has_gpu", lambda: True)
    assert_same_layers(find(other, IMAGES, ALL, batch_size=6), expected, exactly=False)


def test_progress_counts_images(capsys):
    top_activating_images(network(), IMAGES, "first", batch_size=5)
    assert "17/17" in capsys.readouterr().err


def endless():
    return tf.data.Dataset.from_tensor_slices(IMAGES).repeat()


def nan_model():
    return sequential((8, 8, 3), layers.Rescaling(float("inf"), name="inf"))


BAD = {
    "no model": (lambda: find("model", IMAGES, 0), TypeError, "`model` must be"),
    "close match": (
        lambda: find(network(), IMAGES, "fist"), ValueError, "`layers` must .* mean 'first'"),
    "index": (lambda: find(network(), IMAGES, 99), ValueError, "`layers` is out of range"),
    "layer": (lambda: find(network(), IMAGES, 1.5), TypeError, "`layers` must be an index"),
    "no layers": (lambda: find(network(), IMAGES, []), ValueError, "`layers` must hold"),
    "one of them": (lambda: find(network(), IMAGES, [0, None]), TypeError, "`layers` must be"),
    "filters": (lambda: find(network(), IMAGES, 0, 4), ValueError, "`filters` is out of range"),
    "no filters": (lambda: find(network(), IMAGES, 0, []), ValueError, "`filters` must hold"),
    "text filters": (lambda: find(network(), IMAGES, 0, "a"), TypeError, "`filters` must be an"),
    "filters of some": (
        lambda: find(network(), IMAGES, [0, 1], [None]), ValueError, "`filters` must be None, a"),
    "filters of all": (
        lambda: find(network(), IMAGES, [0, 1], 3), ValueError, "`filters` must be None, a"),
    "filters of another layer": (
        lambda: find(network(), IMAGES, [0, 1], {2: 1}), ValueError, "keys are among the selected"),
    "twice": (
        lambda: find(network(), IMAGES, [0, "first"]), ValueError, "must not hold a layer twice"),
    "count": (lambda: find(network(), IMAGES, 0, count=0), ValueError, "`count` must be at least"),
    "half": (lambda: find(network(), IMAGES, 0, count=1.5), TypeError, "`count` must be an int"),
    "range": (
        lambda: find(network(), IMAGES, 0, input_range=(1, 0)), ValueError, "low < high"),
    "range of one": (
        lambda: find(network(), IMAGES, 0, input_range=3), TypeError, "`input_range` must be"),
    "batch size": (
        lambda: find(network(), IMAGES, 0, batch_size=0), ValueError, "`batch_size` must be at"),
    "progress": (
        lambda: top_activating_images(network(), IMAGES, 0, progress="no"), TypeError, "progress"),
    "nothing": (lambda: find(network(), None, 0), TypeError, "`images` must be"),
    "number": (lambda: find(network(), 3, 0), TypeError, "`images` must be"),
    "set": (lambda: find(network(), {1, 2}, 0), TypeError, "`images` must be"),
    "text in it": (lambda: find(network(), ["a", "b"], 0), TypeError, "`images` must be an array"),
    "empty": (lambda: find(network(), IMAGES[:0], 0), ValueError, "at least one image"),
    "empty list": (lambda: find(network(), [], 0), ValueError, "at least one image"),
    "empty stream": (lambda: find(network(), iter(()), 0), ValueError, "at least one image"),
    "shape": (lambda: find(network(), IMAGES[:, :7], 0), ValueError, "`images` must be of shape"),
    "shape of a vector": (
        lambda: find(network(), np.zeros(5), 0), ValueError, "`images` must be of shape"),
    "shape of one": (
        lambda: find(network(), [IMAGES[0], IMAGES[0, 1:]], 0), ValueError, "`images` must be of"),
    "NaN": (
        lambda: find(network(), np.where(IMAGES > 9, np.nan, IMAGES), 0),
        ValueError, "`images` must be finite"),
    "endless": (
        lambda: find(network(), endless(), 0), ValueError, "come to an end"),
    "infinite": (
        lambda: find(nan_model(), IMAGES / 255, 0), ValueError, "finite activations"),
    "no folder": (
        lambda: find(network(), "no/such/folder", 0), ValueError, "`images` must be a folder"),
    "inputs": (lambda: find(two_inputs(), IMAGES, -1), ValueError, "Received: 2 inputs"),
    "no input left": (
        lambda: find(network(), IMAGES, 0, fixed_inputs=IMAGES), ValueError, "0 inputs"),
    "name of input": (
        lambda: find(two_inputs(), IMAGES, -1, fixed_inputs={"gian": [1, 2]}),
        ValueError, "did you mean 'gain'"),
    "fixed shape": (
        lambda: find(two_inputs(), IMAGES, -1, fixed_inputs={"gain": [1, 2, 3]}),
        ValueError, "`fixed_inputs` must be of shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()

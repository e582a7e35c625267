from __future__ import annotations

import unittest
import warnings

import keras
import numpy as np
import pytest
from helpers import nodes, sequential
from keras import layers, ops
from PIL import Image

from vis.utils import utils
from vis.utils.test_utils import across_data_formats, skip_backends
from vis.visualization import get_num_filters, overlay

# Models.


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def check_rebuilt(model, rebuilt, *images):
    assert rebuilt is not model
    assert [layer.name for layer in rebuilt.layers] == [layer.name for layer in model.layers]
    for ours, theirs in zip(rebuilt.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Weights are copies.
    for ours, theirs in zip(rebuilt.weights, model.weights, strict=True):
        assert ours is not theirs


def test_changed_activation_takes_effect():
    model = sequential((4,), layers.Dense(6, "relu"), layers.Dense(3, "softmax"))
    image = noise(2, 4)
    model.predict(image, verbose=0)  # compiles the model with softmax
    softmax, before = model.layers[-1].activation, nodes(model)
    model.layers[-1].activation = keras.activations.linear
    rebuilt = utils.apply_modifications(model)
    check_rebuilt(model, rebuilt)
    kernel, bias = model.layers[-1].get_weights()
    expected = model.layers[0](image).numpy() @ kernel + bias
    np.testing.assert_allclose(rebuilt.predict(image, verbose=0), expected, rtol=1e-5)
    assert nodes(model) == before
    model.layers[-1].activation = softmax
    again = utils.apply_modifications(model)
    np.testing.assert_allclose(again.predict(image, verbose=0).sum(axis=1), 1, rtol=1e-5)
    assert rebuilt.layers[-1].activation is keras.activations.linear


def test_the_original_model_is_unchanged():
    model = sequential((4,), layers.Dense(3, "softmax"))
    config, weights = model.get_config(), [w.copy() for w in model.get_weights()]
    rebuilt = utils.apply_modifications(model)
    rebuilt.set_weights([w + 1 for w in rebuilt.get_weights()])
    rebuilt.layers[-1].activation = keras.activations.tanh
    assert model.get_config() == config
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nested_models_are_rebuilt():
    inner = sequential((6,), layers.Dense(5, "relu", name="inside"), layers.BatchNormalization())
    model = sequential((4,), layers.Dense(6), inner, layers.Dense(2))
    inner.layers[0].activation = keras.activations.tanh
    rebuilt = utils.apply_modifications(model)
    check_rebuilt(model, rebuilt)
    inside = rebuilt.layers[1].layers[0]
    assert inside is not inner.layers[0]
    assert inside.activation is keras.activations.tanh
    image = noise(2, 4)
    np.testing.assert_allclose(rebuilt(image), model(image), rtol=1e-5)


def test_wrappers():
    distributed = layers.TimeDistributed(layers.Dense(5, "relu"))
    both = layers.Bidirectional(layers.LSTM(3))
    model = sequential((6, 4), distributed, both, layers.Dense(2))
    distributed.layer.activation = keras.activations.tanh
    rebuilt = utils.apply_modifications(model)
    check_rebuilt(model, rebuilt)
    assert rebuilt.layers[0].layer.activation is keras.activations.tanh
    image = noise(2, 6, 4)
    np.testing.assert_allclose(rebuilt(image), model(image), rtol=1e-5)


def test_shared_layers_stay_shared():
    shared = layers.Dense(4, "relu", name="shared")
    inputs = keras.Input((4,))
    x = shared(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.add([shared(x), ops.sin(x)])))
    shared.activation = keras.activations.tanh
    rebuilt = utils.apply_modifications(model)
    assert len(rebuilt.weights) == len(model.weights) == 4
    image = noise(2, 4)
    kernel, bias = shared.get_weights()
    x = np.tanh(image @ kernel + bias)
    x = np.tanh(x @ kernel + bias) + np.sin(x)
    kernel, bias = model.layers[-1].get_weights()
    np.testing.assert_allclose(rebuilt(image), x @ kernel + bias, rtol=1e-4)


class Scale(layers.Layer):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def cube(x):
    return x**3


def test_custom_objects():
    model = sequential((4,), layers.Dense(3, activation=cube), Scale(2.0))
    model.layers[-1].factor = 5.0
    rebuilt = utils.apply_modifications(model, custom_objects={"Scale": Scale, "cube": cube})
    image = noise(2, 4)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(rebuilt(image), 5 * (image @ kernel + bias) ** 3, rtol=1e-4)


def test_several_inputs_and_outputs():
    one, two = keras.Input((4,), name="one"), keras.Input((3,), name="two")
    x = layers.Concatenate()([one, two])
    model = keras.Model([one, two], [layers.Dense(2, "relu")(x), layers.Dense(3)(x)])
    model.layers[-2].activation = keras.activations.tanh
    rebuilt = utils.apply_modifications(model)
    images = [noise(2, 4), noise(2, 3)]
    for ours, theirs in zip(rebuilt(images), model(images), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_non_trainable_state():
    model = sequential((4,), layers.BatchNormalization(), layers.Dense(2))
    model.layers[0].set_weights([np.abs(noise(4, seed=i)) for i in range(4)])
    model.layers[0].trainable = False
    rebuilt = utils.apply_modifications(model)
    assert not rebuilt.layers[0].trainable
    np.testing.assert_allclose(rebuilt(noise(2, 4)), model(noise(2, 4)), rtol=1e-5)


def test_input_layers_keep_their_names():
    inputs = [keras.Input((4,)), keras.Input((4,), name="condition")]
    model = keras.Model(inputs, layers.Add()(inputs))
    rebuilt = utils.apply_modifications(model)
    assert [layer.name for layer in rebuilt.layers] == [layer.name for layer in model.layers]
    images = [noise(2, 4), noise(2, 4, seed=1)]
    np.testing.assert_allclose(rebuilt(images), model(images))


def test_compiled_model_stays_compiled():
    model = sequential((4,), layers.Dense(2))
    model.compile("sgd", "mse")
    rebuilt = utils.apply_modifications(model)
    rebuilt.fit(noise(4, 4), noise(4, 2), verbose=0)
    assert not utils.apply_modifications(sequential((4,), layers.Dense(2))).compiled


@pytest.mark.parametrize("wrong", [None, "model", layers.Dense(2)])
def test_wrong_models(wrong):
    with pytest.raises(TypeError, match=r"`model` .*Received: "):
        utils.apply_modifications(wrong)
    with pytest.raises(TypeError, match=r"`model` .*Received: "):
        utils.find_layer_idx(wrong, "dense")


def test_find_layer_idx():
    model = sequential((4,), layers.Dense(3, name="one"), layers.Dense(2, name="two"))
    assert utils.find_layer_idx(model, "one") == 0
    assert utils.find_layer_idx(model, "two") == 1
    inputs = keras.Input((4,), name="image")
    model = keras.Model(inputs, layers.Dense(3, name="one")(inputs))
    assert utils.find_layer_idx(model, "image") == 0
    assert utils.find_layer_idx(model, "one") == 1
    for wrong in ("ones", "", None, 1):
        with pytest.raises(ValueError, match=r"`layer_name` .*Received: "):
            utils.find_layer_idx(model, wrong)


@across_data_formats
def test_get_num_filters():
    first = keras.config.image_data_format() == "channels_first"
    shape = (3, 8, 9) if first else (8, 9, 3)
    model = sequential(
        shape, layers.Conv2D(5, 3), layers.ReLU(), layers.MaxPool2D(), layers.BatchNormalization(
            axis=1 if first else -1), layers.Flatten(), layers.Dense(7), layers.Dropout(0.5),
    )  # fmt: skip
    numbers = [get_num_filters(layer) for layer in model.layers]
    assert numbers == [5, 5, 5, 5, 45, 7, 7]
    assert all(type(number) is int for number in numbers)


def test_get_num_filters_of_other_layers():
    model = sequential((6, 4), layers.LSTM(5, return_sequences=True), layers.Conv1D(3, 2))
    assert [get_num_filters(layer) for layer in model.layers] == [5, 3]
    model = sequential((6, 6, 4, 2), layers.Conv3D(3, 2), layers.GlobalAveragePooling3D())
    assert [get_num_filters(layer) for layer in model.layers] == [3, 3]
    model = sequential(
        (2, 5, 6, 7), layers.Conv3D(3, 2, data_format="channels_first"), layers.Activation("relu")
    )
    assert [get_num_filters(layer) for layer in model.layers] == [3, 3]


# Images.


def test_overlay():
    one, two = np.array([[200, 0]], "uint8"), np.array([[100, 255]], "uint8")
    np.testing.assert_array_equal(overlay(one, two), [[150, 127]])
    np.testing.assert_array_equal(overlay(one, two, alpha=1), one)
    np.testing.assert_array_equal(overlay(one, two, alpha=0), two)
    assert overlay(one, np.float64(two)).dtype == np.uint8
    assert overlay(np.float32(one), two).dtype == np.float32
    np.testing.assert_allclose(overlay(np.float64(one), two, 0.3), [[130, 178.5]])
    np.testing.assert_array_equal(one, [[200, 0]])


@pytest.mark.parametrize("alpha", [-0.01, 1.01, np.nan, 2])
def test_overlay_with_a_wrong_alpha(alpha):
    with pytest.raises(ValueError, match=r"`alpha` .*Received: "):
        overlay(np.zeros(2), np.zeros(2), alpha)


def test_overlay_of_different_shapes():
    with pytest.raises(ValueError, match=r"`array1` and `array2` .*Received: .*\(2, 2\).*\(2,\)"):
        overlay(np.zeros((2, 2)), np.zeros(2))


@pytest.mark.parametrize("input_range", [(0, 255), (0.0, 1.0), (-1, 1), (-123.5, 151)])
def test_deprocess_input(input_range):
    image = 3 + 50 * noise(20, 20, 3)
    before = image.copy()
    low, high = input_range
    out = utils.deprocess_input(image, input_range)
    np.testing.assert_array_equal(image, before)
    standardised = (np.float64(image) - image.mean()) / image.std()
    expected = low + (high - low) * np.clip(0.5 + 0.1 * standardised, 0, 1)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4 * (high - low))


def test_deprocess_input_of_outliers_and_even_images():
    image = np.zeros(1000)
    image[0], image[1] = 1e6, -1e6
    out = utils.deprocess_input(image)
    assert (out[0], out[1]) == (255, 0)
    np.testing.assert_allclose(utils.deprocess_input(np.full((4, 4), 7.0), (0, 1)), 0.5)
    assert utils.deprocess_input(np.arange(9, dtype="uint8")).std() == pytest.approx(25.5, rel=1e-3)


def test_random_array():
    np.random.seed(0)  # noqa: NPY002
    array = utils.random_array((50, 60, 3))
    assert array.shape == (50, 60, 3)
    assert array.mean() == pytest.approx(128)
    assert array.std() == pytest.approx(20, rel=1e-4)
    other = utils.random_array((50, 60, 3), mean=-1.0, std=0.5)
    assert other.mean() == pytest.approx(-1)
    assert other.std() == pytest.approx(0.5, rel=1e-4)
    np.random.seed(0)  # noqa: NPY002
    np.testing.assert_array_equal(utils.random_array((50, 60, 3)), array)
    # Uniform: all values are within sqrt(3) standard deviations.
    assert np.abs(array - 128).max() < 20 * np.sqrt(3) * 1.05


def test_normalize():
    array = np.array([[2.0, 4.0], [3.0, 6.0]])
    np.testing.assert_allclose(utils.normalize(array), [[0, 0.5], [0.25, 1]], atol=1e-6)
    np.testing.assert_allclose(
        utils.normalize(array, min_value=-1.0, max_value=3.0), [[-1, 1], [0, 3]], atol=1e-6
    )
    np.testing.assert_array_equal(array, [[2, 4], [3, 6]])
    np.testing.assert_allclose(utils.normalize(np.array([0, 255], "uint8")), [0, 1], atol=1e-6)
    np.testing.assert_array_equal(utils.normalize(np.full(3, 5.0)), np.zeros(3))


@across_data_formats
def test_get_img_shape():
    first = keras.config.image_data_format() == "channels_first"
    for dims in ((7,), (7, 6), (7, 6, 5)):
        shape = (2, 3, *dims) if first else (2, *dims, 3)
        assert utils.get_img_shape(np.zeros(shape)) == (2, 3, *dims)
        assert utils.get_img_shape(keras.Input(shape[1:])) == (None, 3, *dims)
        assert utils.get_img_shape(ops.zeros(shape)) == (2, 3, *dims)
    assert utils.get_img_shape(np.zeros((2, 9))) == (2, 9)


def test_stitch_images():
    images = [np.full((2, 3, 3), i + 1, "uint8") for i in range(5)]
    grid = utils.stitch_images(images, margin=1, cols=2)
    assert grid.dtype == np.uint8
    assert grid.shape == (3 * 2 + 2 * 1, 2 * 3 + 1, 3)
    expected = np.array([
        [1, 1, 1, 0, 2, 2, 2],
        [1, 1, 1, 0, 2, 2, 2],
        [0, 0, 0, 0, 0, 0, 0],
        [3, 3, 3, 0, 4, 4, 4],
        [3, 3, 3, 0, 4, 4, 4],
        [0, 0, 0, 0, 0, 0, 0],
        [5, 5, 5, 0, 0, 0, 0],
        [5, 5, 5, 0, 0, 0, 0],
    ])  # fmt: skip
    for channel in range(3):
        np.testing.assert_array_equal(grid[..., channel], expected)


def test_stitch_images_defaults_and_other_images():
    assert utils.stitch_images([]) is None
    grid = utils.stitch_images([np.zeros((4, 6, 3))] * 7)
    assert grid.shape == (2 * 4 + 5, 5 * 6 + 4 * 5, 3)
    assert utils.stitch_images([np.zeros((4, 6))] * 2, cols=5).shape == (4, 17)
    assert utils.stitch_images(np.zeros((3, 4, 6, 1)), margin=0, cols=2).shape == (8, 12, 1)
    floats = utils.stitch_images([np.full((1, 1, 1), 0.5)] * 2, margin=0)
    np.testing.assert_array_equal(floats, np.full((1, 2, 1), 0.5))
    with pytest.raises(ValueError, match=r"`images` must have one shape.*Received: "):
        utils.stitch_images([np.zeros((4, 4, 3)), np.zeros((4, 5, 3))])
    for arguments in ({"cols": 0}, {"margin": -1}):
        with pytest.raises(ValueError, match=r"Received: "):
            utils.stitch_images([np.zeros((4, 4, 3))], **arguments)


def test_draw_text():
    image = np.full((40, 80, 3), 200, "uint8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = utils.draw_text(image, "water ouzel")
        red = utils.draw_text(image, "water ouzel", color=(255, 0, 0), position=(10, 20))
        large = utils.draw_text(image, "wo", font_size=30)
        small = utils.draw_text(image, "wo", font_size=10)
    assert (image == 200).all()
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    rows, columns = np.nonzero((drawn != 200).any(axis=-1))
    assert rows.min() >= 10
    assert columns.min() >= 10
    assert drawn.min() < 60
    assert np.nonzero((red != 200).any(axis=-1))[0].min() >= 20
    assert red[..., 0].min() >= 200
    assert red[..., 1].min() < 60
    assert (large != 200).sum() > 2 * (small != 200).sum()


def test_draw_text_with_a_missing_font():
    image = np.zeros((30, 60, 3))
    with pytest.warns(UserWarning, match="no such font"):
        drawn = utils.draw_text(image, "a", font="no such font.ttf", color=(1, 1, 1))
    assert drawn.max() > 0.5
    assert drawn.dtype == np.float64


def test_draw_text_on_other_images():
    for shape in ((30, 60), (30, 60, 1), (30, 60, 4)):
        drawn = utils.draw_text(np.ones(shape, "float32"), 1, font=None, position=(3, 3))
        assert drawn.shape == shape
        assert drawn.min() < 0.4
    with pytest.raises(ValueError, match=r"`img` .*Received: "):
        utils.draw_text(np.zeros(3), "a")


def test_load_img(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(utils.load_img(tmp_path / "a.png"), pixels)
    loaded = utils.load_img(str(tmp_path / "a.png"), target_size=(6, 9))
    assert loaded.shape == (6, 9, 3)
    assert loaded.dtype == np.uint8
    assert utils.load_img(tmp_path / "a.png", grayscale=True).shape == (10, 20)
    Image.fromarray(pixels).convert("RGBA").save(tmp_path / "b.png")
    np.testing.assert_array_equal(utils.load_img(tmp_path / "b.png"), pixels)
    with pytest.raises(FileNotFoundError):
        utils.load_img(tmp_path / "c.png")


def test_labels():
    assert utils.lookup_imagenet_labels([20, 967]) == ["water_ouzel", "espresso"]
    assert utils.lookup_imagenet_labels(20) == ["water_ouzel"]


# Small functions of keras-vis.


def test_bgr2rgb():
    image = noise(4, 5, 3)
    np.testing.assert_array_equal(utils.bgr2rgb(image), np.stack(
        [image[..., 2], image[..., 1], image[..., 0]], axis=-1))  # fmt: skip
    np.testing.assert_array_equal(utils.bgr2rgb(utils.bgr2rgb(image)), image)


def test_listify():
    assert utils.listify(3) == [3]
    assert utils.listify([3, 4]) == [3, 4]
    assert utils.listify(None) == [None]


def test_reverse_enumerate():
    assert list(utils.reverse_enumerate(["a", "b", "c"])) == [(2, "c"), (1, "b"), (0, "a")]
    assert list(utils.reverse_enumerate([])) == []


def test_add_defaults_to_kwargs():
    defaults = {"a": 1, "b": 2}
    assert utils.add_defaults_to_kwargs(defaults, b=3, c=4) == {"a": 1, "b": 3, "c": 4}
    assert defaults == {"a": 1, "b": 2}


def test_get_identifier():
    known = {"square": np.square, "number": 3}
    assert utils.get_identifier("square", known, "demo") is np.square
    assert utils.get_identifier(abs, known, "demo") is abs
    for wrong in ("squares", "number", 3, None):
        with pytest.raises(ValueError, match=r"`demo` .*Received: "):
            utils.get_identifier(wrong, known, "demo")


@across_data_formats
def test_slicer_written_channels_first():
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    first = keras.config.image_data_format() == "channels_first"
    images = array if first else np.moveaxis(array, 1, -1)
    slicer = utils.slicer

    def as_first(result):
        return result if first else np.moveaxis(result, -1, 1)

    np.testing.assert_array_equal(images[slicer[:, 1, ...]], array[:, 1])
    np.testing.assert_array_equal(as_first(images[slicer[:, 1:, ...]]), array[:, 1:])
    np.testing.assert_array_equal(as_first(images[slicer[:1, :, 2:, :]]), array[:1, :, 2:])
    np.testing.assert_array_equal(as_first(images[slicer[..., 1:3]]), array[..., 1:3])
    np.testing.assert_array_equal(as_first(images[slicer[:, :, ..., 2:]]), array[:, :, ..., 2:])
    np.testing.assert_array_equal(images[slicer[0, 1, 2, 3]], array[0, 1, 2, 3])
    np.testing.assert_array_equal(images[slicer[:, 2]], array[:, 2])
    np.testing.assert_array_equal(as_first(images[slicer[:1]]), array[:1])
    np.testing.assert_array_equal(as_first(images[slicer[...]]), array)
    some = np.array([2, 0])
    np.testing.assert_array_equal(as_first(images[slicer[:, some]]), array[:, some])


# Decorators for tests.


def test_across_data_formats():
    seen = []

    @across_data_formats
    def test(one, two=None):
        """Its docstring."""
        seen.append((keras.config.image_data_format(), one, two))

    before = keras.config.image_data_format()
    test(1, two=2)
    assert {data_format for data_format, *_ in seen} == {"channels_first", "channels_last"}
    assert [rest for _, *rest in seen] == [[1, 2], [1, 2]]
    assert keras.config.image_data_format() == before
    assert (test.__name__, test.__doc__) == ("test", "Its docstring.")

    @across_data_formats
    def fails():
        assert keras.config.image_data_format() == "nonsense"

    with pytest.raises(AssertionError):
        fails()
    assert keras.config.image_data_format() == before


@pytest.mark.parametrize("backends", [{"tensorflow"}, ["theano", "tensorflow"], "tensorflow"])
def test_skip_backends(backends):
    @skip_backends(backends)
    def test():
        raise AssertionError

    with pytest.raises(unittest.SkipTest):
        test()


def test_skip_backends_runs_on_others():
    @skip_backends({"theano", "cntk"})
    def test(value):
        return value

    assert test(3) == 3

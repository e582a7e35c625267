"""`visualize_activation`, compared with an independent loop in NumPy."""

from __future__ import annotations

import re

import keras
import numpy as np
import numpy_reference as reference
import pytest
from helpers import Recorder, nodes, sequential, weights
from keras import layers, ops

from vis.backprop_modifiers import guided
from vis.losses import ActivationMaximization, Loss
from vis.regularizers import LPNorm, TotalVariation
from vis.utils.test_utils import across_data_formats
from vis.visualization import (
    visualize_activation,
    visualize_activation_with_losses,
    visualize_filters,
)


def case(rank, data_format="channels_last"):
    """A model with `rank` spatial axes, the same model in NumPy, and a channels-last seed."""
    kwargs = {"bias_initializer": "random_normal", "activation": "tanh"}
    if rank == 0:
        shape, parts = (9,), [layers.Dense(6, **kwargs), layers.Dense(3, **kwargs)]
        make = reference.dense
    else:
        shape = {1: (8, 2), 2: (6, 5, 2), 3: (4, 4, 3, 1)}[rank]
        conv = [layers.Conv1D, layers.Conv2D, layers.Conv3D][rank - 1]
        parts = [conv(5, 2, data_format=data_format, **kwargs) for _ in range(2)]
        make = reference.conv
    first = rank and data_format == "channels_first"
    model = sequential((shape[-1], *shape[:-1]) if first else shape, *parts)
    seed = np.random.default_rng(rank).uniform(-2, 2, shape)
    return model, reference.network(*[make(*weights(part)) for part in parts]), seed


def reference_losses(net, filters, act_max, lp_norm, tv):
    return [
        (reference.activation_maximization(net, filters), act_max),
        (reference.lp_norm, lp_norm),
        (reference.total_variation, tv),
    ]


@pytest.mark.every(2)
@pytest.mark.parametrize(
    ("rank", "data_format"),
    [
        (0, ""),
        (1, "channels_first"),
        (2, "channels_last"),
        (2, "channels_first"),
        (3, "channels_last"),
    ],
)
def test_against_numpy(rank, data_format):
    model, net, seed = case(rank, data_format)
    picture, history = reference.minimize(
        seed, reference_losses(net, [0, 2], 1, 10, 10), 8, (-1.0, 1.0)
    )
    recorder = Recorder()
    actual = visualize_activation(
        model, -1, [0, 2], seed_input=seed, input_range=(-1.0, 1.0), max_iter=8,
        callbacks=[recorder],
    )  # fmt: skip
    assert actual.shape == seed.shape
    np.testing.assert_allclose(actual, picture, rtol=1e-4, atol=1e-5)
    for named, (values, *_) in zip(recorder.named_losses, history, strict=True):
        np.testing.assert_allclose([v for _, v in named], values, rtol=1e-4, atol=1e-6)
    batch = visualize_activation(
        model, -1, [0, 2], seed_input=np.stack([seed, seed]), input_range=(-1.0, 1.0), max_iter=8
    )
    np.testing.assert_allclose(batch, [picture] * 2, rtol=1e-4, atol=1e-5)


def test_weights_and_grad_modifier():
    model, net, seed = case(2)
    picture, _ = reference.minimize(
        seed, reference_losses(net, [1], -2, 0.5, 3), 6, (0.0, 1.0), grad_modifier=np.abs
    )
    actual = visualize_activation(
        model, -1, 1, seed_input=seed, input_range=(0.0, 1.0), act_max_weight=-2,
        lp_norm_weight=0.5, tv_weight=3, grad_modifier="absolute", max_iter=6,
    )  # fmt: skip
    np.testing.assert_allclose(actual, picture, rtol=1e-4, atol=1e-5)


def test_from_losses():
    model, net, seed = case(1)
    picture, _ = reference.minimize(seed, reference_losses(net, [1], 2, 3, 4), 6, (0.0, 1.0))
    image = model.inputs[0]
    losses = [
        (ActivationMaximization(model.layers[-1], 1), 2), (LPNorm(image), 3),
        (TotalVariation(image), 4),
    ]  # fmt: skip
    actual = visualize_activation_with_losses(
        image, losses, seed_input=seed, input_range=(0.0, 1.0), max_iter=6
    )
    np.testing.assert_allclose(actual, picture, rtol=1e-4, atol=1e-5)


def test_defaults(capfd):
    model, _, _ = case(0)
    recorder = Recorder()
    image = visualize_activation(model, -1, 0, callbacks=[recorder])
    assert len(recorder.iterations) == 200
    assert [name for name, _ in recorder.named_losses[0]] == [
        "ActivationMax Loss", "L-6.0 Norm Loss", "TV(2.0) Loss",
    ]  # fmt: skip
    assert image.dtype == np.uint8
    start = recorder.wrt_values[0]
    assert start.mean() == pytest.approx(127.5, abs=0.1)
    assert start.std() == pytest.approx(0.05 * 255, abs=0.1)
    assert capfd.readouterr() == ("", "")


def test_defaults_given_explicitly_change_nothing():
    model, _, _ = case(2)
    defaults = {"max_iter": 200, "input_range": (0, 255), "lp_norm_weight": 10, "tv_weight": 10}
    explicit = visualize_activation(model, -1, 0, seed=0, **defaults)
    np.testing.assert_array_equal(visualize_activation(model, -1, 0, seed=0), explicit)
    none = visualize_activation(model, -1, 0, seed=0, **dict.fromkeys(defaults))
    np.testing.assert_array_equal(none, explicit)


def test_the_activation_rises():
    model, _, seed = case(2)
    image = visualize_activation(
        model, -1, 3, seed_input=seed, input_range=(-3.0, 3.0), lp_norm_weight=0.1, tv_weight=0.1
    )
    before = model.predict(seed[None], verbose=0)[..., 3].mean()
    after = model.predict(image[None], verbose=0)[..., 3].mean()
    assert after > before + 0.1


@pytest.mark.every(3)
@pytest.mark.parametrize(
    ("input_range", "dtype"),
    [
        ((0, 255), "uint8"),
        ((np.int64(0), np.uint8(255)), "uint8"),
        ((0, 1), "float32"),
        ((0, 200), "float32"),
        ((0.0, 255), "float32"),
        ((0, 1.0), "float32"),
        ((-1.0, 1.0), "float32"),
    ],
)
def test_uint8_for_integers_from_0_to_255(input_range, dtype):
    model, _, _ = case(2)
    image = visualize_activation(model, -1, 0, max_iter=3, input_range=input_range)
    assert image.dtype == dtype
    assert image.min() >= input_range[0]
    assert image.max() <= input_range[1]


@across_data_formats
def test_picture_has_its_channels_last():
    first = keras.config.image_data_format() == "channels_first"
    model = sequential((2, 7, 5) if first else (7, 5, 2), layers.Conv2D(4, 3), layers.ReLU())
    assert visualize_activation(model, 0, 1, max_iter=2).shape == (7, 5, 2)
    assert visualize_activation(model, -1, None, max_iter=2).shape == (7, 5, 2)
    seeds = np.zeros((3, 2, 7, 5))
    assert visualize_activation(model, 0, 1, seed_input=seeds, max_iter=2).shape == (3, 7, 5, 2)


def test_layer_by_index_name_or_itself():
    model, _, seed = case(1)
    expected = visualize_activation(model, 0, 1, seed_input=seed, max_iter=3)
    layer = model.layers[0]
    for name in (-2, np.int64(0), layer.name, layer):
        actual = visualize_activation(model, name, 1, seed_input=seed, max_iter=3)
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("indices", [[0, 1, 2, 3, 4], range(5), np.arange(5)])
def test_none_means_all_filters(indices):
    model, _, seed = case(1)
    expected = visualize_activation(model, -1, indices, seed_input=seed, max_iter=3)
    for none in (None, [None]):
        actual = visualize_activation(model, -1, none, seed_input=seed, max_iter=3)
        np.testing.assert_array_equal(actual, expected)


def test_backprop_modifier():
    model = sequential(
        (6, 5, 2), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)
    )
    seed = np.random.default_rng(0).normal(size=(6, 5, 2))
    before = nodes(model)

    def images(model, layer=-1, **settings):
        recorder = Recorder()
        visualize_activation(
            model, layer, 1, seed_input=seed, max_iter=4, callbacks=[recorder], **settings
        )
        return np.concatenate(recorder.wrt_values)

    by_name = images(model, backprop_modifier="guided")
    np.testing.assert_array_equal(by_name, images(guided(model)))
    layer = model.layers[-1]
    np.testing.assert_array_equal(by_name, images(model, layer, backprop_modifier=guided))
    assert (by_name[-1] != images(model)[-1]).any()
    assert nodes(model) == before


def test_wrt_tensor_with_a_backprop_modifier():
    model = sequential((4,), layers.Dense(5, "relu"), layers.Dense(4, "relu"), layers.Dense(2))
    recorder = Recorder()
    seed = np.random.default_rng(0).normal(size=4)
    visualize_activation(
        model, -1, 1, wrt_tensor=model.layers[0].output, seed_input=seed, max_iter=1,
        backprop_modifier="guided", callbacks=[recorder],
    )  # fmt: skip
    inner = model.layers[0](seed[None]).numpy()
    np.testing.assert_allclose(recorder.wrt_values[0], inner, rtol=1e-5)
    kernel, bias = model.layers[1].get_weights()
    back = -model.layers[2].kernel.numpy()[:, 1]
    active = inner @ kernel + bias > 0
    expected = (active * np.maximum(back, 0)) @ kernel.T
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(recorder.grads[0], expected, rtol=1e-3, atol=1e-5)


def test_seed_gives_the_same_picture():
    model, _, _ = case(2)
    settings = {"max_iter": 5, "input_range": (0.0, 1.0)}
    one, two, other = (visualize_activation(model, -1, 1, seed=s, **settings) for s in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_open_input_size():
    model = sequential((None, None, 2), layers.Conv2D(4, 3), layers.GlobalMaxPooling2D())
    image = visualize_activation(model, -1, 1, seed_input=np.zeros((9, 7, 2)), max_iter=2)
    assert image.shape == (9, 7, 2)
    image = visualize_activation(model, 0, 1, seed_input=np.zeros((5, 6, 2)), max_iter=2)
    assert image.shape == (5, 6, 2)
    image = visualize_activation(model, -1, 1, image_size=(8, 6), max_iter=2)
    assert image.shape == (8, 6, 2)
    with pytest.warns(UserWarning, match=r"open in size.*\(224, 224, 2\)"):
        assert visualize_activation(model, -1, 1, max_iter=1).shape == (224, 224, 2)


def test_custom_loss():
    model, _, seed = case(1)

    class Mean(Loss):
        def build_loss(self):
            return -ops.mean(model.layers[-1].output[..., 1])

    settings = {"seed_input": seed, "max_iter": 5, "input_range": (0.0, 1.0)}
    actual = visualize_activation_with_losses(model.inputs[0], [(Mean(), 1)], **settings)
    expected = visualize_activation(model, -1, 1, lp_norm_weight=0, tv_weight=0, **settings)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


# Bad input.


def error(kind, match, *args, **kwargs):
    """The message of an error that is raised before the first iteration."""
    recorder = Recorder()
    with pytest.raises(kind, match=match) as caught:
        visualize_activation(*args, callbacks=[recorder], **kwargs)
    assert "Received: " in str(caught.value)
    assert recorder.iterations == []
    return str(caught.value)


@pytest.fixture(scope="module")
def model():
    return sequential(
        (8, 8, 3), layers.Conv2D(4, 3, name="block1_conv"), layers.Conv2D(5, 3, name="block2_conv"),
        layers.Flatten(name="flatten"), layers.Dense(3, name="predictions"),
    )  # fmt: skip


def test_unknown_layer_name(model):
    message = error(ValueError, "did you mean 'block1_conv'", model, "block1_cnov", 0)
    assert "'predictions'" in message
    error(ValueError, "'predictions'", model, "prediction", 0)
    error(ValueError, "flatten", model, "nothing like it at all", 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [("fc1000", "predictions"), ("res2a_branch2a", "conv2_block1_1_conv"),
     ("bn5c_branch2c", "conv5_block3_3_bn"), ("res3a_branch1", "conv3_block1_0_conv")],
)  # fmt: skip
def test_renamed_layers_are_suggested(old, new):
    model = sequential(
        (4,), *[layers.Dense(2, name=name) for name in ("dense", new, "other", "conv1_relu")]
    )
    error(ValueError, f"did you mean '{new}'", model, old, 0)


def test_layer_index_out_of_range(model):
    for index in (4, -5, 100):
        error(ValueError, rf"`layer_idx` .*4 layers, 0 to 3.*layer_idx={index}", model, index, 0)
    for index in (1.0, None, True, [0], "", b"predictions"):
        error((TypeError, ValueError), r"`layer_(idx|name)`", model, index, 0)


def test_layer_of_another_model(model):
    other = sequential((4,), layers.Dense(2))
    error(ValueError, "`layer_idx` must be a layer of the model", model, other.layers[0], 0)


def test_filter_index_out_of_range(model):
    error(ValueError, "'block1_conv' has 4 filters, 0 to 3", model, "block1_conv", 4)
    error(ValueError, "'predictions' has 3 filters, 0 to 2", model, -1, [0, 3])
    error(TypeError, "`filter_indices`", model, -1, "0")


def test_seed_input_of_the_wrong_shape(model):
    message = error(ValueError, "`seed_input`", model, -1, 0, seed_input=np.zeros((8, 9, 3)))
    assert "(8, 8, 3)" in message
    assert "(8, 9, 3)" in message


@pytest.mark.parametrize("input_range", [(1, 1), (255, 0), (0, np.nan), "ab", 255])
def test_bad_input_range(model, input_range):
    error((ValueError, TypeError), "`input_range`", model, -1, 0, input_range=input_range)


@pytest.mark.parametrize("name", ["act_max_weight", "lp_norm_weight", "tv_weight"])
@pytest.mark.parametrize("weight", ["1", np.nan, -np.inf, [1]])
def test_weight_that_is_not_a_number(model, name, weight):
    error((ValueError, TypeError), "weight`", model, -1, 0, **{name: weight})


def test_all_weights_zero(model):
    error(ValueError, "`losses`", model, -1, 0, act_max_weight=0, lp_norm_weight=0, tv_weight=0)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("backprop_modifier", "guide"), ("backprop_modifier", 1), ("grad_modifier", "abs"),
     ("max_iter", 0), ("max_iter", "all"), ("seed", "x"), ("input_modifiers", [1])],
)  # fmt: skip
def test_bad_arguments(model, argument, value):
    error((ValueError, TypeError), f"`{argument}`", model, -1, 0, **{argument: value})


def test_unknown_argument(model):
    with pytest.raises(TypeError, match="max_iterations"):
        visualize_activation(model, -1, 0, max_iterations=3)


def test_legacy_model_of_keras_2():
    legacy = type("Functional", (), {"__module__": "tf_keras.src.engine.functional"})
    message = error(TypeError, "`model` must be a Keras 3 model", legacy(), -1, 0)
    assert "tf_keras" in message
    assert "TF_USE_LEGACY_KERAS" in message
    subclass = type("Mine", (legacy,), {"__module__": "__main__"})
    assert "TF_USE_LEGACY_KERAS" in error(TypeError, "`model`", subclass(), -1, 0)


@pytest.mark.parametrize("wrong", [None, "model.keras", layers.Dense(2), np.zeros(3), keras.Model])
def test_not_a_model(wrong):
    message = error(TypeError, "`model` must be a Keras 3 model", wrong, -1, 0)
    assert "LEGACY" not in message


def test_unbuilt_model():
    model = keras.Sequential([layers.Dense(2)])
    error(ValueError, "`(model|layer)` must .*built", model, -1, 0)


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_keras_on_another_backend(model, monkeypatch, backend):
    monkeypatch.setattr(keras.config, "backend", lambda: backend)
    message = error(ValueError, "KERAS_BACKEND=tensorflow", model, -1, 0)
    assert re.search(rf"Received: .*'{backend}'", message)


def test_negative_integer_range_gives_floats():
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3)])
    image = visualize_activation(model, -1, 0, input_range=(-128, 127), max_iter=3, seed=0)
    assert np.issubdtype(image.dtype, np.floating)
    assert image.min() < 0


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.float32])
def test_range_of_numpy_numbers(kind):
    model = sequential((4, 4, 1), layers.Flatten(), layers.Dense(2))
    ours, expected = (
        visualize_activation(model, -1, 1, input_range=ends, max_iter=3, seed=0)
        for ends in ((kind(-100), kind(100)), (-100.0, 100.0))
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("ends", [(0, 1e39), (0, 10**400), iter([]), (0, 1, 2), "ab"])
def test_bad_ranges(ends):
    model = sequential((4, 4, 1), layers.Flatten(), layers.Dense(2))
    for draw in (visualize_activation, visualize_filters):
        with pytest.raises((TypeError, ValueError), match=r"`input_range` must be .*Received: "):
            draw(model, -1, 1, input_range=ends, max_iter=1)


@pytest.mark.parametrize("function", [int, layers.Dense(2)])
def test_modifiers_that_are_not_functions(function):
    model = sequential((4, 4, 1), layers.Flatten(), layers.Dense(2))
    for name in ("backprop_modifier", "grad_modifier"):
        with pytest.raises(TypeError, match=rf"`{name}` must be .*Received: "):
            visualize_activation(model, -1, 1, max_iter=1, **{name: function})

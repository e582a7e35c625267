"""Gradients of small networks with backprop modifiers, compared with NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import nodes, sequential
from keras import layers, ops

from vis import backprop_modifiers
from vis.backend import modify_model_backprop
from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.utils.utils import apply_modifications
from vis.visualization import visualize_activation

KINDS = ["plain", "guided", "rectified"]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def modified(model, kind):
    return model if kind == "plain" else getattr(backprop_modifiers, kind)(model)


def rectify(grads, activation, kind):
    """The gradient by the input of a rectifier."""
    active = activation > 0
    return {
        "plain": grads * active,
        "guided": np.maximum(grads, 0) * active,
        "rectified": np.maximum(grads, 0),
    }[kind]


def gradients(model, image, unit=1):
    """The gradients of minus one unit, by `tf.GradientTape` and by an `Optimizer`."""
    with tf.GradientTape() as tape:
        tape.watch(x := tf.convert_to_tensor(image))
        loss = -tf.reduce_sum(model(x)[..., unit])
    by_tape = tape.gradient(loss, x).numpy()
    loss = ActivationMaximization(model.layers[-1], unit)
    optimizer = Optimizer(model.inputs[0], [(loss, 1)], norm_grads=False)
    return by_tape, optimizer.minimize(image, 1, verbose=False)[1]


def check_gradients(model, expected, image=None):
    """Compares gradients with `expected(kind)`."""
    image = noise(1, *model.inputs[0].shape[1:]) if image is None else image
    different = set()
    for kind in KINDS:
        copy = modified(model, kind)
        np.testing.assert_allclose(copy(image), model(image), rtol=1e-6, atol=1e-7)
        for actual in gradients(copy, image):
            np.testing.assert_allclose(actual, expected(kind), rtol=1e-4, atol=1e-6)
        different.add(expected(kind).tobytes())
    assert len(different) == 3


def rectifying(units):
    """Ways to write a dense layer with a rectifier. For others, see `test_rectifiers.py`."""
    return {
        "argument": [layers.Dense(units, activation="relu")],
        "tensorflow": [layers.Dense(units, activation=tf.nn.relu)],
        "distributed": [
            layers.Reshape((1, -1)), layers.TimeDistributed(layers.Dense(units, "relu")),
            layers.Flatten(),
        ],
        "nested twice": [sequential((7,), sequential((7,), layers.Dense(units), layers.ReLU()))],
    }  # fmt: skip


@pytest.mark.parametrize("kind", rectifying(1))
def test_two_rectifiers(kind):
    model = sequential((7,), *rectifying(6)[kind], layers.Dense(5, "relu"), layers.Dense(3))
    model.set_weights([noise(*w.shape, seed=i) for i, w in enumerate(model.get_weights())])
    image = noise(1, 7, seed=9)
    w1, b1, w2, b2, w3, _ = map(np.float64, model.get_weights())
    y1 = image @ w1 + b1
    y2 = np.maximum(y1, 0) @ w2 + b2

    def expected(kind):
        back = rectify(-w3[None, :, 1], y2, kind)
        return rectify(back @ w2.T, y1, kind) @ w1.T

    before = nodes(model)
    check_gradients(model, expected, image)
    assert nodes(model) == before


def test_functions_in_the_graph():
    inputs = keras.Input((7,))
    first = layers.Dense(6)
    model = keras.Model(inputs, layers.Dense(3)(ops.relu(first(inputs))))
    model.set_weights([noise(*w.shape) for w in model.get_weights()])
    image = noise(1, 7, seed=9)
    w1, b1, w2, _ = map(np.float64, model.get_weights())
    check_gradients(
        model, lambda kind: rectify(-w2[None, :, 1], image @ w1 + b1, kind) @ w1.T, image
    )


def test_bounded_rectifier():
    model = sequential((40,), layers.ReLU(max_value=1.0), layers.Dense(3))
    image = 2 * noise(1, 40)
    back = -model.layers[-1].kernel.numpy()[None, :, 1]
    inside = (image > 0) & (image < 1)
    expected = {
        "plain": back * inside,
        "guided": np.maximum(back, 0) * inside,
        "rectified": np.maximum(back, 0),
    }
    check_gradients(model, expected.get, image)


def test_convolutions():
    """With one channel and without padding, NumPy computes the transposed convolution."""
    model = sequential(
        (9, 1), layers.Conv1D(1, 3, activation="relu"), layers.Conv1D(1, 3, activation="relu"),
        layers.Flatten(), layers.Dense(2),
    )  # fmt: skip
    # With these weights all three gradients are nonzero.
    model.set_weights([noise(*w.shape, seed=4 + i) for i, w in enumerate(model.get_weights())])
    image = noise(1, 9, 1, seed=10)
    w1, b1, w2, b2, w3, _ = (np.float64(w) for w in model.get_weights())
    w1, w2 = w1[:, 0, 0], w2[:, 0, 0]
    y1 = np.correlate(np.float64(image[0, :, 0]), w1, "valid") + b1
    y2 = np.correlate(np.maximum(y1, 0), w2, "valid") + b2

    def expected(kind):
        back = rectify(-w3[:, 1], y2, kind)
        back = rectify(np.convolve(back, w2, "full"), y1, kind)
        return np.convolve(back, w1, "full")[None, :, None]

    check_gradients(model, expected, image)


def test_names():
    get = backprop_modifiers.get
    assert get("guided") is backprop_modifiers.guided
    assert get("rectified") is backprop_modifiers.rectified
    assert get("relu") is backprop_modifiers.relu
    assert get("deconv") is backprop_modifiers.deconv
    assert get(None) is None
    assert get(len) is len
    model = sequential((7,), layers.Dense(6, "relu"), layers.Dense(3))
    image = noise(1, 7)
    _, expected = gradients(backprop_modifiers.rectified(model), image)
    for name in ("relu", "deconv"):
        np.testing.assert_array_equal(gradients(get(name)(model), image)[1], expected)
        np.testing.assert_array_equal(
            gradients(modify_model_backprop(model, name), image)[1], expected
        )
    for wrong in ("guide", "", 3, "keras", "modify_model_backprop"):
        with pytest.raises(ValueError, match=r"`backprop_modifier` .*Received: "):
            get(wrong)
    with pytest.raises(ValueError, match=r"`backprop_modifier` .*Received: "):
        modify_model_backprop(model, "guide")


@pytest.mark.parametrize("wrong", [None, "model", 3, layers.Dense(2), keras.Sequential()])
def test_wrong_model(wrong):
    with pytest.raises((TypeError, ValueError), match=r"`model` .*Received: "):
        backprop_modifiers.guided(wrong)


def residual_model():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    x = layers.ReLU(name="first_relu")(layers.BatchNormalization(name="norm")(x))
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="second")(x)
    x = layers.Add(name="add")([x, y])
    inner = sequential((6, 6, 4), layers.Conv2D(5, 3, activation="relu", name="inside"))
    x = layers.Dropout(0.5)(inner(x))
    return keras.Model(inputs, layers.Dense(3, name="last")(layers.Flatten()(x)), name="residual")


@pytest.mark.parametrize("kind", ["guided", "rectified"])
def test_copy_shares_weights_and_leaves_the_original_alone(kind):
    model = residual_model()
    model.set_weights([np.abs(noise(*w.shape)) + 0.1 for w in model.get_weights()])
    image = noise(2, 6, 6, 3)
    before = nodes(model)
    expected, plain = model(image).numpy(), gradients(model, image[:1])
    config = model.get_config()

    copy = modified(model, kind)
    assert copy is not model
    assert len(copy.weights) == len(model.weights)
    for copied, original in zip(copy.weights, model.weights, strict=True):
        assert copied is original
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    assert copy.get_layer("first").kernel is model.get_layer("first").kernel
    np.testing.assert_allclose(copy(image), expected, rtol=1e-5)
    np.testing.assert_allclose(copy.predict(image, verbose=0), expected, rtol=1e-4)
    assert (gradients(copy, image[:1])[1] != plain[1]).any()

    assert nodes(model) == before
    assert model.get_config() == config
    for actual, expected in zip(gradients(model, image[:1]), plain, strict=True):
        np.testing.assert_array_equal(actual, expected)
    # Weights that are set later are shared, too.
    model.set_weights([w * 0.5 for w in model.get_weights()])
    np.testing.assert_allclose(copy(image), model(image), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("kind", ["guided", "rectified"])
def test_copy_can_be_saved_and_loaded(tmp_path, kind):
    model = residual_model()
    image = noise(1, 6, 6, 3)
    copy = modified(model, kind)
    copy.save(tmp_path / "copy.keras")
    loaded = keras.models.load_model(tmp_path / "copy.keras")
    np.testing.assert_allclose(loaded(image), model(image), rtol=1e-5)
    for actual, expected in zip(gradients(loaded, image), gradients(copy, image), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    # The original is saved without changes.
    model.save(tmp_path / "model.keras")
    plain = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        gradients(plain, image)[0], gradients(model, image)[0], rtol=1e-4, atol=1e-6
    )


def test_layer_shared_within_the_model():
    shared = layers.Dense(5, "relu")
    inputs = keras.Input((5,))
    model = keras.Model(inputs, layers.Dense(2)(shared(shared(inputs))))
    model.set_weights([noise(*w.shape) for w in model.get_weights()])
    copy = backprop_modifiers.guided(model)
    assert len(copy.weights) == 4
    assert copy.layers[1]._inbound_nodes[1:]
    image = noise(1, 5, seed=1)
    w1, b1, w2, _ = map(np.float64, model.get_weights())
    y1 = image @ w1 + b1
    y2 = np.maximum(y1, 0) @ w1 + b1
    back = rectify(rectify(-w2[None, :, 1], y2, "guided") @ w1.T, y1, "guided") @ w1.T
    for actual in gradients(copy, image):
        np.testing.assert_allclose(actual, back, rtol=1e-4, atol=1e-6)


def test_activation_changed_after_the_first_copy():
    model = sequential((7,), layers.Dense(6, "tanh"), layers.Dense(6, "relu"), layers.Dense(3))
    backprop_modifiers.guided(model)
    model.layers[0].activation = keras.activations.relu
    again = backprop_modifiers.guided(model)
    image = noise(1, 7)
    np.testing.assert_allclose(again(image), apply_modifications(model)(image), rtol=1e-6)


def test_other_activations_keep_their_gradients_with_a_warning():
    model = sequential((7,), layers.Dense(6, "elu"), layers.Dense(3))
    image = noise(1, 7)
    with pytest.warns(UserWarning, match="elu"):
        copy = backprop_modifiers.guided(model)
    for actual, expected in zip(gradients(copy, image), gradients(model, image), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_custom_modifier():
    model = sequential((7,), layers.Dense(6, "relu"), layers.Dense(3))

    def without_rectifiers(original):
        assert original is model
        original.layers[0].activation = keras.activations.linear
        copy = apply_modifications(original)
        original.layers[0].activation = keras.activations.relu
        return copy

    seed = noise(7)
    settings = {"seed_input": seed, "max_iter": 4, "input_range": (0.0, 1.0)}
    actual = visualize_activation(model, -1, 1, backprop_modifier=without_rectifiers, **settings)
    expected = visualize_activation(without_rectifiers(model), -1, 1, **settings)
    np.testing.assert_array_equal(actual, expected)

"""The transfer learning model of keras.io in all functions.

It augments and scales its input, and has a model of `keras.applications` nested in it. Keras
augments in each call unless `training=False`.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import look_trained, nodes
from keras import layers

from vis import visualization
from vis.backend.graph import apply_modifications
from vis.callbacks import History
from vis.visualization import (
    Attribution,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
)
from vis.visualization.attribution.maps import resize_maps

SIZE = 64
UNIT = 0
INNER = "block_3_expand"
LAST_CONVOLUTION, LAST_RECTIFIER = "block_6_expand", "block_6_expand_relu"

# Fewer computations for slow methods; all others have their default settings.
SETTINGS = {
    "FasterScoreCAM": {"max_channels": 4},
    "IntegratedGradients": {"steps": 4},
    "Occlusion": {"patch": 24},
    "ScoreCAM": {"penultimate_layer_idx": "conv"},
    "SmoothGrad": {"samples": 2, "seed": 0},
}
METHODS = [
    name
    for name in visualization.__all__
    if isinstance(method := getattr(visualization, name), type)
    and issubclass(method, Attribution)
    and name not in ("Attribution", "CAM")
    and not issubclass(method, visualization.AttentionMap)
]


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE, 3)).astype("float32")


@pytest.fixture(scope="module")
def model(image):
    keras.utils.set_random_seed(5)
    whole = keras.applications.MobileNetV2(
        (SIZE, SIZE, 3), alpha=0.35, include_top=False, weights=None
    )
    # The blocks that follow are of the same layers.
    base = keras.Model(whole.inputs, whole.get_layer(LAST_RECTIFIER).output)
    others = np.random.default_rng(1).uniform(-1, 1, (8, SIZE, SIZE, 3)).astype("float32")
    look_trained(base, others)
    base.trainable = False

    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.RandomFlip("horizontal")(inputs)
    x = layers.RandomRotation(0.1)(x)
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = base(x, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    model = keras.Model(inputs, layers.Dense(5, "softmax", name="predictions")(x))
    model.layers[-1].bias.assign(np.random.default_rng(2).normal(size=5))
    return model


@pytest.fixture(scope="module")
def base(model):
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


@pytest.fixture(scope="module")
def linear(model):
    """The model without its softmax."""
    model.layers[-1].activation = keras.activations.linear
    copy = apply_modifications(model)
    model.layers[-1].activation = keras.activations.softmax
    return copy


@pytest.fixture(autouse=True)
def check_unchanged(model, linear):
    before = [nodes(m) for m in (model, linear)]
    weights = [w.numpy() for m in (model, linear) for w in m.weights]
    yield
    assert [nodes(m) for m in (model, linear)] == before
    after = (w for m in (model, linear) for w in m.weights)
    for weight, expected in zip(after, weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def base_of(model):
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


@pytest.fixture(scope="module")
def reference(linear, image):
    """A unit's value and gradient, and those of layers of the base, by `tf.GradientTape`."""
    base, head, names = base_of(linear), linear.layers[-1], [INNER, LAST_CONVOLUTION]
    features_of = keras.Model(base.inputs, [base.get_layer(x).output for x in names] + base.outputs)
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(image[None]))
        *activations, features = features_of(x / 127.5 - 1)
        unit = head(tf.reduce_mean(features, axis=(1, 2)))[0, UNIT]
    grads, *layer_grads = tape.gradient(unit, [x, *activations])
    return (
        float(unit),
        grads.numpy()[0],
        {name: a.numpy()[0] for name, a in zip(names, activations, strict=True)},
        {name: g.numpy()[0] for name, g in zip(names, layer_grads, strict=True)},
    )


def scaled(array):
    return (array - array.min()) / np.ptp(array)


def losses_of(model, layer, image):
    history = History()
    picture = visualize_activation(
        model, layer, UNIT, seed_input=image, lp_norm_weight=0, tv_weight=0, max_iter=3,
        callbacks=[history],
    )  # fmt: skip
    assert picture.shape == image.shape
    assert picture.dtype == np.uint8
    assert np.ptp(picture) > 50
    return history.overall_loss


def test_activation_of_the_head(linear, image, reference):
    unit, *_ = reference
    first, *others = losses_of(linear, -1, image)
    assert first == pytest.approx(-unit, rel=1e-3)
    assert min(others) < first
    assert losses_of(linear, "predictions", image)[0] == first


def test_activation_inside_the_base(model, base, image, reference):
    _, _, activations, _ = reference
    first, *others = losses_of(model, base.get_layer(INNER), image)
    assert first == pytest.approx(-activations[INNER][..., UNIT].mean(), rel=1e-3)
    assert min(others) < first


def test_filters(model):
    # An untrained network gives other outputs for each transform of an image.
    settings = {"input_modifiers": [], "skip_erosion": 0}
    pictures = visualize_filters(
        model, -1, [1, UNIT], max_iter=60, seed=0, progress=False, **settings
    )
    assert pictures.shape == (2, SIZE, SIZE, 3)
    assert pictures.dtype == np.uint8
    logs = np.log(model(pictures.astype("float32"), training=False))
    assert logs[0, 1] - logs[0, UNIT] > logs[1, 1] - logs[1, UNIT] + 0.3


def test_filters_inside_the_base(model, base):
    layer = base.get_layer(INNER)
    pictures = visualize_filters(model, layer, [0, 5], max_iter=6, seed=0, progress=False)
    assert pictures.shape == (2, SIZE, SIZE, 3)
    layer_model = keras.Model(base.inputs, layer.output)
    means = layer_model([pictures / np.float32(127.5) - 1]).numpy().mean(axis=(1, 2))
    assert means[0, 0] > means[1, 0]
    assert means[1, 5] > means[0, 5]


def test_saliency(linear, image, reference):
    _, grads, _, _ = reference
    expected = scaled(abs(grads).max(axis=-1))
    heat = visualize_saliency(linear, -1, UNIT, image)
    np.testing.assert_allclose(heat, expected, atol=0.005)
    batch = visualize_saliency(linear, -1, UNIT, np.stack([image, image[::-1]]))
    np.testing.assert_allclose(batch[0], expected, atol=0.005)
    assert abs(batch[1] - expected).max() > 0.1


def test_guided_saliency(linear, image, recwarn):
    plain = visualize_saliency(linear, -1, UNIT, image)
    recwarn.clear()
    heat = visualize_saliency(linear, -1, UNIT, image, backprop_modifier="guided")
    assert not [warning for warning in recwarn if "guided" in str(warning.message)]
    assert np.isfinite(heat).all()
    assert np.ptp(heat) == 1
    assert abs(heat - plain).max() > 0.1


def test_cam(linear, image, reference):
    maps, grads = (by_layer[LAST_CONVOLUTION] for by_layer in reference[2:])
    expected = np.maximum(maps @ grads.mean(axis=(0, 1)), 0)
    expected = scaled(resize_maps(expected[None], (SIZE, SIZE))[0])
    layer = base_of(linear).get_layer(LAST_CONVOLUTION)
    for penultimate in (None, layer):
        heat = visualize_cam(linear, -1, UNIT, image, penultimate)
        np.testing.assert_allclose(heat, expected, atol=0.005)


@pytest.mark.every(4)
@pytest.mark.parametrize("name", METHODS)
def test_attribution(name, linear, image):
    settings = dict(SETTINGS.get(name, {}))
    if "penultimate_layer_idx" in settings:
        settings["penultimate_layer_idx"] = base_of(linear).get_layer("block_3_project")
    heat = getattr(visualization, name)(**settings)(linear, image, -1, UNIT)
    assert heat.shape == (SIZE, SIZE)
    assert heat.min() == 0
    assert heat.max() == 1


def test_modifications(model, linear, base, image):
    logits = linear(image[None], training=False).numpy()[0]
    exponentials = np.exp(logits - logits.max())
    np.testing.assert_allclose(
        exponentials / exponentials.sum(), model(image[None], training=False)[0], rtol=1e-4
    )
    assert [layer.name for layer in linear.layers] == [layer.name for layer in model.layers]
    for copied, original in zip(linear.weights, model.weights, strict=True):
        assert copied is not original
        np.testing.assert_array_equal(copied, original)


def test_modifications_inside_the_base(model, base, image):
    rectifier = base.get_layer(LAST_RECTIFIER)
    before = model(image[None], training=False).numpy()
    rectifier.max_value = 0.5
    copy = apply_modifications(model)
    rectifier.max_value = 6.0
    assert base_of(copy).get_layer(LAST_RECTIFIER).max_value == 0.5
    assert abs(copy(image[None], training=False).numpy() - before).max() > 1e-3
    np.testing.assert_array_equal(model(image[None], training=False), before)

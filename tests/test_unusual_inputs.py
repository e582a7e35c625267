"""Optional inputs, fixed batch sizes, empty images, and TensorFlow's check of numerics."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import sequential
from keras import layers, ops

from vis.atlas import draw_atlas
from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.visualization import (
    IntegratedGradients,
    Occlusion,
    top_activating_images,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
    visualize_saliency_with_losses,
)

pytestmark = pytest.mark.versions

QUICK = {"max_iter": 3, "seed": 0}
FILTERS = {"input_modifiers": [], "progress": False, **QUICK}
IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")
IMAGE = IMAGES[0]

needs_optional = pytest.mark.skipif(
    "optional" not in inspect.signature(keras.Input).parameters,
    reason="early versions of Keras have no optional inputs",
)


def parts():
    return (
        layers.Conv2D(4, 3, activation="relu", name="conv"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="out"),
    )


class Weighted(layers.Layer):
    def build(self, *shapes, **other):
        pass

    def call(self, values, weight=None):
        return values if weight is None else values * weight


def with_optional_input():
    image = keras.Input(IMAGE.shape, name="image")
    weight = keras.Input((4,), optional=True, name="weight")
    conv, pool, out = parts()
    weighted = Weighted()(pool(conv(image)), weight)
    return keras.Model({"image": image, "weight": weight}, out(weighted)), (conv, pool, out)


@needs_optional
def test_optional_inputs_are_none_unless_they_are_given(tmp_path):
    model, own = with_optional_input()
    weight = np.array([1.0, 0.0, 2.0, -1.0], "float32")
    plain = sequential(IMAGE.shape, *own)
    scaled = sequential(IMAGE.shape, *own[:2], layers.Rescaling(weight), own[2])
    for values, expected in (
        (IMAGES, plain),
        ({"image": IMAGES, "weight": None}, plain),
        ([IMAGES, None], plain),
        ({"image": IMAGES, "weight": weight}, scaled),
    ):
        for draw in (
            lambda m, x: visualize_saliency(m, "out", 1, x),
            lambda m, x: visualize_saliency(m, -1, None, x, None, "guided"),
            lambda m, x: visualize_cam(m, "out", 1, x, "conv"),
            lambda m, x: Occlusion()(m, x, "out", 1),
        ):
            if not np.any(draw(expected, IMAGES)):
                continue
            heat = draw(model, values)
            np.testing.assert_allclose(heat, draw(expected, IMAGES), atol=1e-4)
    for fixed, expected in ((None, plain), ({"weight": weight}, scaled)):
        picture = visualize_activation(model, "out", 1, fixed_inputs=fixed, **QUICK)
        reference = visualize_activation(expected, "out", 1, **QUICK)
        np.testing.assert_allclose(picture, reference, atol=1)
        pictures = visualize_filters(model, "out", [1], fixed_inputs=fixed, **FILTERS)
        reference = visualize_filters(expected, "out", [1], **FILTERS)
        np.testing.assert_allclose(pictures, reference, atol=1)
        settings = {"fixed_inputs": fixed, "progress": False}
        found = top_activating_images(model, IMAGES, "out", **settings)["out"]
        np.testing.assert_allclose(found.activations, expected(IMAGES), rtol=1e-4)
    if keras.__version__.startswith("3.6."):
        # A Functional model of this version cannot be called with None, which an atlas does.
        return
    settings = {"max_filters": 1, "max_classes": 1, "max_iter": 3, "progress": False}
    assert not draw_atlas(model, tmp_path, images=IMAGES, **settings).failed


def test_fixed_batch_sizes():
    inputs = keras.Input(batch_shape=(4, *IMAGE.shape))
    conv, pool, out = parts()
    model, plain = (
        keras.Model(inputs, out(pool(conv(inputs)))),
        sequential(IMAGE.shape, conv, pool, out),
    )
    for draw in (
        lambda m: visualize_saliency(m, -1, 1, IMAGE),
        lambda m: visualize_saliency(m, -1, None, IMAGES),
        lambda m: IntegratedGradients(3)(m, IMAGE, -1, 1),
        lambda m: visualize_activation(m, -1, 1, **QUICK),
        lambda m: visualize_filters(m, -1, [0, 1], **FILTERS),
        lambda m: top_activating_images(m, IMAGES, -1, progress=False).layers[0].activations,
    ):
        np.testing.assert_allclose(draw(model), draw(plain), atol=1e-5)


def test_models_that_run_with_their_own_batch_size_only():
    inputs = keras.Input(batch_shape=(4, *IMAGE.shape))
    conv, _, out = parts()
    model = keras.Model(inputs, out(ops.reshape(conv(inputs), (4, 6 * 6 * 4))))
    losses = [(ActivationMaximization(out, 1), -1)]
    for call in (
        lambda: visualize_saliency(model, -1, 1, IMAGE),
        lambda: visualize_saliency(model, -1, 1, IMAGES),
        lambda: visualize_saliency_with_losses(model.inputs, losses, IMAGE),
        lambda: visualize_activation(model, -1, 1, **QUICK),
        lambda: visualize_filters(model, -1, [1], **FILTERS),
        lambda: top_activating_images(model, IMAGES, -1, progress=False),
        lambda: Optimizer(model.inputs, losses).minimize(max_iter=2, verbose=False),
    ):
        with pytest.raises(ValueError, match=r"`model` must accept batches of any.*Received: .*4"):
            call()
    # Before the reshape, any batch size will do.
    assert visualize_saliency(model, "conv", 1, IMAGE).shape == (8, 8)


def test_check_of_numerics():
    model = sequential(IMAGE.shape, *parts())
    calls = [
        lambda: visualize_saliency(model, -1, 1, IMAGES),
        lambda: visualize_activation(model, -1, 1, **QUICK),
        lambda: visualize_filters(model, -1, [0, 1], **FILTERS),
        lambda: top_activating_images(model, IMAGES, -1, progress=False).layers[0].activations,
    ]
    expected = [call() for call in calls]
    tf.debugging.enable_check_numerics()
    try:
        model = sequential(IMAGE.shape, *model.layers)
        for call, result in zip(calls, expected, strict=True):
            np.testing.assert_allclose(call(), result, atol=1e-5)
    finally:
        tf.debugging.disable_check_numerics()


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (0, 8, 3), (2, 8, 0, 3), (0,)])
def test_empty_images(shape):
    model = sequential((None, None, 3), *parts())
    empty = np.zeros(shape, "float32")
    for call, name in (
        (lambda: visualize_saliency(model, -1, 1, empty), "seed_input"),
        (lambda: visualize_cam(model, -1, 1, empty), "seed_input"),
        (lambda: Occlusion()(model, empty, -1, 1), "seed_input"),
        (lambda: visualize_activation(model, -1, 1, seed_input=empty, **QUICK), "seed_input"),
        (lambda: visualize_filters(model, -1, [1], like=empty, **FILTERS), "like"),
        (lambda: top_activating_images(model, empty, -1, progress=False), "images"),
    ):
        with pytest.raises(ValueError, match=rf"`{name}` must (hold|be of shape).*Received: "):
            call()

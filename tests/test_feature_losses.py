from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from vis.callbacks import History
from vis.losses import (
    ActivationMaximization,
    CosineDirection,
    DeepDream,
    Direction,
    Diversity,
    FeatureInversion,
    FilterActivations,
    Neuron,
)
from vis.optimizer import Optimizer
from vis.regularizers import L1, L2, BlurPenalty

OUTPUT = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 7, 2)),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, "softmax"),
        ]
    )


def values(loss, output=OUTPUT):
    parameters = {k: ops.convert_to_tensor(v) for k, v in loss.parameters.items()}
    formula = type(loss).formula
    return ops.convert_to_numpy(
        formula(ops.convert_to_tensor(output), **parameters, **loss.settings)
    )


def test_neuron(model):
    conv = model.layers[0]
    np.testing.assert_allclose(
        values(Neuron(conv, 1, position=(4, -1))), -OUTPUT[:, 4, -1, 1], rtol=1e-5
    )
    assert Neuron(conv, 1).settings["position"] == (3, 2)


def test_direction(model):
    direction = np.array([1.0, -2.0, 0.5])
    loss = Direction(model.layers[0], direction)
    np.testing.assert_allclose(values(loss), -(OUTPUT @ direction).mean(axis=(1, 2)), rtol=1e-4)


def test_cosine_direction(model):
    direction = np.array([1.0, -2.0, 0.5])
    dots = OUTPUT @ direction
    cosines = dots / np.linalg.norm(OUTPUT, axis=-1) / np.linalg.norm(direction)
    expected = -(dots * np.maximum(cosines, 0.1) ** 3).mean(axis=(1, 2))
    loss = CosineDirection(model.layers[0], direction, power=3)
    np.testing.assert_allclose(values(loss), expected, rtol=1e-3)


def test_deep_dream(model):
    expected = -(OUTPUT**2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(values(DeepDream(model.layers[0])), expected, rtol=1e-5)


def test_diversity(model):
    grams = np.einsum("nijc,nijd->ncd", OUTPUT, OUTPUT).reshape(2, -1)
    cosine = grams[0] @ grams[1] / np.linalg.norm(grams[0]) / np.linalg.norm(grams[1])
    loss = Diversity(model.layers[0])
    np.testing.assert_allclose(values(loss), [cosine, cosine], rtol=1e-4)
    np.testing.assert_array_equal(values(loss, OUTPUT[:1]), [0])


def test_diversity_makes_the_images_of_a_batch_differ(model):
    history = History()
    loss = Diversity(model.layers[0])
    optimizer = Optimizer(
        model.inputs[0], loss, input_range=(-1.0, 1.0), optimizer=keras.optimizers.Adam(0.05)
    )
    images, _, _ = optimizer.minimize(
        max_iter=60, seed=0, verbose=False, samples=3, callbacks=[history]
    )
    assert images.shape == (3, 8, 7, 2)
    assert history.overall_loss[-1] < history.overall_loss[0] - 0.2


def test_feature_inversion_reconstructs_the_features(model):
    conv = model.layers[0]
    target = np.random.default_rng(1).uniform(0, 255, (8, 7, 2)).astype("float32")
    loss = FeatureInversion(conv, model.inputs[0], target)
    features = keras.Model(model.inputs, conv.output)
    expected = ops.convert_to_numpy(features([target[None]]))
    np.testing.assert_allclose(loss.parameters["features"], expected, rtol=1e-3, atol=1e-3)
    assert values(loss, expected)[0] == 0
    optimizer = Optimizer(model.inputs[0], loss, optimizer=keras.optimizers.Adam(3.0))
    history = History()
    optimizer.minimize(max_iter=100, seed=0, verbose=False, callbacks=[history])
    assert history.overall_loss[-1] < 0.3 * history.overall_loss[0]


def test_filter_of_each_sample(model):
    loss = FilterActivations(model.layers[0], [2, 0])
    expected = [-OUTPUT[0, ..., 2].mean(), -OUTPUT[1, ..., 0].mean()]
    np.testing.assert_allclose(values(loss), expected, rtol=1e-5)


def test_filter_activations_skip_the_softmax():
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(4, "softmax")
    model = keras.Sequential([keras.Input((6,)), dense])
    loss = FilterActivations(dense, [2])
    grads = Optimizer(model.inputs[0], [(loss, 1)], norm_grads=False).minimize(
        seed_input=np.full((6,), 50.0), max_iter=1, verbose=False
    )[1]
    kernel = np.asarray(dense.kernel)
    np.testing.assert_allclose(grads[0], -kernel[:, 2], rtol=1e-5)
    assert dense.activation is keras.activations.softmax


def test_sums_of_losses(model):
    conv, x = model.layers[0], model.inputs[0]
    a, b = ActivationMaximization(conv, 1), L2(x, center=100.0)
    seed = np.random.default_rng(0).uniform(0, 255, (8, 7, 2))
    from_sum = Optimizer(x, a + 0.5 * b).minimize(seed, max_iter=5, verbose=False)[0]
    from_list = Optimizer(x, [(a, 1), (b, 0.5)]).minimize(seed, max_iter=5, verbose=False)[0]
    from_nested = Optimizer(x, [(2 * (0.5 * a + b * 0.25), 1)]).minimize(
        seed, max_iter=5, verbose=False
    )
    np.testing.assert_array_equal(from_sum, from_list)
    np.testing.assert_allclose(from_nested[0], from_list, rtol=1e-4)
    with pytest.raises(TypeError, match=r"`weight`.*Received: "):
        a * "much"


def test_regularizers():
    x = keras.Input((5, 4, 3))
    np.testing.assert_allclose(
        values(L1(x, center=0.3)), np.abs(OUTPUT - 0.3).mean((1, 2, 3)), rtol=1e-5
    )
    np.testing.assert_allclose(
        values(L2(x, center=0.3)), ((OUTPUT - 0.3) ** 2).mean((1, 2, 3)), rtol=1e-4
    )
    blurred = OUTPUT.astype("float64")
    for axis in (1, 2):
        blurred = ndimage.convolve1d(blurred, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
    expected = ((OUTPUT - blurred) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(values(BlurPenalty(x)), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda m: Neuron(m.layers[0], 3), "filter_index"),
        (lambda m: Neuron(m.layers[0], 0, position=(6, 0)), "position"),
        (lambda m: Neuron(m.layers[0], 0, position=(1,)), "position"),
        (lambda m: Neuron(m.layers[0], 0, position=(1.5, 1)), "position"),
        (lambda m: Neuron(m.layers[0], 0, position=3), "position"),
        (lambda m: Neuron(m.layers[0], [0, 1]), "filter_index"),
        (lambda m: Direction(m.layers[0], [1, 2]), "direction"),
        (lambda m: Direction(m.layers[0], [0, 0, 0]), "direction"),
        (lambda m: Direction(m.layers[0], "abc"), "direction"),
        (lambda m: Direction(m.layers[0], [1, np.nan, 0]), "direction"),
        (lambda m: CosineDirection(m.layers[0], [1, 2, 3], power=-1), "power"),
        (lambda m: DeepDream("conv"), "layer"),
        (lambda m: Diversity(None), "layer"),
        (lambda m: FeatureInversion(m.layers[0], m.inputs[0], np.ones((3, 3))), "image"),
        (lambda m: FeatureInversion(m.layers[0], m, np.ones((8, 7, 2))), "img_input"),
        (lambda m: L1("image"), "img_input"),
        (lambda m: L2(m.inputs[0], center="grey"), "center"),
        (lambda m: BlurPenalty(keras.Input((4,))), "img_input"),
    ],
)
def test_bad_arguments(model, make, name):
    with pytest.raises((TypeError, ValueError), match=rf"`{name}`(.|\n)*Received: "):
        make(model)


def test_features_of_another_number_of_images(model):
    loss = FeatureInversion(model.layers[0], model.inputs[0], np.ones((2, 8, 7, 2)))
    with pytest.raises(ValueError, match=r"`losses`(.|\n)*Received: "):
        Optimizer(model.inputs[0], loss).minimize(max_iter=1, verbose=False, samples=3)

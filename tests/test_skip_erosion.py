"""Random gains of skip connections, in models that only add."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import Recorder, sequential
from keras import layers

from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.visualization import visualize_filters

STEPS = 400
IMAGE = np.array([2.0, 5.0, 3.0], "float32")


def residual(x, kernel, number=1):
    """Residual blocks of a dense layer."""
    for _ in range(number):
        dense = layers.Dense(3, use_bias=False, kernel_initializer=kernel)
        x = layers.Add()([x, dense(x)])
    return x


def outputs(model, std, seed=0):
    """The second output of a model in each step, for an image that stays the same."""
    loss = ActivationMaximization(model.layers[-1], 1)
    constant = keras.optimizers.SGD(0.0)
    optimizer = Optimizer(model.inputs[0], [(loss, 1)], optimizer=constant, skip_erosion=std)
    recorder = Recorder()
    optimizer.minimize(IMAGE, STEPS, callbacks=[recorder], verbose=False, seed=seed)
    return -np.array(recorder.overall)


def test_each_summand_has_its_own_gains():
    inputs = keras.Input((3,))
    values = outputs(keras.Model(inputs, residual(inputs, "identity")), 0.3)
    # Two uniform gains of standard deviation 0.3 on the number 5.
    assert values.mean() == pytest.approx(10, abs=0.3)
    assert values.std() == pytest.approx(5 * 0.3 * np.sqrt(2), rel=0.1)
    assert np.abs(values - 10).max() <= 2 * 5 * 0.3 * np.sqrt(3)
    assert len(set(values.tolist())) > STEPS / 2


@pytest.mark.every(2)
@pytest.mark.parametrize("nested", [False, True])
def test_effect_does_not_depend_on_depth(nested):
    inputs = keras.Input((3,))
    if nested:
        x = inner = keras.Input((3,))
        middle = keras.Model(inner, residual(x, "zeros", 8))
        outside = residual(middle(residual(inputs, "zeros", 4)), "zeros", 4)
    else:
        outside = residual(inputs, "zeros", 16)
    values = outputs(keras.Model(inputs, outside), 0.3)
    assert values.mean() == pytest.approx(5, abs=0.25)
    assert values.std() == pytest.approx(5 * 0.3, rel=0.15)


def test_operator_plus_is_a_skip_connection():
    x = inputs = keras.Input((3,))
    x = layers.Dense(3, kernel_initializer="identity")(x) + x
    values = outputs(keras.Model(inputs, layers.Activation("linear")(x)), 0.3)
    assert values.std() == pytest.approx(5 * 0.3 * np.sqrt(2), rel=0.1)


def test_network_without_skip_connections_is_unchanged():
    model = sequential((3,), layers.Dense(3))
    np.testing.assert_array_equal(outputs(model, 0.5), outputs(model, 0.0))


def test_gains_depend_on_the_seed():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, residual(inputs, "identity"))
    np.testing.assert_array_equal(outputs(model, 0.3), outputs(model, 0.3))
    assert (outputs(model, 0.3) != outputs(model, 0.3, seed=1)).any()


@pytest.mark.parametrize(
    "data_format", ["channels_first", pytest.param("channels_last", marks=pytest.mark.long)]
)
def test_picture_is_the_same_alone_and_in_a_batch(data_format):
    keras.utils.set_random_seed(0)
    first = data_format == "channels_first"
    inputs = keras.Input((3, 20, 16) if first else (20, 16, 3))
    x = layers.Conv2D(4, 3, data_format=data_format, padding="same")(inputs)
    x = layers.Add()([x, layers.Conv2D(4, 3, data_format=data_format, padding="same")(x)])
    model = keras.Model(inputs, layers.Activation("relu")(x))
    settings = {"max_iter": 6, "seed": 0, "progress": False}
    batch = visualize_filters(model, -1, [0, 2, 3], **settings)
    alone = visualize_filters(model, -1, 2, **settings)
    np.testing.assert_array_equal(batch[1], alone[0])
    assert (alone != visualize_filters(model, -1, 2, skip_erosion=0, **settings)).any()


@pytest.mark.parametrize(
    ("std", "kind"),
    [(-0.1, ValueError), (0.6, ValueError), (np.nan, ValueError), ("much", TypeError)],
)
def test_wrong_skip_erosion(std, kind):
    model = sequential((20, 16, 3), layers.Conv2D(4, 3))
    loss = ActivationMaximization(model.layers[-1], 1)
    with pytest.raises(kind, match=r"`skip_erosion` must be .*Received: "):
        Optimizer(model.inputs[0], [(loss, 1)], skip_erosion=std)
    with pytest.raises(kind, match=r"`skip_erosion` must be .*Received: "):
        visualize_filters(model, -1, skip_erosion=std, progress=False)

"""Grouped convolutions of single channels, which run as depthwise convolutions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import channels_last, sequential
from keras import layers

from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer

CONVOLUTIONS = {
    "one filter per channel": layers.Conv2D(4, 3, groups=4, padding="same"),
    "two filters per channel": layers.Conv2D(8, (3, 2), groups=4),
    "strides": layers.Conv2D(4, 3, strides=2, groups=4),
    "uneven strides": layers.Conv2D(4, 3, strides=(2, 1), groups=4),
    "dilation": layers.Conv2D(4, 3, dilation_rate=(2, 1), groups=4),
    "groups of several channels": layers.Conv2D(4, 3, groups=2),
    "one channel, not grouped": layers.Conv2D(4, 3),
    "one dimension": layers.Conv1D(8, 3, groups=4),
    "one dimension, causal": layers.Conv1D(4, 3, groups=4, padding="causal", dilation_rate=2),
    "three dimensions": layers.Conv3D(4, 2, groups=4),
    "channels first": layers.Conv2D(8, 3, groups=4, data_format="channels_first"),
}


def expected_gradient(model, image):
    """The gradient of a linear model's output, from its response to each pixel."""
    basis = np.eye(image.size, dtype="float32").reshape(image.size, *image.shape)
    responses = keras.ops.convert_to_numpy(model(basis) - model(np.zeros_like(basis)))
    responses = channels_last(responses, model.layers[-1].data_format)
    return responses[..., 1].reshape(image.size, -1).mean(axis=1).reshape(image.shape)


@pytest.mark.every(4)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradient_of_grouped_convolution(name):
    layer = CONVOLUTIONS[name]
    rank = layer.rank
    channels = 1 if name == "one channel, not grouped" else 4
    shape = (5,) * rank + (channels,)
    if layer.data_format == "channels_first":
        shape = (channels, *shape[:-1])
    model = sequential(shape, layer)
    layer.bias.assign(np.arange(layer.filters))
    image = np.random.default_rng(0).normal(size=shape).astype("float32")
    loss = ActivationMaximization(model.layers[-1], 1)
    optimizer = Optimizer(model.inputs[0], [(loss, -1)], norm_grads=False)
    _, grads, _ = optimizer.minimize(image, max_iter=1, verbose=False)
    np.testing.assert_allclose(grads[0], expected_gradient(model, image), rtol=1e-4, atol=1e-6)

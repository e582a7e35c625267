"""Helpers of several test files."""

from __future__ import annotations

import keras
import numpy as np

from vis.callbacks import OptimizerCallback


class Recorder(OptimizerCallback):
    """Stores the arguments of its calls."""

    def __init__(self):
        self.iterations, self.named_losses, self.overall = [], [], []
        self.grads, self.wrt_values = [], []
        self.ended = 0

    def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        self.iterations.append(i)
        self.named_losses.append(named_losses)
        self.overall.append(overall_loss)
        self.grads.append(grads)
        self.wrt_values.append(wrt_value)

    def on_end(self):
        self.ended += 1


def sequential(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def channels_last(array, data_format):
    """A batch of images or feature maps with the channels last."""
    return np.moveaxis(array, 1, -1) if data_format == "channels_first" else array


def look_trained(model, images):
    """Gives batch normalisation the statistics of images, and random scales and shifts.

    Otherwise, activations of random weights vanish in deep networks.
    """
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name == "gamma":
            weight.assign(rng.uniform(0.6, 1.4, weight.shape))
        elif weight.name in ("beta", "bias"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    normalisations = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    dropouts = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    momenta, rates = [x.momentum for x in normalisations], [x.rate for x in dropouts]
    for layer in normalisations:
        layer.momentum = 0.0
    for layer in dropouts:
        # Otherwise whole branches would be missing, unlike in inference.
        layer.rate = 0.0
    model(images, training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum
        # Otherwise channels that hardly vary over a few images would be amplified in others.
        variance = layer.moving_variance.numpy()
        layer.moving_variance.assign(np.maximum(variance, variance.mean()))
    for layer, rate in zip(dropouts, rates, strict=True):
        layer.rate = rate


def weights(layer):
    """Kernel, bias, and the name of the activation function of a layer."""
    return [*layer.get_weights(), layer.activation.__name__]


def nodes(model):
    """Numbers of inbound and outbound nodes of all layers, those of nested models included."""
    return [
        (layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes))
        for layer in model._flatten_layers()
    ]

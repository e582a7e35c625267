"""What several test files need."""

from __future__ import annotations

import keras
import numpy as np

from vis.callbacks import OptimizerCallback


class Recorder(OptimizerCallback):
    """Keeps what it is called with."""

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
    """A batch of images, or arrays like them, with the channels at the end."""
    return np.moveaxis(array, 1, -1) if data_format == "channels_first" else array


def weights(layer):
    """Kernel and bias, and what the layer's activation is called."""
    return [*layer.get_weights(), layer.activation.__name__]


def nodes(model):
    """Numbers of nodes that hang from each layer of a model, those of nested models included."""
    return [
        (layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes))
        for layer in model._flatten_layers()
    ]

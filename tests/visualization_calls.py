"""A small model, and calls that visualize it in many ways."""

from __future__ import annotations

import keras
import numpy as np
from helpers import sequential
from keras import layers, ops

from vis.input_modifiers import Jitter, Noise, Rotate
from vis.losses import Loss
from vis.optimizer import Optimizer
from vis.parametrizations import Fourier
from vis.visualization import (
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
)

IMAGE = np.random.default_rng(0).uniform(0, 255, (8, 8, 3))


def make_model(seed=0, data_format="channels_last"):
    keras.utils.set_random_seed(seed)
    shape = (8, 8, 3) if data_format == "channels_last" else (3, 8, 8)
    axis = -1 if data_format == "channels_last" else 1
    return sequential(
        shape,
        layers.Conv2D(6, 3, activation="relu", data_format=data_format, name="first"),
        layers.BatchNormalization(axis=axis),
        layers.Conv2D(4, 3, activation="relu", data_format=data_format),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(5),
    )


class Brightness(Loss):
    def __init__(self, layer, index):
        super().__init__()
        self.layer, self.index = layer, index

    def build_loss(self):
        return -ops.mean(self.layer.output[:, self.index])


def custom_loss(model, i):
    optimizer = Optimizer(model.inputs[0], Brightness(model.layers[-1], i % 5))
    return optimizer.minimize(seed=i, max_iter=3, verbose=False)[0]


def activation(model, i, **settings):
    settings = {"seed": i, "max_iter": 5, "input_modifiers": [Jitter(1)], **settings}
    return visualize_activation(model, -1, i % 5, **settings)


# Functions of a model and a number, which decides the seed and the filter.
CALLS = {
    "activation": activation,
    "fourier": lambda model, i: activation(
        model, i, parametrization=Fourier(), input_modifiers=[Jitter(1), Rotate(5), Noise(1)]
    ),
    "guided": lambda model, i: activation(model, i, backprop_modifier="guided"),
    "keras optimizer": lambda model, i: activation(model, i, optimizer=keras.optimizers.Adam(2.0)),
    "custom loss": custom_loss,
    "filters": lambda model, i: visualize_filters(
        model, 0, [i % 6, 0], seed=i, max_iter=3, progress=False
    ),
    "saliency": lambda model, i: visualize_saliency(model, -1, i % 5, IMAGE),
    "cam": lambda model, i: visualize_cam(model, -1, i % 5, IMAGE),
}

"""Import paths and attributes of keras-vis."""

from __future__ import annotations

import keras
import numpy as np
from helpers import sequential
from keras import layers

from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.visualization import cam, saliency


def test_import_paths_of_visualize_cam():
    assert saliency.visualize_cam is cam.visualize_cam
    assert saliency.visualize_cam_with_losses is cam.visualize_cam_with_losses


def test_attributes_of_the_optimizer():
    model = sequential((8, 8, 3), layers.Conv2D(4, 3, name="conv"), layers.Flatten())
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    of_input = Optimizer(model.inputs[0], losses)
    assert of_input.input_tensor is model.inputs[0]
    assert of_input.wrt_tensor is model.inputs[0]
    assert of_input.wrt_tensor_is_input_tensor is True
    inner = model.get_layer("conv").output
    of_layer = Optimizer(model.inputs[0], losses, wrt_tensor=inner)
    assert of_layer.input_tensor is model.inputs[0]
    assert of_layer.wrt_tensor is inner
    assert of_layer.wrt_tensor_is_input_tensor is False
    assert [weight for _, weight in of_layer.losses] == [1]


def test_attributes_of_the_optimizer_of_several_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    model = keras.Model([a, b], layers.Dense(2)(layers.Concatenate()([a, b])))
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    optimizer = Optimizer([a, b], losses, fixed_inputs={"a": np.ones(4)})
    assert optimizer.input_tensor is b
    assert optimizer.input_tensors == [b]

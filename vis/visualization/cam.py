"""Class activation maps under keras-vis's names; see also `vis.visualization.attribution`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np

from vis.backend.graph import Graph, LayerOutput
from vis.losses import Loss
from vis.subject import explained
from vis.visualization.attribution.grad_cam import GradCAM
from vis.visualization.attribution.maps import finished
from vis.visualization.attribution.penultimate import LayerIndex
from vis.visualization.attribution.score import Score


def visualize_cam_with_losses(
    input_tensor: keras.KerasTensor,
    losses: Iterable[tuple[Loss, float]],
    seed_input: np.ndarray,
    penultimate_layer: keras.Layer,
    grad_modifier: str | Callable | None = None,
) -> np.ndarray:
    """Draws a gradient-weighted class activation map of a weighted sum of losses.

    Args:
        input_tensor: The model's input, `model.input`.
        losses: List of `(Loss, weight)`. A loss that falls as the model is more excited, such as
            `vis.losses.ActivationMaximization`, wants a negative weight.
        seed_input: An image, or a batch of images, with the channels at either end.
        penultimate_layer: The layer whose feature maps are looked at.
        grad_modifier: A name in `vis.grad_modifiers`, a function of the gradient array, or None.

    Returns:
        A map in [0, 1] of the image's spatial shape; for a batch of several images one for each,
        scaled on its own.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> from vis.losses import ActivationMaximization
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> losses = [(ActivationMaximization(layers[-1], filter_indices=2), -1)]
        >>> image = np.ones((8, 8, 3))
        >>> visualize_cam_with_losses(model.inputs[0], losses, image, layers[0]).shape
        (8, 8)
    """
    if not isinstance(LayerOutput.of(penultimate_layer).layer, keras.Layer):
        raise TypeError(
            "`penultimate_layer` must be a layer of the model. "
            f"Received: penultimate_layer={penultimate_layer!r}"
        )
    subject = explained(Graph.of_inputs(input_tensor), seed_input)
    score = Score(subject, losses)
    method = GradCAM(grad_modifier=grad_modifier)
    return finished(method.fused(score, subject.images, [penultimate_layer]))


def visualize_cam(
    model: keras.Model,
    layer_idx: int | str | keras.Layer,
    filter_indices: int | Sequence[int] | None,
    seed_input: np.ndarray,
    penultimate_layer_idx: LayerIndex | Sequence[LayerIndex] | None = None,
    backprop_modifier: str | Callable | None = None,
    grad_modifier: str | Callable | None = None,
) -> np.ndarray:
    """Draws where in an image a class is seen: a gradient-weighted class activation map.

    For a class of a network that ends in a softmax, replace it by a linear activation first: a
    softmax grows just as well when all other classes shrink.

    Args:
        model: A Keras model with one input.
        layer_idx: The layer: an index in `model.layers`, a name, or the layer itself.
        filter_indices: An index, or a list of indices that are explained jointly. None means the
            filter that the image excites most, which in the last layer is the class that the
            model puts first; for each image its own.
        seed_input: An image, or a batch of images, with the channels at either end.
        penultimate_layer_idx: The layer whose feature maps are looked at: index, name or layer;
            the nearest convolution or pooling layer before `layer_idx` by default. A list of
            layers gives the mean of their maps, each scaled to [0, 1] before.
        backprop_modifier: A name in `vis.backprop_modifiers`, or a function from a model to a
            model.
        grad_modifier: A name in `vis.grad_modifiers`, a function of the gradient array, or None.

    Returns:
        A map in [0, 1] of the image's spatial shape; for a batch of several images one for each,
        scaled on its own.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value, there is no convolution or pooling layer
            before `layer_idx`, or the penultimate layer lies after it.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> visualize_cam(model, -1, filter_indices=2, seed_input=np.ones((8, 8, 3))).shape
        (8, 8)
    """
    method = GradCAM(penultimate_layer_idx, grad_modifier, backprop_modifier)
    return method(model, seed_input, layer_idx, filter_indices)

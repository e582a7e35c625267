"""Saliency maps and Grad-CAM, with the functions of keras-vis.

`vis.visualization.attribution` has a class for each method.
"""

from collections.abc import Callable, Iterable

import keras
import numpy as np

from vis._core.model_inputs import inputs_to_explain, preprocessed, tensor_to_explain
from vis._core.objective import loss_pairs
from vis.backend.graph import Graph, LayerOutput, ModelInputs, tensor_in_copy
from vis.losses import ActivationMaximization, Loss
from vis.utils.validation import require
from vis.visualization.attribution.base import apply_backprop_modifier, warn_of_absolute
from vis.visualization.attribution.grad_cam import GradCAM
from vis.visualization.attribution.maps import normalise_maps
from vis.visualization.attribution.penultimate_layer import PenultimateLayers
from vis.visualization.attribution.saliency import Saliency
from vis.visualization.attribution.score import FilterIndices, Score, warn_of_zeros


def visualize_saliency_with_losses(
    input_tensor: keras.KerasTensor,
    losses: Iterable[tuple[Loss, float]],
    seed_input: np.ndarray,
    wrt_tensor: keras.KerasTensor | None = None,
    grad_modifier: str | Callable | None = "absolute",
    keepdims: bool = False,
    *,
    progress: bool = True,
) -> np.ndarray:
    """Saliency map of a weighted sum of losses: the gradient with respect to the image.

    Args:
        input_tensor: The model's input, `model.input`.
        losses: List of `(Loss, weight)`. A loss that falls with a higher activation, such as
            `vis.losses.ActivationMaximization`, needs a negative weight.
        seed_input: As in `visualize_saliency`.
        wrt_tensor: As in `visualize_saliency`.
        grad_modifier: As in `visualize_saliency`.
        keepdims: As in `visualize_saliency`.
        progress: As in `visualize_saliency`.

    Returns:
        As in `visualize_saliency`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> from vis.losses import ActivationMaximization
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 8)])
        >>> losses = [(ActivationMaximization(model.layers[-1], filter_indices=2), -1)]
        >>> visualize_saliency_with_losses(model.inputs[0], losses, np.ones((8, 8, 3))).shape
        (8, 8)
    """
    pairs = loss_pairs(losses)
    warn_of_absolute(grad_modifier, pairs)
    graph = Graph.of_inputs(input_tensor).for_examples(seed_input)
    wrt_tensor = graph.counterpart(wrt_tensor)
    inputs = inputs_to_explain(graph, preprocessed(graph, seed_input), wrt_tensor)
    method = Saliency(grad_modifier=grad_modifier, keepdims=keepdims)
    return _saliency_map(method, Score(inputs, pairs), inputs, wrt_tensor, progress)


def visualize_saliency(
    model: keras.Model,
    layer_idx: int | str | keras.Layer,
    filter_indices: FilterIndices,
    seed_input: np.ndarray,
    wrt_tensor: keras.KerasTensor | None = None,
    backprop_modifier: str | Callable | None = None,
    grad_modifier: str | Callable | None = "absolute",
    keepdims: bool = False,
    *,
    progress: bool = True,
) -> np.ndarray:
    """Saliency map of filters of a layer: the gradient with respect to the image.

    For a class of a network that ends in a softmax, replace the softmax by a linear activation
    first: it also grows if all other classes shrink. The attribution classes, such as `Saliency`,
    skip it by themselves.

    Args:
        model: A Keras model.
        layer_idx: The layer, as in `visualize_activation`.
        filter_indices: An index, or a list of indices that are explained together. For one filter
            per image: an array of shape `(samples, 1)`, or one list per image such as
            `[[3], [5]]`. None means the filter with the highest activation in each image; in the
            last layer, this is the predicted class.
        seed_input: An image or a batch of images, channels first or last. Images and texts go
            through the `preprocessor` of a KerasHub task first, as in `model.predict`, and the map
            is of the images that it returns.
        wrt_tensor: Tensor with respect to which the gradient is taken; by default the input.
        backprop_modifier: A name in `vis.backprop_modifiers`, or a function from model to model.
        grad_modifier: A name in `vis.grad_modifiers`, a function of the gradient array, or None.
        keepdims: Whether to return a map for each channel, not their maximum. Plain vectors have no
            channels.
        progress: Whether to show a progress bar if it takes more than two seconds.

    Returns:
        A map in [0, 1] of the spatial shape of the image or of `wrt_tensor`. For a batch of several
        images: a map for each, scaled separately.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 8)])
        >>> visualize_saliency(model, -1, 2, np.ones((8, 8, 3))).shape
        (8, 8)
    """
    method = Saliency(
        grad_modifier=grad_modifier, keepdims=keepdims, backprop_modifier=backprop_modifier
    )
    graph = Graph.of(model, seed_input)
    seed_input = preprocessed(graph, seed_input)
    graph, (layer,) = apply_backprop_modifier(backprop_modifier, graph, [graph.find(layer_idx)])
    wrt_tensor = graph.counterpart(tensor_in_copy(wrt_tensor, model, graph.model))
    inputs = inputs_to_explain(graph, seed_input, wrt_tensor)
    score = Score(inputs, [(ActivationMaximization(layer), -1)])
    score.select_filters(filter_indices)
    return _saliency_map(method, score, inputs, wrt_tensor, progress)


def _saliency_map(
    method: Saliency,
    score: Score,
    inputs: ModelInputs,
    wrt_tensor: keras.KerasTensor | None,
    progress: bool,
) -> np.ndarray:
    """The gradient of a score at the image or at `wrt_tensor`, as a map."""
    is_explained = wrt_tensor is None or any(wrt_tensor is tensor for tensor in inputs.tensors)
    tensor = inputs.varying[0] if is_explained else wrt_tensor
    with score.progress_bar(len(inputs.images), progress):
        grads = score.gradients(inputs.images, tensor)
    warn_of_zeros(score, grads, method.reason_of_zeros)
    return normalise_maps(method.to_maps(grads, tensor), grads)


def visualize_cam_with_losses(
    input_tensor: keras.KerasTensor,
    losses: Iterable[tuple[Loss, float]],
    seed_input: np.ndarray,
    penultimate_layer: keras.Layer,
    grad_modifier: str | Callable | None = None,
    *,
    progress: bool = True,
) -> np.ndarray:
    """Grad-CAM of a weighted sum of losses.

    Args:
        input_tensor: As in `visualize_saliency_with_losses`.
        losses: As in `visualize_saliency_with_losses`.
        seed_input: As in `visualize_saliency`.
        penultimate_layer: The layer whose feature maps are weighted.
        grad_modifier: As in `visualize_saliency`.
        progress: As in `visualize_saliency`.

    Returns:
        As in `visualize_cam`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> from vis.losses import ActivationMaximization
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> losses = [(ActivationMaximization(layers[-1], filter_indices=2), -1)]
        >>> image = np.random.normal(size=(8, 8, 3))
        >>> visualize_cam_with_losses(model.inputs[0], losses, image, layers[0]).shape
        (8, 8)
    """
    is_layer = isinstance(LayerOutput.of(penultimate_layer).layer, keras.Layer)
    expected = "be a layer of the model"
    require(is_layer, "penultimate_layer", expected, penultimate_layer, TypeError)
    graph = Graph.of_inputs(input_tensor).for_examples(seed_input)
    inputs = inputs_to_explain(graph, preprocessed(graph, seed_input))
    pairs = loss_pairs(losses)
    warn_of_absolute(grad_modifier, pairs)
    score = Score(inputs, pairs)
    method = GradCAM(grad_modifier=grad_modifier)
    with score.progress_bar(len(inputs.images), progress):
        maps = method.fuse_maps(score, inputs.images, [penultimate_layer])
    warn_of_zeros(score, maps, method.reason_of_zeros)
    return normalise_maps(maps, maps)


def visualize_cam(
    model: keras.Model,
    layer_idx: int | str | keras.Layer,
    filter_indices: FilterIndices,
    seed_input: np.ndarray,
    penultimate_layer_idx: PenultimateLayers = None,
    backprop_modifier: str | Callable | None = None,
    grad_modifier: str | Callable | None = None,
    *,
    progress: bool = True,
) -> np.ndarray:
    """Grad-CAM, a gradient-weighted class activation map: where an image shows a class.

    For a class of a network that ends in a softmax, replace the softmax by a linear activation
    first, as for `visualize_saliency`.

    Args:
        model: As in `visualize_saliency`.
        layer_idx: As in `visualize_saliency`.
        filter_indices: As in `visualize_saliency`.
        seed_input: As in `visualize_saliency`.
        penultimate_layer_idx: The layer whose feature maps are weighted, or several, as in `CAM`;
            by default the nearest convolution or pooling layer before `layer_idx`.
        backprop_modifier: As in `visualize_saliency`.
        grad_modifier: As in `visualize_saliency`.
        progress: As in `visualize_saliency`.

    Returns:
        A map in [0, 1] of the spatial shape of the image. For a batch of several images: a map for
        each, scaled separately.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value, there is no convolution or pooling layer
            before `layer_idx`, or the penultimate layer lies after it.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> image = np.random.normal(size=(8, 8, 3))
        >>> visualize_cam(model, -1, filter_indices=2, seed_input=image).shape
        (8, 8)
    """
    method = GradCAM(
        penultimate_layer_idx=penultimate_layer_idx,
        grad_modifier=grad_modifier,
        backprop_modifier=backprop_modifier,
    )
    graph = Graph.of(model, seed_input)
    # As in keras-vis, a softmax is not skipped.
    losses = [(ActivationMaximization(graph.find(layer_idx)), -1)]
    attributions = method.explain(graph, losses, seed_input, filter_indices, progress=progress)
    return normalise_maps(method.to_maps(attributions, tensor_to_explain(graph)), attributions)

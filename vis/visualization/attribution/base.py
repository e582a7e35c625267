"""Base class of the attribution methods."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from vis import backprop_modifiers, grad_modifiers
from vis._core.model_inputs import (
    find_input,
    inputs_to_explain,
    moved_to,
    preprocessed,
    tensor_to_explain,
)
from vis._core.objective import loss_pairs
from vis.backend.graph import (
    Graph,
    LayerOutput,
    ModelInputs,
    Target,
    channel_axis_of,
    layer_in_copy,
    tensor_in_copy,
)
from vis.losses import ActivationMaximization, Direction, Loss, LossSum, Neuron
from vis.utils.validation import as_integer, expect, warn
from vis.utils.value import Value
from vis.visualization.attribution.maps import normalise_maps
from vis.visualization.attribution.score import FilterIndices, Score, warn_of_zeros

LossPairs = Sequence[tuple[Loss, float]]
Losses = LossPairs | LossSum | Loss


class Attribution(Value):
    """Attribution: base class of methods that explain a model's score by parts of the image.

    An object holds the settings of the method and no model. A subclass defines `measure`.

    Example:
        >>> class Brightness(Attribution):
        ...     def measure(self, score, images):
        ...         return images.mean(axis=-1)
        >>> model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten()])
        >>> Brightness()(model, np.arange(12.0).reshape(2, 2, 3)).round(2)
        array([[0.  , 0.33],
               [0.67, 1.  ]])
    """

    backprop_modifier: str | Callable | None = None
    # Why attributions may be 0 where the score has a gradient, for the warning of empty maps.
    reason_of_zeros = "the method has measured 0 everywhere"

    def __call__(
        self,
        model: keras.Model,
        seed_input: np.ndarray,
        layer_idx: int | str | keras.Layer = -1,
        filter_indices: FilterIndices = None,
        *,
        losses: Losses | None = None,
        input_name: int | str | None = None,
        progress: bool = True,
    ) -> np.ndarray:
        """Attribution map of an image, scaled to [0, 1].

        Args:
            model: A Keras model.
            seed_input: An image, or a batch of images. For a model with several inputs: a list,
                or a dict by name. Images and texts go through the `preprocessor` of a KerasHub
                task first, as in `model.predict`, and the map is of the images that it returns.
            layer_idx: The layer whose activation is explained, as in `visualize_saliency`. A
                softmax at its end is skipped, as in `visualize_filters`.
            filter_indices: As in `visualize_saliency`.
            losses: Explained in place of `layer_idx` and `filter_indices`: a list of
                `(Loss, weight)`, a sum of losses, or a loss. Use a negative weight for a loss that
                falls with the activation, such as `vis.losses.ActivationMaximization`. A softmax
                is skipped for losses of activations, but not for functions of your own.
            input_name: The input to explain, by name or index. The default is the first image. For
                token ids and other integers, the output of the embedding is explained.
            progress: Whether to show a progress bar if it takes more than two seconds.

        Returns:
            A map of the image's spatial shape; for a batch of several images one map per image,
            `(samples, ...)`, each scaled by itself.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If an argument has a wrong value.
        """
        graph = Graph.of(model, seed_input)
        tensor = tensor_to_explain(graph, find_input(graph, input_name))
        attributions = self.attributions(
            model,
            seed_input,
            layer_idx,
            filter_indices,
            losses=losses,
            input_name=input_name,
            progress=progress,
        )
        maps = self.to_maps(attributions, tensor)
        if losses is not None:
            warn_of_absolute(getattr(self, "grad_modifier", None), loss_pairs(losses))
        return normalise_maps(maps, attributions)

    def attributions(
        self,
        model: keras.Model,
        seed_input: np.ndarray,
        layer_idx: int | str | keras.Layer = -1,
        filter_indices: FilterIndices = None,
        *,
        losses: Losses | None = None,
        input_name: int | str | None = None,
        progress: bool = True,
    ) -> np.ndarray:
        """Signed attributions, without scaling. Takes the arguments of `__call__`.

        Returns:
            An array with the axes of the images, `(samples, ...)`. The channel axis has size 1 if
            the method does not tell channels apart. For token ids, the images are their embeddings.
        """
        graph = Graph.of(model, seed_input)
        pairs = explained_losses(graph, layer_idx, filter_indices, losses)
        select = losses is None
        return self.explain(
            graph, pairs, seed_input, filter_indices, select, input_name, progress=progress
        )

    def explain(
        self,
        graph: Graph,
        pairs: LossPairs,
        seed_input: np.ndarray,
        filter_indices: FilterIndices,
        select: bool = True,
        input_name: int | str | None = None,
        progress: bool = True,
    ) -> np.ndarray:
        """Attributions of losses; with `select` those of some filters of the only loss."""
        tensor = tensor_to_explain(graph, find_input(graph, input_name))
        given = preprocessed(graph, seed_input)
        inputs = self.model_inputs(graph, given, input_name)
        layers = self.feature_layers(pairs, inputs)
        modified, layers = apply_backprop_modifier(self.backprop_modifier, graph, layers)
        pairs = [(loss_in_copy(loss, graph, modified), weight) for loss, weight in pairs]
        if modified is not graph:
            inputs = self.model_inputs(modified, given, input_name)
        score = Score(inputs, pairs)
        if select:
            score.select_filters(filter_indices)
        with score.progress_bar(len(inputs.images) * max(len(layers), 1), progress):
            measured = self.measure(score, inputs.images, *layers)
        warn_of_zeros(score, measured, self.reason_of_zeros)
        return _with_channel_axis(measured, inputs.images.shape, channel_axis_of(tensor))

    def feature_layers(self, losses: LossPairs, inputs: ModelInputs) -> list[Target]:
        """Further layers that `measure` needs; passed to it after the images."""
        return []

    def model_inputs(
        self, graph: Graph, seed_input: np.ndarray, input_name: int | str | None
    ) -> ModelInputs:
        """The input to explain, and the values of all inputs."""
        inputs = inputs_to_explain(graph, seed_input, find_input(graph, input_name))
        # Padded steps stay padded: the values after a `Masking` layer are explained.
        (tensor,) = inputs.varying
        return moved_to(inputs, graph.gradient_flow.after_masking(tensor))

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        """The attributions of a score for images, of their shape or without the channel axis."""
        raise NotImplementedError(
            f"`measure` must be defined by subclasses of `Attribution`. Received: {type(self)}"
        )

    def to_maps(self, attributions: np.ndarray, tensor: keras.KerasTensor) -> np.ndarray:
        """Converts attributions of a symbolic tensor to maps that are not scaled yet.

        By default the sum over the channels.
        """
        return sum_of_channels(attributions, tensor)


def sum_of_channels(attributions: np.ndarray, tensor: keras.KerasTensor) -> np.ndarray:
    """The attributions of pixels: `(samples, ...)` without the channel axis."""
    axis = channel_axis_of(tensor)
    return attributions if axis is None else attributions.sum(axis=axis)


def _with_channel_axis(
    measured: np.ndarray, shape: tuple[int, ...], channel_axis: int | None
) -> np.ndarray:
    """Attributions with the axes of images, or a `ValueError`."""
    if channel_axis is not None and np.ndim(measured) == len(shape) - 1:
        measured = np.expand_dims(measured, channel_axis)
    is_valid = np.ndim(measured) == len(shape) and all(
        size == expected or (i == channel_axis and size == 1)
        for i, (size, expected) in enumerate(zip(np.shape(measured), shape, strict=True))
    )
    expected = f"return an array of the images' shape {shape}, with or without the channel axis"
    expect(is_valid, "measure", expected, f"an array of shape {np.shape(measured)}")
    return measured


def apply_backprop_modifier(
    backprop_modifier: str | Callable | None, graph: Graph, layers: Sequence[Target]
) -> tuple[Graph, list[Target]]:
    """The graph of the modified model, and its counterparts of some layers."""
    modify = backprop_modifiers.get(backprop_modifier)
    if modify is None:
        return graph, list(layers)
    modified = Graph.of(modify(graph.model), graph.given_structure)
    in_copy = [layer_in_copy(layer, graph.model, modified.model) for layer in layers]
    return modified, list(map(modified.find, in_copy))


def explained_losses(
    graph: Graph, layer_idx: Any, filter_indices: FilterIndices, losses: Losses | None
) -> LossPairs:
    """The losses that are explained. Those of a layer apply to all its filters."""
    if losses is None:
        return [(_before_softmax(ActivationMaximization(graph.find(layer_idx))), -1)]
    is_alone = filter_indices is None and as_integer(layer_idx) == -1
    received = f"losses with layer_idx={layer_idx!r} and filter_indices={filter_indices!r}"
    expect(is_alone, "losses", "be given without `layer_idx` and `filter_indices`", received)
    return [(_before_softmax(loss), weight) for loss, weight in loss_pairs(losses)]


def _before_softmax(loss: Loss) -> Loss:
    """A loss of activations before their softmax. Users' functions get what they expect."""
    if isinstance(loss, (ActivationMaximization, Neuron, Direction)):
        loss = copy.copy(loss)
        loss.before_softmax = True
    return loss


def warn_of_absolute(grad_modifier: str | Callable | None, losses: LossPairs) -> None:
    """Warns if losses are subtracted, and absolute values are the same in both directions."""
    weights = [weight for loss, weight in losses if not _is_penalty(loss)]
    is_difference = min(weights, default=0) < 0 < max(weights, default=0)
    absolute = (grad_modifiers.absolute, np.abs, keras.ops.abs)
    if is_difference and grad_modifiers.get(grad_modifier) in absolute:
        warn(
            "`grad_modifier` should not be 'absolute' for a difference of losses, because `a - b` "
            "and `b - a` have the same absolute gradient. Use 'relu' for what speaks for `a`, or "
            "None for signed values. "
            f"Received: grad_modifier={grad_modifier!r}, and losses with weights {weights}"
        )


def _is_penalty(loss: Loss) -> bool:
    """Whether a loss is a penalty on the image."""
    return isinstance(getattr(loss, "target", None), keras.KerasTensor)


def loss_in_copy(loss: Loss, graph: Graph, modified: Graph) -> Loss:
    """The loss with its layers and tensors replaced by those of the modified model."""
    if modified is graph:
        return loss
    loss = copy.copy(loss)
    for name, value in vars(loss).items():
        if isinstance(value, keras.KerasTensor):
            vars(loss)[name] = tensor_in_copy(value, graph.model, modified.model)
        elif isinstance(value, (keras.Layer, LayerOutput)):
            vars(loss)[name] = modified.find(layer_in_copy(value, graph.model, modified.model))
    return loss

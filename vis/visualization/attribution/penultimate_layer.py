"""Penultimate layers: the layers whose feature maps a class activation map is made of."""

import functools
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from vis._core.objective import Objective
from vis.backend.graph import (
    UNBOUNDED,
    Axis,
    Graph,
    LayerOutput,
    ModelInputs,
    Target,
    geometry_of,
    layout_of,
    spatial_axes,
)
from vis.backend.private import operation_of
from vis.losses import ActivationMaximization
from vis.utils.validation import expect, require
from vis.visualization.attribution.base import LossPairs
from vis.visualization.attribution.score import Score

_CONVOLUTION_OR_POOLING = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
    *(layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D),
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
)

LayerIdx = int | str | Target
PenultimateLayers = LayerIdx | Sequence[LayerIdx] | None


# The most layers, from the last, that are tried in a transformer.
_MOST_CANDIDATES = 24


def find_penultimate_layers(
    graph: Graph, explained: Sequence[Any], penultimate_layer_idx: LayerIdx | Sequence[LayerIdx]
) -> list[Target]:
    """The layers with some indices, checked to lie before the operations that are explained."""
    indices = penultimate_layer_idx
    # A `LayerOutput` is a tuple, too.
    if isinstance(indices, LayerOutput) or not isinstance(indices, list | tuple):
        indices = [indices]
    require(indices, "penultimate_layer_idx", "hold at least one layer", penultimate_layer_idx)
    candidates = [graph.find(index, "penultimate_layer_idx") for index in indices]
    explained = _without_inputs(explained)
    upstream = set().union(*map(graph.upstream, explained))
    expected = f"be a layer before {_names(explained)}, which is explained"
    for candidate in candidates:
        is_upstream = id(LayerOutput.of(candidate).layer) in upstream
        expect(is_upstream, "penultimate_layer_idx", expected, f"layer '{candidate.name}'")
    return candidates


def default_penultimate_layer(inputs: ModelInputs, losses: LossPairs) -> keras.Layer:
    """The layer of the feature maps that explain some losses by the input that varies.

    It is the nearest convolution or pooling layer, also inside nested models and wrappers. Layers
    with more than one position are preferred. If tokens follow it that depend on the whole image,
    as in a transformer, it is the last layer with a gradient at those that have a place in it.
    """
    graph, (tensor,) = inputs.graph, inputs.varying
    search = _Search(inputs, _without_inputs(Objective(losses, graph).operations()))
    nearest = search.nearest_convolution()
    if candidates := search.tokens_after(nearest):
        return _last_with_gradient(inputs, losses, candidates)
    if nearest is None:
        raise ValueError(
            "`penultimate_layer_idx` must be given: there is no convolution or pooling layer with "
            f"the {len(spatial_axes(tensor))} spatial axes of the input before "
            f"{_names(search.explained)}, which is explained. Received: "
            f"penultimate_layer_idx=None, and the model '{graph.owner.name}' with an input of "
            f"shape {tensor.shape}"
        )
    return nearest


def _first_image(inputs: ModelInputs) -> np.ndarray:
    """The first image that is explained, or noise."""
    if inputs.images is not None:
        return inputs.images[:1]
    (tensor,) = inputs.varying
    return np.random.default_rng(0).normal(size=(1, *layout_of(tensor).shape)).astype("float32")


class _Search:
    """The layers before some operations, and their positions in an input."""

    def __init__(self, inputs: ModelInputs, explained: Sequence[Any]) -> None:
        self.inputs = inputs
        self.graph = inputs.graph
        self.explained = explained
        self._shape = _first_image(inputs).shape[1:]
        self._axes = {*spatial_axes(inputs.varying[0])}
        # Before `upstream`: it lists layers inside custom layers only after they have run once.
        order = self.graph.layers()
        self._before = list(reversed(_before_all(self.graph, explained, order)))

    def _placed(self, target: Any) -> list[Axis]:
        """The axes of a layer's output that run along spatial axes of the input."""
        axes = geometry_of(self.inputs, target, self._shape).axes
        return [axis for axis in axes if any(span.axis in self._axes for span in axis.spans)]

    def nearest_convolution(self) -> keras.Layer | None:
        """The nearest convolution or pooling layer, or None."""
        nearest: keras.Layer | None = None
        computes_scores = self._scores_have_positions()
        for candidate in self._before:
            inner = candidate
            while isinstance(inner, layers.Wrapper):
                inner = inner.layer
            if computes_scores and inner.weights:
                computes_scores = False
                continue
            is_candidate = isinstance(inner, _CONVOLUTION_OR_POOLING)
            if not is_candidate or not self.graph.has_one_sample_per_image(candidate):
                continue
            placed = self._placed(candidate)
            # A map with one position, such as that of MobileNet's last convolution, is constant.
            if any(axis.size > 1 for axis in placed):
                return candidate
            if placed and nearest is None:
                nearest = candidate
        return nearest

    def _scores_have_positions(self) -> bool:
        """Whether an output has a score for each position, computed by a layer before its last.

        As in segmentation, where a convolution is followed by a softmax or a resize: maps of the
        scores themselves explain nothing.
        """
        (operation, *others) = self.explained
        is_output = any(operation is operation_of(tensor) for tensor in self.graph.outputs)
        if others or not is_output or getattr(operation, "weights", None):
            return False
        return any(axis.size > 1 for axis in self._placed(LayerOutput(operation)))

    def tokens_after(self, nearest: keras.Layer | None) -> list[keras.Layer]:
        """The last layers, after a convolution, with tokens that depend on the whole image."""
        has_tokens = _has_steps if nearest is None else _has_mixed_tokens
        found = (
            layer
            for layer in itertools.takewhile(lambda layer: layer is not nearest, self._before)
            if not self._is_part_of_a_keras_layer(layer) and has_tokens(self._features(layer))
        )
        return list(itertools.islice(found, _MOST_CANDIDATES))

    def _is_part_of_a_keras_layer(self, layer: keras.Layer) -> bool:
        outer = self.graph.enclosing_operation(layer)
        return outer is not layer and type(outer).__module__.startswith("keras.")

    def _features(self, layer: keras.Layer) -> list[Axis]:
        """The placed axes of a layer's output if it has positions and channels, or none."""
        try:
            axes = geometry_of(self.inputs, layer, self._shape).axes
        except ValueError:
            # It has several outputs, or other samples than images.
            return []
        return self._placed(layer) if len(axes) == 2 else []


def _has_mixed_tokens(axes: Sequence[Axis]) -> bool:
    return any(axis.has_tokens and axis.spans[0].reach == UNBOUNDED for axis in axes)


def _has_steps(axes: Sequence[Axis]) -> bool:
    """Whether there are positions, such as those of a text."""
    return any(axis.size > 1 for axis in axes)


def _last_with_gradient(
    inputs: ModelInputs, losses: LossPairs, candidates: Sequence[keras.Layer]
) -> keras.Layer:
    """The first of some layers at whose positions in the image a score has a gradient."""
    images = _first_image(inputs)
    values = tuple(None if value is None else value[:1] for value in inputs.values)
    score = Score(inputs._replace(images=images, values=values), losses)
    if isinstance(losses[0][0], ActivationMaximization):
        score.select_filters(0)
    for layer, grads in zip(candidates, _gradients(score, images, candidates), strict=True):
        axis = next(
            axis for axis in geometry_of(inputs, layer, images.shape[1:]).axes if axis.spans
        )
        placed = math.prod(span.length for span in axis.spans)
        if grads[:, axis.start : axis.start + placed].any():
            return layer
    return candidates[0]


def _gradients(
    score: Score, images: np.ndarray, candidates: Sequence[keras.Layer]
) -> list[np.ndarray]:
    """The gradients of a score at some layers, empty for a layer that does not reach it."""
    try:
        return score.gradients_at(images, list(map(score.output_ref, candidates)))
    except ValueError:
        if len(candidates) == 1:
            return [np.zeros((1, 0))]
        return [_gradients(score, images, [layer])[0] for layer in candidates]


def _without_inputs(operations: Sequence[Any]) -> Sequence[Any]:
    """A loss of the input itself, such as a regularizer, has no layers before it."""
    return [o for o in operations if not isinstance(o, layers.InputLayer)] or operations


def _before_all(
    graph: Graph, operations: Sequence[Any], order: Sequence[keras.Layer]
) -> list[keras.Layer]:
    """The layers, in order, that each of some operations is computed from."""
    for operation in operations:
        upstream = graph.upstream(operation)
        before = itertools.takewhile(functools.partial(operator.is_not, operation), order)
        order = [layer for layer in before if id(layer) in upstream]
    return list(order)


def _names(operations: Sequence[Any]) -> str:
    return " and ".join(f"'{operation.name}'" for operation in operations)

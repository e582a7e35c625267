"""Penultimate layers: the layers whose feature maps a class activation map is made of."""

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from vis.backend.graph import (
    Graph,
    LayerOutput,
    ModelInputs,
    Target,
    geometry_of,
    layout_of,
    spatial_axes,
)
from vis.utils.validation import expect, require

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


def find_penultimate_layers(
    graph: Graph,
    explained: Sequence[Any],
    penultimate_layer_idx: PenultimateLayers,
    tensor: keras.KerasTensor,
) -> list[Target]:
    """The layers with the given indices, checked to lie before the operations that are explained.

    None: the nearest convolution or pooling layer, also inside nested models and wrappers. Layers
    with more than one position are preferred. `tensor` is the input.
    """
    # A loss of the input itself, such as a regularizer, has no layers before it.
    explained = [o for o in explained if not isinstance(o, layers.InputLayer)] or explained
    if penultimate_layer_idx is None:
        return [_nearest(graph, explained, tensor)]
    indices = penultimate_layer_idx
    # A `LayerOutput` is a tuple, too.
    if isinstance(indices, LayerOutput) or not isinstance(indices, list | tuple):
        indices = [indices]
    require(indices, "penultimate_layer_idx", "hold at least one layer", penultimate_layer_idx)
    candidates = [graph.find(index, "penultimate_layer_idx") for index in indices]
    upstream = set().union(*map(graph.upstream, explained))
    expected = f"be a layer before {_names(explained)}, which is explained"
    for candidate in candidates:
        is_upstream = id(LayerOutput.of(candidate).layer) in upstream
        expect(is_upstream, "penultimate_layer_idx", expected, f"layer '{candidate.name}'")
    return candidates


def _nearest(graph: Graph, explained: Sequence[Any], tensor: keras.KerasTensor) -> keras.Layer:
    inputs, axes = ModelInputs.with_zeros(graph, tensor), {*spatial_axes(tensor)}
    # Before `upstream`: it lists layers inside custom layers only after they have run once.
    order = graph.layers()
    nearest: keras.Layer | None = None
    for candidate in reversed(_before_all(graph, explained, order)):
        inner = candidate
        while isinstance(inner, layers.Wrapper):
            inner = inner.layer
        is_candidate = isinstance(inner, _CONVOLUTION_OR_POOLING)
        if not is_candidate or not graph.has_one_sample_per_image(candidate):
            continue
        placed = [
            axis
            for axis in geometry_of(inputs, candidate, layout_of(tensor).shape).axes
            if any(span.axis in axes for span in axis.spans)
        ]
        # A map with one position, such as that of MobileNet's last convolution, is constant.
        if any(axis.size > 1 for axis in placed):
            return candidate
        if placed and nearest is None:
            nearest = candidate
    if nearest is None:
        raise ValueError(
            "`penultimate_layer_idx` must be given: there is no convolution or pooling layer with "
            f"the {len(axes)} spatial axes of the input before {_names(explained)}, which is "
            "explained. Received: penultimate_layer_idx=None, and the model "
            f"'{graph.owner.name}' with an input of shape {tensor.shape}"
        )
    return nearest


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

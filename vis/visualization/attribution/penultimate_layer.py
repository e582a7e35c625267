"""Penultimate layers: the layers whose feature maps a class activation map is made of."""

import itertools
from collections.abc import Sequence

import keras
from keras import layers

from vis._core.model_inputs import default_input
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
    graph: Graph, layer: Target, penultimate_layer_idx: PenultimateLayers
) -> list[Target]:
    """The layers with the given indices, checked to lie before the layer that is explained.

    None: the nearest convolution or pooling layer, also inside nested models and wrappers. Layers
    with more than one position are preferred.
    """
    explained = LayerOutput.of(layer).layer
    if penultimate_layer_idx is None:
        return [_nearest(graph, explained)]
    indices = penultimate_layer_idx
    # A `LayerOutput` is a tuple, too.
    if isinstance(indices, LayerOutput) or not isinstance(indices, list | tuple):
        indices = [indices]
    require(indices, "penultimate_layer_idx", "hold at least one layer", penultimate_layer_idx)
    candidates = [graph.find(index, "penultimate_layer_idx") for index in indices]
    upstream = graph.upstream(explained)
    expected = f"be a layer before '{layer.name}', the layer of `layer_idx`"
    for candidate in candidates:
        is_upstream = id(LayerOutput.of(candidate).layer) in upstream
        expect(is_upstream, "penultimate_layer_idx", expected, f"layer '{candidate.name}'")
    return candidates


def _nearest(graph: Graph, layer: keras.Layer) -> keras.Layer:
    tensor = default_input(graph)
    inputs, axes = ModelInputs.with_zeros(graph, tensor), {*spatial_axes(tensor)}
    # Before `upstream`: it lists layers inside custom layers only after they have run once.
    candidates = graph.layers()
    upstream = graph.upstream(layer)
    before = list(itertools.takewhile(lambda other: other is not layer, candidates))
    nearest: keras.Layer | None = None
    for candidate in reversed(before):
        inner = candidate
        while isinstance(inner, layers.Wrapper):
            inner = inner.layer
        if id(candidate) not in upstream or not isinstance(inner, _CONVOLUTION_OR_POOLING):
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
            f"the {len(axes)} spatial axes of the input before '{layer.name}', the layer of "
            f"`layer_idx`. Received: penultimate_layer_idx=None, and the model "
            f"'{graph.owner.name}' with an input of shape {tensor.shape}"
        )
    return nearest

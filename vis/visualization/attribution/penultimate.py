"""Which layer's feature maps a class activation map is drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import layers

from vis.backend.network import Network, is_container
from vis.utils.model import resolve_layer, single_input

_CONVOLUTION_OR_POOLING = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
    *(layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D),
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
)

LayerIndex = int | str | keras.Layer


def penultimate_layers(
    model: keras.Model,
    layer: keras.Layer,
    penultimate_layer_idx: LayerIndex | Sequence[LayerIndex] | None,
) -> list[keras.Layer]:
    """The layers whose feature maps are looked at.

    Args:
        model: A model with one input.
        layer: The layer that is explained.
        penultimate_layer_idx: Index, name or layer; a list of them; or None for the nearest
            convolution or pooling layer before `layer`, in nested models and wrappers too.

    Raises:
        TypeError: If an index is none of these.
        ValueError: If there is no such layer, or it does not lie before `layer`.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="conv"), layers.Flatten()]
        ... )
        >>> [found.name for found in penultimate_layers(model, model.layers[-1], None)]
        ['conv']
    """
    before = _ids_before(model, layer)
    if penultimate_layer_idx is None:
        return [_nearest(model, layer, before)]
    several = isinstance(penultimate_layer_idx, list | tuple)
    wanted = penultimate_layer_idx if several else [penultimate_layer_idx]
    if not wanted:
        raise ValueError(
            "`penultimate_layer_idx` must hold at least one layer. "
            f"Received: penultimate_layer_idx={penultimate_layer_idx!r}"
        )
    found = [resolve_layer(model, index) for index in wanted]
    for candidate in found:
        if id(candidate) not in before:
            raise ValueError(
                f"`penultimate_layer_idx` must be a layer that lies before '{layer.name}', the "
                f"layer of `layer_idx`. Received: layer '{candidate.name}'"
            )
    return found


def _nearest(model: keras.Model, layer: keras.Layer, before: set[int]) -> keras.Layer:
    rank = len(single_input(model).shape)
    nearest = None
    for candidate in _flattened(model):
        if candidate is layer:
            break
        if id(candidate) in before and _has_feature_maps(candidate, rank):
            nearest = candidate
    if nearest is None:
        raise ValueError(
            "`penultimate_layer_idx` must be given, as there is no convolution or pooling layer "
            f"with {rank - 2} spatial axes, those of the input, before '{layer.name}', the layer "
            f"of `layer_idx`. Received: penultimate_layer_idx=None, and the model '{model.name}' "
            f"with an input of shape {single_input(model).shape}"
        )
    return nearest


def _has_feature_maps(layer: keras.Layer, rank: int) -> bool:
    inner = layer
    while isinstance(inner, layers.Wrapper):
        inner = inner.layer
    output = layer._inbound_nodes[0].outputs[0] if layer._inbound_nodes else None
    return isinstance(inner, _CONVOLUTION_OR_POOLING) and len(output.shape) == rank


def _flattened(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers in order, those of a nested model in its place."""
    for layer in model.layers:
        if is_container(layer):
            yield from _flattened(layer)
        else:
            yield layer


def _ids_before(model: keras.Model, layer: keras.Layer) -> set[int]:
    """`id` of all operations that a layer's output is computed with, itself included."""
    network = Network([single_input(model)])
    found: set[int] = set()
    stack = [network.output_of(owner)._keras_history for owner in _owners(model, layer)]
    stack = [operation._inbound_nodes[node_index] for operation, node_index, _ in stack]
    while stack:
        node = stack.pop()
        if id(node.operation) in found:
            continue
        found.add(id(node.operation))
        stack.extend(node.parent_nodes)
        if is_container(node.operation) and not _holds(node.operation, layer):
            histories = [tensor._keras_history for tensor in node.operation.outputs]
            stack.extend(op._inbound_nodes[node_index] for op, node_index, _ in histories)
    return found


def _owners(model: keras.Model, layer: keras.Layer) -> list[Any]:
    """A layer, and the nested models that it lies in, the innermost first."""
    for candidate in model.layers:
        if candidate is layer:
            return [layer]
        if is_container(candidate) and _holds(candidate, layer):
            return [*_owners(candidate, layer), candidate]
    return [layer]


def _holds(container: keras.Model, layer: keras.Layer) -> bool:
    return any(candidate is layer for candidate in _flattened(container)) or any(
        is_container(nested) and (nested is layer or _holds(nested, layer))
        for nested in container.layers
    )

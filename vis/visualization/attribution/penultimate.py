"""Which layer's feature maps a class activation map is drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import layers

from vis.backend.captures import known_outputs, rank_of
from vis.backend.network import Network
from vis.backend.roots import inputs_of
from vis.backend.survey import find_layer, look_inside
from vis.losses import output_shape
from vis.utils.containers import is_container
from vis.utils.model import LayerOutput, channel_axis
from vis.visualization.attribution.subject import explained_tensor

_CONVOLUTION_OR_POOLING = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
    *(layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D),
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
)

LayerIndex = int | str | keras.Layer | LayerOutput


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
            convolution or pooling layer before `layer`, in nested models and wrappers too, whose
            maps have more than one place, where there is such a layer.

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
    look_inside(model)
    explained = LayerOutput.of(layer).layer
    if penultimate_layer_idx is None:
        return [_nearest(model, explained, _ids_before(model, explained))]
    several = isinstance(penultimate_layer_idx, list | tuple)
    several = several and not isinstance(penultimate_layer_idx, LayerOutput)
    wanted = penultimate_layer_idx if several else [penultimate_layer_idx]
    if not wanted:
        raise ValueError(
            "`penultimate_layer_idx` must hold at least one layer. "
            f"Received: penultimate_layer_idx={penultimate_layer_idx!r}"
        )
    found = [find_layer(model, index, "penultimate_layer_idx") for index in wanted]
    # Of layers inside others this is known once they have been found.
    before = _ids_before(model, explained)
    for candidate in found:
        if id(LayerOutput.of(candidate).layer) not in before:
            raise ValueError(
                f"`penultimate_layer_idx` must be a layer that lies before '{layer.name}', the "
                f"layer of `layer_idx`. Received: layer '{candidate.name}'"
            )
    return found


def _nearest(model: keras.Model, layer: keras.Layer, before: set[int]) -> keras.Layer:
    rank = len(explained_tensor(model).shape)
    found = []
    for candidate in _flattened(model):
        if candidate is layer:
            break
        if id(candidate) in before and _has_feature_maps(candidate, rank):
            found.append(candidate)
    if not found:
        raise ValueError(
            "`penultimate_layer_idx` must be given, as there is no convolution or pooling layer "
            f"with {rank - 2} spatial axes, those of the input, before '{layer.name}', the layer "
            f"of `layer_idx`. Received: penultimate_layer_idx=None, and the model '{model.name}' "
            f"with an input of shape {explained_tensor(model).shape}"
        )
    # Maps of a single place, as MobileNet's last convolution has them, show nothing.
    return next((x for x in reversed(found) if _places(x) != 1), found[-1])


def _places(layer: keras.Layer) -> int | None:
    """Number of places in a layer's feature maps, None where it is open."""
    shape = output_shape(layer)
    axis = channel_axis(layer, len(shape))
    sizes = [size for i, size in enumerate(shape) if i not in (0, axis)]
    return None if None in sizes else math.prod(sizes)


def _has_feature_maps(layer: keras.Layer, rank: int) -> bool:
    inner = layer
    while isinstance(inner, layers.Wrapper):
        inner = inner.layer
    return isinstance(inner, _CONVOLUTION_OR_POOLING) and len(output_shape(layer)) == rank


def _flattened(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers in order, in the place of nested models and custom layers those inside."""
    inputs_known = is_container(model)
    inside = model.layers if inputs_known else _in_order(model)
    for layer in inside:
        if is_container(layer):
            yield from _flattened(layer)
        else:
            if inputs_known:
                yield from _in_order(layer)
            yield layer


def _in_order(outer: keras.Layer) -> list[keras.Layer]:
    """The layers that run inside a custom layer or a subclassed model, in their order."""
    known = [
        inner
        for inner in outer._flatten_layers(include_self=False)
        if rank_of(inner) is not None and known_outputs(inner)[0]
    ]
    return sorted(known, key=rank_of)


def _ids_before(model: keras.Model, layer: keras.Layer) -> set[int]:
    """`id` of all operations that a layer's output is computed with, itself included."""
    network = Network(inputs_of(model))
    found: set[int] = set()
    owner = layer if network.in_graph(layer) else network.owner(layer)
    if owner is not layer:
        earlier = _in_order(owner)
        found.update(map(id, earlier[: 1 + earlier.index(layer)]))
        if owner is network.root:
            return found
    stack = [network.place_of(o) for o in _owners(model, owner)]
    stack = [place.operation()._inbound_nodes[place.call] for place in stack]
    while stack:
        node = stack.pop()
        if id(node.operation) in found:
            continue
        found.add(id(node.operation))
        if node.operation is not owner and isinstance(node.operation, keras.Layer):
            found.update(map(id, _in_order(node.operation)))
        stack.extend(node.parent_nodes)
        if is_container(node.operation) and not _holds(node.operation, owner):
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
    return any(
        candidate is layer or (is_container(candidate) and _holds(candidate, layer))
        for candidate in container.layers
    )

"""Batch, spatial and channel axes of a model's inputs and of layers' outputs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from vis.backend.graph import hidden_layers
from vis.backend.graph.layer_paths import LayerOutput, Target, check_output
from vis.backend.private import calls_of, consumers_of, operation_of, with_layers_inside
from vis.utils.layout import Layout, spatial_axes_of
from vis.utils.validation import check_sizes, per_axis, require

# Default image sizes for inputs of open size, by the number of spatial axes.
_OPEN_SIZES = {1: 256, 2: 224, 3: 64}


def output_shape(target: Target) -> tuple[int | None, ...]:
    """Shape of a layer's output, that of its first call by default."""
    layer, call, output = LayerOutput.of(target)
    outputs = [node.outputs for node in calls_of(layer)] or hidden_layers.output_specs(layer)
    # A layer inside a shared model runs more often than it has nodes.
    tensors = outputs[min(call, len(outputs) - 1)]
    check_output(layer, 0, output, [len(tensors)])
    return tuple(tensors[output or 0].shape)


def filters_of(layer: Target) -> tuple[tuple[int | None, ...], int, int]:
    """Shape of a layer's output, its channel axis, and the number of filters."""
    shape = output_shape(layer)
    axis = channel_axis(layer, len(shape))
    count = shape[axis]
    if count is None:
        raise ValueError(
            f"`layer` must have a known number of filters. Received: layer '{layer.name}' "
            f"with an output of shape {shape}"
        )
    return shape, axis, count


def channel_axis(target: Target, rank: int) -> int:
    """The axis of the channels, or units, of a layer's output of a rank, which counts the batch.

    A layer without a data format, such as an activation, has that of the nearest layer before it.
    """
    layer = LayerOutput.of(target).layer
    if rank <= 2:
        return rank - 1
    if isinstance(layer, keras.layers.TimeDistributed):
        return channel_axis(layer.layer, rank - 1) + 1
    for operation in _nearest_first(
        layer, lambda o: [p for n in calls_of(o)[:1] for p in n.parent_nodes]
    ):
        data_format = getattr(operation, "data_format", None)
        if data_format is not None:
            # A wrapper has axes of frames in front of those of its layer.
            known = next((len(node.outputs[0].shape) for node in calls_of(layer)), rank)
            return max(1, 1 + rank - known) if data_format == "channels_first" else rank - 1
        is_norm = isinstance(operation, keras.layers.BatchNormalization)
        if is_norm and isinstance(operation.axis, int):
            return operation.axis % rank
    return 1 if keras.config.image_data_format() == "channels_first" and rank > 3 else rank - 1


def input_data_format(input_tensor: keras.KerasTensor) -> str:
    """Data format of a symbolic input: `"channels_last"` or `"channels_first"`.

    It is that of the nearest layer after the input, or else `keras.config.image_data_format()`.
    """
    for operation in _nearest_first(operation_of(input_tensor), consumers_of):
        if isinstance(operation, keras.Layer):
            for layer in with_layers_inside(operation):
                data_format = getattr(layer, "data_format", None)
                if data_format in ("channels_last", "channels_first"):
                    return data_format
    return keras.config.image_data_format()


def _nearest_first(start: Any, neighbours: Callable[[Any], list[Any]]) -> Iterator[Any]:
    """An operation and those connected to it by neighbouring nodes, in breadth-first order."""
    queue, seen = [start], {id(start)}
    for operation in queue:
        yield operation
        for node in neighbours(operation):
            if id(node.operation) not in seen:
                seen.add(id(node.operation))
                queue.append(node.operation)


def spatial_axes(input_tensor: keras.KerasTensor) -> tuple[int, ...]:
    """The axes of a symbolic input that are neither samples nor channels."""
    return spatial_axes_of(input_tensor.shape, input_data_format(input_tensor))


def channel_axis_of(tensor: keras.KerasTensor) -> int | None:
    """The channel axis of a symbolic tensor, or None for plain vectors."""
    rank, operation = len(tensor.shape), operation_of(tensor)
    if rank == 2:
        return None
    if isinstance(operation, keras.layers.InputLayer):
        return 1 if input_data_format(tensor) == "channels_first" else rank - 1
    return channel_axis(operation, rank)


def layout_of(
    input_tensor: keras.KerasTensor, image_size: int | Sequence[int] | None = None
) -> Layout:
    """The layout of images for a symbolic input.

    `image_size` is one number for all spatial axes, or one for each. None is the input's own size;
    if that is open, 256, 224 or 64 for one, two or three axes.
    """
    own = Layout(tuple(input_tensor.shape[1:]), spatial_axes(input_tensor))
    sizes = own.spatial_shape
    if image_size is not None:
        expected = f"be None for inputs without spatial axes, such as one of shape {own.shape}"
        require(sizes, "image_size", expected, image_size)
        checked = check_sizes("image_size", image_size)
        sizes = tuple(per_axis("image_size", checked, own.axes).values())
    elif default := _OPEN_SIZES.get(len(sizes)):
        sizes = tuple(size or default for size in sizes)
    layout = own.resized(sizes)
    if None in layout.shape:
        raise ValueError(
            "The model's input must have a known number of channels. "
            f"Received: an input of shape {input_tensor.shape}"
        )
    return layout

"""Which axes of what a model takes and returns are samples, places and channels."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from vis.backend.graph import hidden_layers
from vis.backend.graph.layer_paths import LayerOutput, Target, check_output
from vis.backend.private import calls_of, consumers_of, operation_of, with_layers_inside
from vis.utils.layout import Layout, spatial_axes_of
from vis.utils.validation import check_sizes, per_axis

# Sizes of images where a model leaves the size of its input open, by the number of its axes.
_OPEN_SIZES = {1: 256, 2: 224, 3: 64}


def output_shape(target: Target) -> tuple[int | None, ...]:
    """Shape of the output of a layer's first call, or of the one that is meant."""
    layer, call, output = LayerOutput.of(target)
    outputs = [node.outputs for node in calls_of(layer)] or hidden_layers.known_outputs(layer)
    # A layer inside a shared model runs more often than it has nodes.
    tensors = outputs[min(call, len(outputs) - 1)]
    check_output(layer, 0, output, [len(tensors)])
    return tuple(tensors[output or 0].shape)


def filters_of(layer: Target) -> tuple[tuple[int | None, ...], int, int]:
    """Shape of a layer's output, the axis that has the filters, and their number."""
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
    """The axis of a layer's output that holds the channels, or the units.

    A layer that does not know its data format, an activation for instance, has that of the
    nearest layer before it that does. The `rank` counts the batch's axis.
    """
    layer = LayerOutput.of(target).layer
    if rank <= 2:
        return rank - 1
    if isinstance(layer, keras.layers.TimeDistributed):
        return channel_axis(layer.layer, rank - 1) + 1
    for current in _spreading(layer, _before_first_call):
        data_format = getattr(current, "data_format", None)
        if data_format is not None:
            # A wrapper has axes of frames before those that the layer in it knows itself.
            known = next((len(node.outputs[0].shape) for node in calls_of(layer)), rank)
            return max(1, 1 + rank - known) if data_format == "channels_first" else rank - 1
        if isinstance(current, keras.layers.BatchNormalization) and isinstance(current.axis, int):
            return current.axis % rank
    return 1 if keras.config.image_data_format() == "channels_first" and rank > 3 else rank - 1


def input_data_format(input_tensor: keras.KerasTensor) -> str:
    """Where a model's input has its channels: `"channels_last"` or `"channels_first"`.

    The first layer behind the input that knows decides; without one, Keras's own setting.

    Args:
        input_tensor: A model's symbolic input.
    """
    for operation in _spreading(operation_of(input_tensor), consumers_of):
        if isinstance(operation, keras.Layer):
            for layer in with_layers_inside(operation):
                data_format = getattr(layer, "data_format", None)
                if data_format in ("channels_last", "channels_first"):
                    return data_format
    return keras.config.image_data_format()


def _before_first_call(operation: Any) -> list[Any]:
    return [parent for node in calls_of(operation)[:1] for parent in node.parent_nodes]


def _spreading(start: Any, neighbours: Callable[[Any], list[Any]]) -> Iterator[Any]:
    """An operation and those that can be reached by neighbouring nodes, the nearest first."""
    queue, seen = [start], {id(start)}
    for current in queue:
        yield current
        for node in neighbours(current):
            if id(node.operation) not in seen:
                seen.add(id(node.operation))
                queue.append(node.operation)


def spatial_axes(input_tensor: keras.KerasTensor) -> tuple[int, ...]:
    """The axes of a batch of a symbolic input's images that are neither samples nor channels."""
    return spatial_axes_of(input_tensor.shape, input_data_format(input_tensor))


def channel_axis_of(tensor: keras.KerasTensor) -> int | None:
    """The axis of a symbolic tensor that holds the channels, or None for plain vectors."""
    rank, operation = len(tensor.shape), operation_of(tensor)
    if rank == 2:
        return None
    if isinstance(operation, keras.layers.InputLayer):
        return 1 if input_data_format(tensor) == "channels_first" else rank - 1
    return channel_axis(operation, rank)


def layout_of(
    input_tensor: keras.KerasTensor, image_size: int | Sequence[int] | None = None
) -> Layout:
    """How an image of a model's input lies in an array.

    `image_size` is the size along each spatial axis, one number for all or one for each. None is
    that of the input, and where it is open 256, 224 or 64, for one, two or three axes.
    """
    own = Layout(tuple(input_tensor.shape[1:]), spatial_axes(input_tensor))
    sizes = own.spatial_shape
    if image_size is not None:
        if not sizes:
            raise ValueError(
                "`image_size` needs images with a spatial axis. "
                f"Received: image_size={image_size!r} for images of shape {own.shape}"
            )
        given = check_sizes("image_size", image_size)
        sizes = tuple(per_axis("image_size", given, own.axes).values())
    elif default := _OPEN_SIZES.get(len(sizes)):
        sizes = tuple(size or default for size in sizes)
    layout = own.resized(sizes)
    if None in layout.shape:
        raise ValueError(
            "The model's input must have a known number of channels. "
            f"Received: an input of shape {input_tensor.shape}"
        )
    return layout

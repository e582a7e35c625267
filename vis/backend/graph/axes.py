"""Batch, spatial and channel axes of a model's inputs and of layers' outputs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from vis.backend.graph import hidden_layers
from vis.backend.graph.geometry import (
    KERNELS,
    POOLINGS,
    TRANSPOSED_KERNELS,
    Geometry,
    geometry_after,
)
from vis.backend.graph.layer_paths import LayerOutput, Target, check_output
from vis.backend.graph.nodes import is_container
from vis.backend.private import calls_of, consumers_of, operation_of, with_layers_inside
from vis.utils.layout import Layout, spatial_axes_of
from vis.utils.validation import check_sizes, per_axis, require

# Default image sizes for inputs of open size, by the number of spatial axes.
_OPEN_SIZES = {1: 256, 2: 224, 3: 64}
# The size of open axes where only the order of axes matters.
_FOLLOWED_SIZE = 12
# Layers with a data format that does not say which axes hold positions.
_LAYOUT_FREE = (keras.layers.Flatten,)
_WITH_CHANNELS = (*KERNELS, *POOLINGS, *TRANSPOSED_KERNELS)


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
    if (followed := _followed_channel_axis(layer)) is not None:
        return followed
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
    """The axes of a symbolic input that are neither samples nor channels.

    They are those that the nearest layer with a data format takes for positions, followed through
    the operations before it. An input of gray images may have no channel axis.
    """
    followed = _followed_spatial_axes(input_tensor)
    if followed is not None:
        return followed
    return spatial_axes_of(input_tensor.shape, input_data_format(input_tensor))


def _followed_spatial_axes(input_tensor: keras.KerasTensor) -> tuple[int, ...] | None:
    """The spatial axes of an input whose axes are moved before the nearest such layer, or None."""
    shape = [size or _FOLLOWED_SIZE for size in input_tensor.shape[1:]]
    queue = [(operation_of(input_tensor), Geometry.of_image(shape), False)]
    seen = {id(queue[0][0])}
    for operation, geometry, is_moved in queue:
        for node in consumers_of(operation):
            layer = node.operation
            if id(layer) in seen or len(node.input_tensors) != 1 or len(node.outputs) != 1:
                continue
            seen.add(id(layer))
            if isinstance(layer, keras.layers.Embedding):
                # Token ids are no image.
                return None
            if getattr(layer, "data_format", None) and not isinstance(layer, _LAYOUT_FREE):
                rank = len(geometry.axes)
                is_first = layer.data_format == "channels_first"
                positions = range(1, rank) if is_first else range(rank - 1)
                axes = [span.axis for i in positions for span in geometry.axes[i].spans]
                # An axis that is unfolded into several is no spatial axis itself.
                return tuple(sorted(axes)) if is_moved and len({*axes}) == len(axes) else None
            if is_container(layer):
                queue.append((operation_of(layer.inputs[0]), geometry, is_moved))
                continue
            after = geometry_after(layer, [geometry], _call_of(node))
            if after is not None:
                moved = is_moved or after.axes != geometry.axes
                queue.append((layer, after, moved))
    return None


def _followed_channel_axis(layer: Any) -> int | None:
    """The channel axis of an operation after others that have moved the axes, or None."""
    path: list[Any] = []
    operation = layer
    while calls_of(operation):
        node = calls_of(operation)[0]
        path.append(node)
        if isinstance(operation, _WITH_CHANNELS) or len(node.parent_nodes) != 1:
            break
        operation = node.parent_nodes[0].operation
    if not isinstance(operation, _WITH_CHANNELS) or len(path) < 2 or not calls_of(operation):
        return None
    shape = [size or _FOLLOWED_SIZE for size in path[-1].outputs[0].shape[1:]]
    axes = list(Geometry.of_image(shape).axes)
    index = 0 if getattr(operation, "data_format", None) == "channels_first" else -1
    axes[index] = axes[index]._replace(spans=(), is_channels=True)
    geometry = Geometry(tuple(axes))
    for node in reversed(path[:-1]):
        following = geometry_after(node.operation, [geometry], _call_of(node))
        if following is None:
            return None
        geometry = following
    return geometry.channel_axis


def _call_of(node: Any) -> Callable[[Any], Any]:
    """Runs a node with one tensor argument on a value."""
    (tensor,) = node.input_tensors

    def call(value: Any) -> Any:
        args, kwargs = node.arguments.fill_in({id(tensor): value})
        return node.operation.call(*args, **kwargs)

    return call


def channel_axis_of(tensor: keras.KerasTensor) -> int | None:
    """The channel axis of a symbolic tensor, or None for vectors and gray images without one."""
    rank, operation = len(tensor.shape), operation_of(tensor)
    if rank == 2:
        return None
    if isinstance(operation, keras.layers.InputLayer):
        axes = spatial_axes(tensor)
        return next((axis for axis in range(1, rank) if axis not in axes), None)
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

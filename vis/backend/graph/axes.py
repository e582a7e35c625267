"""Batch, spatial and channel axes of a model's inputs and of layers' outputs."""

from collections.abc import Sequence
from typing import Any

import keras

from vis.backend.graph import hidden_layers
from vis.backend.graph.geometry import Geometry
from vis.backend.graph.geometry_rules import geometry_after_node
from vis.backend.graph.layer_paths import LayerOutput, Target
from vis.backend.graph.nodes import is_container
from vis.backend.graph.output_names import (
    hidden_output_index,
    model_output_names,
    node_output_index,
)
from vis.backend.private import calls_of, consumers_of, operation_of, with_layers_inside
from vis.utils.layout import Layout, spatial_axes_of
from vis.utils.validation import check_sizes, per_axis, require

# Default image sizes for inputs of open size, by the number of spatial axes.
_OPEN_SIZES = {1: 256, 2: 224, 3: 64}
# The size of open axes where only the order of axes matters.
_FOLLOWED_SIZE = 12
# Layers with a data format that does not say which axes hold positions.
_LAYOUT_FREE = (keras.layers.Flatten,)


def output_shape(target: Target) -> tuple[int | None, ...]:
    """Shape of a layer's output, that of its first call by default."""
    layer, call, output = LayerOutput.of(target)
    if is_container(layer) and isinstance(output, str) and output in model_output_names(layer):
        # The outermost model has no calls.
        index = model_output_names(layer).index(output) % len(layer.outputs)
        return tuple(layer.outputs[index].shape)
    nodes = calls_of(layer)
    outputs = [node.outputs for node in nodes] or hidden_layers.output_specs(layer)
    # A layer inside a shared model runs more often than it has nodes.
    call = min(call, len(outputs) - 1)
    of_call = LayerOutput(layer, call, output)
    index = (
        node_output_index(of_call, nodes, call)
        if nodes
        else hidden_output_index(of_call, layer, call)
    )
    return tuple(outputs[call][index].shape)


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

    It is followed from the nearest layer that states its own, such as a convolution before an
    activation.
    """
    layer = LayerOutput.of(target).layer
    if rank <= 2:
        return rank - 1
    if isinstance(layer, keras.layers.TimeDistributed):
        return channel_axis(layer.layer, rank - 1) + 1
    # Each operation with the nodes after it, up to the layer.
    queue: list[tuple[Any, tuple[Any, ...]]] = [(layer, ())]
    seen = {id(layer)}
    for operation, path in queue:
        if is_container(operation) and len(operation.outputs) == 1:
            queue.append((operation_of(operation.outputs[0]), path))
            continue
        nodes = calls_of(operation)[:1]
        stated = _stated_channel_axis(operation)
        if stated is not None:
            axis = _followed(stated, nodes[0], path) if path else None
            # Without nodes, as inside a wrapper, there may be further axes in front.
            known = next((len(node.outputs[0].shape) for node in calls_of(layer)), rank)
            shifted = min(max(1, stated + rank - known), rank - 1)
            return axis or (shifted if stated > 0 else stated % rank)
        for node in nodes:
            for parent in node.parent_nodes:
                if id(parent.operation) not in seen:
                    seen.add(id(parent.operation))
                    queue.append((parent.operation, (node, *path)))
    return 1 if keras.config.image_data_format() == "channels_first" and rank > 3 else rank - 1


def _stated_channel_axis(operation: Any) -> int | None:
    """The channel axis of an operation's output by its own settings, or None."""
    if isinstance(operation, keras.layers.BatchNormalization):
        return operation.axis if isinstance(operation.axis, int) else None
    data_format = None if isinstance(operation, _LAYOUT_FREE) else _data_format_of(operation)
    return {"channels_first": 1, "channels_last": -1, None: None}[data_format]


def _followed(stated: int, node: Any, path: Sequence[Any]) -> int | None:
    """The channel axis after a path of nodes, from that of the output of a node before them."""
    shape = [size or _FOLLOWED_SIZE for size in node.outputs[0].shape]
    axes = list(Geometry.of_image(shape[1:]).axes)
    index = stated % len(shape) - 1
    axes[index] = axes[index]._replace(spans=(), is_channels=True)
    geometry: Geometry | None = Geometry(tuple(axes))
    for following in path:
        geometry = geometry and geometry_after_node(following, [geometry])
    return geometry and geometry.channel_axis


def _data_format_of(operation: Any) -> str | None:
    """The data format of an operation, or None."""
    data_format = getattr(operation, "data_format", None)
    return data_format if data_format in ("channels_last", "channels_first") else None


def spatial_axes(input_tensor: keras.KerasTensor) -> tuple[int, ...]:
    """The axes of a symbolic input that are neither samples nor channels.

    They are those that the nearest layer with a data format takes for positions, followed through
    the operations before it. An input of gray images may have no channel axis.
    """
    shape = [size or _FOLLOWED_SIZE for size in input_tensor.shape[1:]]
    data_format = None
    queue: list[tuple[Any, Geometry | None]] = [
        (operation_of(input_tensor), Geometry.of_image(shape))
    ]
    seen = {id(queue[0][0])}
    for operation, geometry in queue:
        for node in consumers_of(operation):
            layer = node.operation
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            is_single = len(node.input_tensors) == len(node.outputs) == 1
            if is_container(layer):
                inner = [operation_of(tensor) for tensor in layer.inputs]
                queue += [(o, geometry if is_single else None) for o in (*inner, layer)]
                continue
            inside = with_layers_inside(layer) if isinstance(layer, keras.Layer) else [layer]
            own = next(filter(None, map(_data_format_of, inside)), None)
            data_format = data_format or own
            if own and not isinstance(layer, _LAYOUT_FREE):
                axes = geometry and _image_axes_of_positions(geometry, own)
                return spatial_axes_of(input_tensor.shape, own) if axes is None else axes
            # Token ids are no image.
            is_known = is_single and not isinstance(layer, keras.layers.Embedding)
            after = geometry_after_node(node, [geometry]) if geometry and is_known else None
            queue.append((layer, after))
    return spatial_axes_of(input_tensor.shape, data_format or keras.config.image_data_format())


def _image_axes_of_positions(geometry: Geometry, data_format: str) -> tuple[int, ...] | None:
    """The axes of an image that a tensor's positions run along; None if one is unfolded."""
    positions = geometry.axes[1:] if data_format == "channels_first" else geometry.axes[:-1]
    axes = [span.axis for axis in positions for span in axis.spans]
    return tuple(sorted(axes)) if len({*axes}) == len(axes) else None


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

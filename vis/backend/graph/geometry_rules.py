"""Rules of geometry: the geometry after each kind of operation.

Kernels are followed by their strides and padding, operations that only move or interpolate values
by running them on coordinates.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from vis.backend.graph.geometry import Axis, Geometry, Span
from vis.backend.private import operation_class

# An operation moves or interpolates the values of its only input.
_REARRANGING = (
    *(layers.Permute, layers.Reshape, layers.Flatten, layers.RepeatVector),
    *(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D, layers.CenterCrop),
    *(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D),
    *(layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D, layers.Resizing),
)
KERNELS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
)
POOLINGS = (
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
)
TRANSPOSED_KERNELS = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_GLOBAL_POOLINGS = (
    *(layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D),
    *(layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D),
    *(layers.GlobalAveragePooling3D, layers.GlobalMaxPooling3D),
)
# The order of positions is that of the first input; the last axis holds the channels.
_ATTENTION = (
    *(layers.MultiHeadAttention, layers.GroupQueryAttention),
    *(layers.Attention, layers.AdditiveAttention),
)
_SEQUENCE_LAYERS = (layers.Dense, layers.EinsumDense, *_ATTENTION)
_RECURRENT = (layers.RNN, layers.Bidirectional, layers.ConvLSTM1D, layers.ConvLSTM2D)
# Operations of Keras that mix positions although they keep the shape.
_MIXING = {
    *("Matmul", "Einsum", "Dot", "Tensordot", "Inner", "Outer", "Sort", "Argsort", "Roll", "Take"),
    *("Cumsum", "Cumprod", "FFT", "FFT2", "IFFT2", "RFFT", "IRFFT", "Rot90", "Conv", "Where"),
}


def geometry_after_node(node: Any, inputs: Sequence[Geometry]) -> Geometry | None:
    """The geometry of a node's only output; None if the kind of its operation is unknown.

    `inputs` are the geometries of its tensor arguments, or of some of them.
    """
    if len(node.outputs) != 1:
        return None

    def call(value: Any) -> Any:
        (tensor,) = node.input_tensors
        args, kwargs = node.arguments.fill_in({id(tensor): value})
        # Not `__call__`, which rounds indices in half precision.
        return node.operation.call(*args, **kwargs)

    after = _geometry_after(node.operation, inputs, call)
    declared = node.outputs[0].shape[1:]
    # A reduction is no operation on single positions.
    is_reduced = after is not None and (
        len(after.axes) != len(declared)
        or any(size == 1 < axis.size for size, axis in zip(declared, after.axes, strict=True))
    )
    return None if is_reduced else after


def _geometry_after(operation: Any, inputs: Sequence[Geometry], call: Callable) -> Geometry | None:
    """The geometry after an operation; `call` runs it on its only argument."""
    after = _after(operation, inputs, call)
    if after is None or not any(geometry.depends_on_all for geometry in inputs):
        return after
    return after.unbounded()._replace(depends_on_all=True)


def _after(operation: Any, inputs: Sequence[Geometry], call: Callable) -> Geometry | None:
    kind = type(operation)
    first = inputs[0]
    if kind is layers.TimeDistributed:
        inner = _geometry_after(operation.layer, [Geometry(first.axes[1:])], operation.layer.call)
        return inner and Geometry((first.axes[0], *inner.axes))
    if isinstance(operation, KERNELS + POOLINGS):
        return _after_kernel(operation, first)
    if isinstance(operation, TRANSPOSED_KERNELS):
        return _after_transposed(operation, first)
    if isinstance(operation, _GLOBAL_POOLINGS):
        return _after_global_pooling(operation, first)
    if isinstance(operation, _RECURRENT):
        return _after_recurrent(operation, first)
    if isinstance(operation, layers.Embedding):
        return Geometry((*first.axes, Axis(operation.output_dim, is_channels=True)))
    if isinstance(operation, _SEQUENCE_LAYERS) and len(first.axes) >= 2:
        after = _with_channels(first, _last_size(operation, first))
        return after.unbounded() if isinstance(operation, _ATTENTION) else after
    if isinstance(operation, layers.Dense):
        axis = Axis(operation.units, is_channels=True)
        return Geometry((axis,), depends_on_all=bool(first.image_axes))
    if isinstance(operation, _REARRANGING) or kind in _rearranging_operations():
        return _after_rearrangement(call, first)
    if kind in (layers.Concatenate, _concatenation()):
        return _after_concatenation(inputs, operation.axis)
    return _after_elementwise(operation, inputs)


def _last_size(operation: Any, first: Geometry) -> int:
    if isinstance(operation, layers.Dense):
        return operation.units
    return operation.compute_output_shape(*_shapes(operation, first))[-1] or first.shape[-1]


def _shapes(operation: Any, first: Geometry) -> list[Any]:
    shape = (1, *first.shape)
    if isinstance(operation, (layers.Attention, layers.AdditiveAttention)):
        return [[shape, shape]]
    is_pair = isinstance(operation, (layers.MultiHeadAttention, layers.GroupQueryAttention))
    return [shape, shape] if is_pair else [shape]


def _with_channels(geometry: Geometry, size: int) -> Geometry:
    """The same positions with other channels, on the last axis."""
    positions = (axis._replace(is_channels=False) for axis in geometry.axes[:-1])
    return Geometry((*positions, Axis(size, is_channels=True)))


def _spatial(operation: Any, rank: int) -> tuple[list[int], int]:
    """The indices, among the axes without the samples, of positions and of channels."""
    if getattr(operation, "data_format", None) == "channels_first":
        return list(range(1, rank)), 0
    return list(range(rank - 1)), rank - 1


def _after_kernel(operation: Any, first: Geometry) -> Geometry:
    positions, channels = _spatial(operation, len(first.axes))
    is_pooling = isinstance(operation, POOLINGS)
    sizes = operation.pool_size if is_pooling else operation.kernel_size
    dilations = (1,) * len(sizes) if is_pooling else operation.dilation_rate
    settings = zip(_tuple(sizes), _tuple(operation.strides), _tuple(dilations), strict=True)
    axes = list(first.axes)
    for index, (size, stride, dilation) in zip(positions, settings, strict=True):
        axes[index] = _strided(axes[index], (size - 1) * dilation, stride, operation.padding)
    if is_pooling:
        axes[channels] = axes[channels]._replace(spans=(), is_channels=True)
    else:
        axes[channels] = Axis(_filters(operation, first.axes[channels].size), is_channels=True)
    return Geometry(tuple(axes))


def _strided(axis: Axis, extent: int, stride: int, padding: str) -> Axis:
    """An axis after windows that reach `extent` positions beyond their first."""
    before, size = 0, (axis.size - extent - 1) // stride + 1
    if padding in ("same", "causal"):
        size = -(-axis.size // stride)
        missing = max((size - 1) * stride + extent + 1 - axis.size, 0)
        before = extent if padding == "causal" else missing // 2
    span = axis.span
    if span is None or axis.start:
        return Axis(size)
    moved = Span(
        span.axis,
        size,
        span.offset + span.stride * (extent / 2 - before),
        span.stride * stride,
        span.reach + abs(span.stride) * extent / 2,
    )
    return Axis(size, (moved,))


def _filters(operation: Any, channels: int) -> int:
    if isinstance(operation, (layers.DepthwiseConv1D, layers.DepthwiseConv2D)):
        return channels * operation.depth_multiplier
    return operation.filters


def _after_transposed(operation: Any, first: Geometry) -> Geometry:
    positions, channels = _spatial(operation, len(first.axes))
    output = operation.compute_output_shape((1, *first.shape))[1:]
    axes = list(first.axes)
    settings = zip(_tuple(operation.kernel_size), _tuple(operation.strides), strict=True)
    for index, (size, stride) in zip(positions, settings, strict=True):
        span = axes[index].span
        axes[index] = Axis(output[index])
        if span is None:
            continue
        before = max(size - stride, 0) // 2 if operation.padding == "same" else 0
        step = span.stride / stride
        offset = span.offset + step * (before - (size - 1) / 2)
        reach = span.reach + abs(step) * (size - 1) / 2
        axes[index] = Axis(output[index], (Span(span.axis, output[index], offset, step, reach),))
    axes[channels] = Axis(operation.filters, is_channels=True)
    return Geometry(tuple(axes))


def _after_global_pooling(operation: Any, first: Geometry) -> Geometry:
    _, channels = _spatial(operation, len(first.axes))
    channel_axis = Axis(first.axes[channels].size, is_channels=True)
    if not operation.keepdims:
        return Geometry((channel_axis,), depends_on_all=bool(first.image_axes))
    axes = [Axis(1)] * len(first.axes)
    axes[channels] = channel_axis
    return Geometry(tuple(axes), depends_on_all=bool(first.image_axes))


def _after_recurrent(operation: Any, first: Geometry) -> Geometry | None:
    if operation.return_state:
        return None
    output = operation.compute_output_shape((1, *first.shape))
    if len(output) != len(first.axes) + 1 or not operation.return_sequences:
        return None if len(output) > 2 else Geometry((Axis(output[-1], is_channels=True),))
    steps, *others = first.unbounded().axes[:1], *first.axes[1:]
    return _with_channels(Geometry((*steps, *others)), output[-1])


def _after_concatenation(inputs: Sequence[Geometry], axis: int) -> Geometry | None:
    rank = len(inputs[0].axes)
    index = axis % (rank + 1) - 1
    sizes = [geometry.axes[index].size for geometry in inputs]
    placed = [i for i, geometry in enumerate(inputs) if geometry.axes[index].spans]
    best = max(inputs, key=lambda geometry: len(geometry.image_axes))
    joined = Axis(sum(sizes), is_channels=not placed)
    if len(placed) == 1:
        # Class tokens before or after the positions.
        own = inputs[placed[0]].axes[index]
        joined = Axis(sum(sizes), own.spans, own.start + sum(sizes[: placed[0]]))
    elif placed:
        return None
    axes = list(best.axes)
    axes[index] = joined
    return Geometry(tuple(axes))


def _after_elementwise(operation: Any, inputs: Sequence[Geometry]) -> Geometry | None:
    """The geometry after an operation of Keras whose positions are those of its inputs."""
    kind = type(operation)
    if kind.__module__.split(".")[0] != "keras" or kind.__name__ in _MIXING:
        return None
    if isinstance(operation, (layers.Lambda, keras.Model, layers.Wrapper)):
        return None
    try:
        shape = np.broadcast_shapes(*(geometry.shape for geometry in inputs))
    except ValueError:
        return None
    same = [geometry for geometry in inputs if geometry.shape == shape]
    if not same:
        return None
    placed = max(same, key=lambda geometry: len(geometry.image_axes))
    channel_axis = next((g.channel_axis for g in same if g.channel_axis), None)
    reach: dict[int, float] = {}
    for span in (span for geometry in same for axis in geometry.axes for span in axis.spans):
        reach[span.axis] = max(span.reach, reach.get(span.axis, 0.0))
    return Geometry(
        tuple(
            axis._replace(
                spans=tuple(span._replace(reach=reach[span.axis]) for span in axis.spans),
                is_channels=number == channel_axis,
            )
            for number, axis in enumerate(placed.axes, 1)
        )
    )


def _after_rearrangement(call: Callable, first: Geometry) -> Geometry | None:
    """Follows each axis by running the operation on the indices along it."""
    covered = _run_on(call, np.ones(first.shape))
    if covered is None:
        return None
    # Values that padding is mixed into say nothing about positions.
    inside = np.isclose(covered, 1)
    moving: list[list[tuple[int, np.ndarray]]] = [[] for _ in covered.shape]
    for number, axis in enumerate(first.axes):
        shape = [axis.size if i == number else 1 for i in range(len(first.axes))]
        indices = np.broadcast_to(np.arange(axis.size, dtype="float32").reshape(shape), first.shape)
        for output, line in enumerate(_lines(_run_on(call, indices), inside)):
            if np.nanmax(line, initial=0) > np.nanmin(line, initial=np.inf):
                moving[output].append((number, line))
    axes = []
    for number, (size, lines) in enumerate(zip(covered.shape, moving, strict=True)):
        stays = len(covered.shape) == len(first.axes) and size == first.axes[number].size == 1
        axes.append(first.axes[number] if stays else _follow(size, lines, first.axes))
    return Geometry(tuple(axes))


def _lines(values: Any, inside: np.ndarray) -> list[np.ndarray]:
    """The values along each axis through the middle of what is inside, NaN elsewhere."""
    middle = [int(np.median(indices)) for indices in np.nonzero(inside)]
    lines = []
    for axis in range(inside.ndim):
        index = tuple(slice(None) if i == axis else m for i, m in enumerate(middle))
        lines.append(np.where(inside[index], values[index], np.nan))
    return lines


def _follow(size: int, lines: list[tuple[int, np.ndarray]], before: Sequence[Axis]) -> Axis:
    """The output axis along which the indices of some input axes change."""
    if not lines:
        return Axis(size)
    if len(lines) == 1:
        ((number, line),) = lines
        return _along(size, line, before[number])
    # Flattened: the indices of the last axis run fastest.
    flat = [before[number] for number, _ in lines]
    grid = np.indices([axis.size for axis in flat]).reshape(len(flat), -1)
    is_flat = grid.shape[1] == size and all(
        np.array_equal(line, part) for (_, line), part in zip(lines, grid, strict=True)
    )
    if is_flat and all(axis.span and not axis.start for axis in flat):
        return Axis(size, tuple(axis.spans[0] for axis in flat))
    return Axis(size, is_channels=any(axis.is_channels for axis in flat))


def _along(size: int, line: np.ndarray, axis: Axis) -> Axis:
    """An output axis that runs along one input axis, or along a part of a flattened one."""
    indices = np.flatnonzero(~np.isnan(line))
    values = line[indices]
    lag = max(len(values) // 2, 1)
    slope = float(np.median((values[lag:] - values[:-lag]) / lag))
    start = float(np.median(values - slope * indices))
    if not axis.spans:
        return Axis(size, is_channels=axis.is_channels)
    if axis.span is not None:
        (span,) = axis.spans
        offset = span.offset + span.stride * (start - axis.start)
        moved = span._replace(length=size, offset=offset, stride=span.stride * slope)
        # Values that are interpolated depend on their neighbours.
        blur = 0.0 if abs(slope) == 1 else abs(span.stride) * max(1.0, abs(slope)) / 2
        return Axis(size, (moved._replace(reach=span.reach + blur),))
    radix = 1
    for span in reversed(axis.spans):
        if math.isclose(slope, radix) and span.length == size:
            return Axis(size, (span,))
        radix *= span.length
    is_whole = math.isclose(slope, 1) and size == axis.size and start == 0
    return axis if is_whole else Axis(size)


def _run_on(call: Callable, values: np.ndarray) -> np.ndarray | None:
    """The output of an operation for one sample, without the axis of the samples."""
    try:
        output = call(ops.convert_to_tensor(values[None], "float32"))
    except (TypeError, ValueError):
        return None
    return keras.ops.convert_to_numpy(output)[0]


def _tuple(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


@functools.cache
def _rearranging_operations() -> set[type]:
    """The classes of Keras's functions that only move values."""
    functions = (
        *(lambda x: ops.transpose(x, (0, 2, 1)), lambda x: ops.reshape(x, (1, 4)), ops.squeeze),
        *(lambda x: ops.expand_dims(x, 1), lambda x: ops.moveaxis(x, 1, 2), lambda x: x[:, 1:]),
        *(lambda x: ops.swapaxes(x, 1, 2), lambda x: ops.flip(x, 1), lambda x: ops.pad(x, 1)),
    )
    example = (1, 2, 2)
    classes = {operation_class(function, example) for function in functions}
    return classes | {operation_class(lambda x: ops.image.resize(x, (3, 3)), (1, 2, 2, 1))}


@functools.cache
def _concatenation() -> type:
    return operation_class(lambda x: ops.concatenate([x, x]))

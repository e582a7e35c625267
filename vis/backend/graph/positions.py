"""Positions of a layer in an image: the geometry of any tensor of a graph."""

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from vis.backend.cache import WeakCache
from vis.backend.graph.axes import spatial_axes
from vis.backend.graph.geometry import Axis, Geometry, Span, geometry_after_node
from vis.backend.graph.graph import Graph
from vis.backend.graph.layer_paths import Target
from vis.backend.graph.model_inputs import ModelInputs
from vis.backend.graph.nodes import is_container, node_index_of, topological_order
from vis.backend.graph.tensor_refs import TensorRef
from vis.backend.layers import (
    LayerRunner,
    TracedWeights,
    call_in_inference,
    channels_last_convolutions,
    inference_mode,
)

_geometries = WeakCache(max_entries=512)
# The measured geometries of calls of operations.
_measurements = WeakCache()
# Random samples that gradients are measured on: a rectifier may block them in one.
_SAMPLES = 4
# An axis is measured at this many indices, less one.
_INDICES = 6
_LEAST_SLOPE = 0.05
_MOST_PIXEL_CHANNELS = 4


def geometry_of(inputs: ModelInputs, target: Target, shape: Sequence[int]) -> Geometry:
    """The geometry of a layer's output for images of some shape in the input that varies."""
    graph, (tensor,) = inputs.graph, inputs.varying
    ref = graph.ref_of(target)
    key = TensorRef.of(tensor), ref, tuple(shape)
    return _geometries.get(graph.owner, key, lambda: _geometry(inputs, ref, tuple(shape)))


def unfold_positions(
    maps: np.ndarray, axes: Sequence[Axis], image_axes: Iterable[int]
) -> tuple[np.ndarray, dict[int, Span]]:
    """Maps with one axis for each axis of the image, and the spans of their positions.

    Flattened positions are unfolded, class tokens are left out, positions without a place in the
    image are summed, and an axis of the image without positions has size 1.

    Args:
        maps: `(samples, positions...)`.
        axes: The axes of the positions.
        image_axes: The spatial axes of a batch of images.
    """
    spans: list[Span] = []
    for number, axis in reversed([*enumerate(axes, 1)]):
        own = axis.spans or (Span(0, axis.size, 0.0, 1.0),)
        lengths = [span.length for span in own]
        first = axis.start if axis.spans else 0
        maps = np.take(maps, range(first, first + math.prod(lengths)), axis=number)
        maps = maps.reshape(*maps.shape[:number], *lengths, *maps.shape[number + 1 :])
        spans = [*own, *spans]
    image_axes = sorted(image_axes)
    maps = maps.sum(axis=tuple(i for i, s in enumerate(spans, 1) if s.axis not in image_axes))
    placed = [span for span in spans if span.axis in image_axes]
    order = sorted(range(len(placed)), key=lambda i: placed[i].axis)
    maps = np.transpose(maps, (0, *(i + 1 for i in order)))
    by_axis = {span.axis: span for span in placed}
    for number, image_axis in enumerate(image_axes, 1):
        if image_axis not in by_axis:
            maps = np.expand_dims(maps, number)
    return maps, by_axis


def _geometry(inputs: ModelInputs, ref: TensorRef, shape: tuple[int, ...]) -> Geometry:
    graph, (tensor,) = inputs.graph, inputs.varying
    image = Geometry.of_image(shape)
    if not ref.is_hidden and graph.subclassed_model is None:
        geometries = {id(tensor): image}
        # An operation cannot run alone if it joins the windows of an image, for example.
        with contextlib.suppress(ValueError, tf.errors.InvalidArgumentError):
            _Walk(graph, geometries, ref.tensor).follow([ref.tensor], geometries, None)
        if (found := geometries.get(id(ref.tensor))) is not None:
            return found

    def run(values: list[Any]) -> Any:
        (image,) = values
        fixed = inputs.complete(np.zeros((_SAMPLES, *shape), "float32"))
        pairs = zip(inputs.tensors, fixed, strict=True)
        feeds = [(t, image if t is tensor else tf.constant(value)) for t, value in pairs]
        return graph.run(feeds, [ref], LayerRunner(TracedWeights()))[0]

    spatial = spatial_axes(tensor)
    axes = (a if i in spatial else a._replace(spans=()) for i, a in enumerate(image.axes, 1))
    return _measured(run, [Geometry(tuple(axes))], 0, [tensor.dtype], [])


class _Walk:
    """Follows the geometry of an image through the nodes of a graph."""

    def __init__(self, graph: Graph, geometries: dict[int, Geometry], target: Any) -> None:
        self._graph = graph
        self._known = geometries
        self._target = target

    def follow(self, targets: Sequence[Any], values: dict[int, Geometry], level: Any) -> None:
        """Adds the geometries of some tensors of one level, and of all that they depend on."""
        nodes = topological_order(
            targets, values.keys(), lambda t: self._graph.node_on_level(t, level)
        )
        for node in nodes:
            if node.is_input:
                outputs = [
                    Geometry.unrelated([size or 1 for size in t.shape[1:]]) for t in node.outputs
                ]
            else:
                outputs = self._outputs(node, values)
            for output, geometry in zip(node.outputs, outputs, strict=True):
                values[id(output)] = geometry
                # Inside nested models the first call counts.
                self._known.setdefault(id(output), geometry)

    def _outputs(self, node: Any, values: dict[int, Geometry]) -> list[Geometry]:
        operation = node.operation
        arguments = [values[id(t)] for t in node.input_tensors]
        if is_container(operation) and len(operation.inputs) == len(arguments):
            inner = dict(zip(map(id, operation.inputs), arguments, strict=True))
            own = self._graph.level_of(self._target) is operation
            self.follow([*operation.outputs, *([self._target] if own else [])], inner, operation)
            return [inner[id(t)] for t in operation.outputs]
        if not any(geometry.image_axes for geometry in arguments):
            depends = any(geometry.depends_on_all for geometry in arguments)
            shapes = ([size or 1 for size in t.shape[1:]] for t in node.outputs)
            return [Geometry.unrelated(s)._replace(depends_on_all=depends) for s in shapes]

        if (geometry := geometry_after_node(node, arguments)) is not None:
            return [geometry]
        return [_measured_after(node, arguments, i) for i in range(len(node.outputs))]


def _measured_after(node: Any, arguments: Sequence[Geometry], output: int) -> Geometry:
    """The geometry of one output of a node, measured once for each shape of its arguments."""

    def run(values: list[Any]) -> Any:
        given = dict(zip(map(id, node.input_tensors), values, strict=True))
        return tree.flatten(call_in_inference(node.operation, *node.arguments.fill_in(given)))[
            output
        ]

    # As if the first argument with positions were the image.
    source = next(i for i, geometry in enumerate(arguments) if geometry.image_axes)
    as_images = [Geometry.unrelated(geometry.shape) for geometry in arguments]
    as_images[source] = Geometry(
        tuple(
            Axis(axis.size, (Span(number, axis.size, 0.0, 1.0),) if axis.span else ())
            for number, axis in enumerate(arguments[source].axes)
        )
    )
    dtypes = [t.dtype for t in node.input_tensors]
    measured = _measurements.get(
        node.operation,
        (node_index_of(node), output, tuple(as_images)),
        lambda: _measured(run, as_images, source, dtypes, [node.operation]),
    )
    outer = arguments[source].axes
    axes = (
        axis._replace(spans=tuple(_through(outer[span.axis].spans[0], span) for span in axis.spans))
        for axis in measured.axes
    )
    return measured._replace(axes=tuple(axes))


def _through(outer: Span, inner: Span) -> Span:
    """The span in the image of positions with a span along the axis of a tensor."""
    return Span(
        outer.axis,
        inner.length,
        outer.offset + outer.stride * inner.offset,
        outer.stride * inner.stride,
        outer.reach + abs(outer.stride) * inner.reach,
    )


def _measured(
    run: Callable,
    arguments: Sequence[Geometry],
    source: int,
    dtypes: Sequence[str],
    operations: Sequence[Any],
) -> Geometry:
    """The geometry of a function's output, from gradients at some indices of each of its axes.

    They are those by the argument with the index `source`.
    """
    geometry = arguments[source]

    @tf.function(autograph=False)
    def measure() -> tuple[Any, dict[int, list[Any]]]:
        values = [
            tf.cast(tf.random.stateless_uniform((_SAMPLES, *g.shape), (i, 0), -1, 1), dtype)
            for i, (g, dtype) in enumerate(zip(arguments, dtypes, strict=True))
        ]
        with channels_last_convolutions(), inference_mode(operations):
            output = run(values)
        grads: dict[int, list[Any]] = {}
        for axis, size in enumerate(output.shape[1:], 1):
            if size and size > 1:
                slices = [tf.gather(output, i, axis=axis) for i in _indices(size)]
                grads[axis] = [tf.gradients(s, values[source])[0] for s in slices]
        return tf.shape(output), {k: v for k, v in grads.items() if v[0] is not None}

    if not keras.backend.is_float_dtype(dtypes[source]):
        return Geometry(())
    shape, grads = measure()
    axes = []
    for axis, size in enumerate(shape.numpy()[1:].tolist(), 1):
        strengths = [np.abs(g.numpy()).max(axis=0) for g in grads.get(axis, [])]
        axes.append(_measured_axis(size, strengths, geometry))
    without = [i for i, axis in enumerate(axes) if not axis.spans]
    if without:
        axes[without[-1]] = axes[without[-1]]._replace(is_channels=True)
    measured = Geometry(tuple(axes))
    return measured._replace(depends_on_all=not measured.image_axes)


def _indices(size: int) -> list[int]:
    """A few indices of an axis, away from its ends if possible."""
    return sorted({size * part // _INDICES for part in range(1, _INDICES)} or {0, size - 1})


def _measured_axis(size: int, strengths: Sequence[np.ndarray], geometry: Geometry) -> Axis:
    """The axis of an output, from the gradients of some of its indices at the input."""
    for number, axis in enumerate(geometry.axes):
        span = axis.span
        if len(strengths) < 2 or span is None:
            continue
        others = tuple(i for i in range(len(geometry.axes)) if i != number)
        profiles = [strength.max(axis=others) for strength in strengths]
        extents = [np.flatnonzero(profile) for profile in profiles]
        if not all(len(extent) for extent in extents):
            continue
        # If positions depend on everything, each depends most on its own place.
        is_all = all(len(extent) == axis.size for extent in extents)
        centres = [
            float(p.argmax()) if is_all else (int(e[0]) + int(e[-1])) / 2
            for p, e in zip(profiles, extents, strict=True)
        ]
        # The borders of the image cut extents off.
        within = [i for i, e in enumerate(extents) if is_all or (e[0] and e[-1] < axis.size - 1)]
        used = within if len(within) > 1 else list(range(len(extents)))
        indices = [_indices(size)[i] for i in used]
        slope, start = np.polyfit(indices, [centres[i] for i in used], 1).tolist()
        error = np.abs(np.polyval([slope, start], indices) - [centres[i] for i in used]).max()
        if abs(slope) < _LEAST_SLOPE or error > max(1.0, abs(slope) / 2):
            continue
        # Channels may differ in what they depend on most, but not in proportion to their index.
        is_proportional = 0.7 < abs(slope) * size / axis.size < 1.4
        if is_all and (axis.size <= _MOST_PIXEL_CHANNELS or not is_proportional):
            continue
        reach = max(int(e[-1]) - int(e[0]) for e in extents) / 2
        return Axis(size, (_through(span, Span(number, size, start, slope, reach)),))
    return Axis(size)

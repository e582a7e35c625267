"""Positions of a layer in an image: the geometry of any tensor of a graph."""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from vis.backend.cache import WeakCache
from vis.backend.graph import hidden_layers
from vis.backend.graph.axes import spatial_axes
from vis.backend.graph.geometry import Axis, Geometry, Span
from vis.backend.graph.geometry_rules import geometry_after_node
from vis.backend.graph.graph import Graph
from vis.backend.graph.layer_paths import Target
from vis.backend.graph.model_inputs import ModelInputs
from vis.backend.graph.nodes import is_container, node_index_of, topological_order
from vis.backend.graph.tensor_refs import TensorRef
from vis.backend.graph.tokens import geometry_of_tokens, measured_tokens
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

    first = inputs._replace(values=tuple(v if v is None else v[:1] for v in inputs.values))

    def run(values: list[Any]) -> Any:
        (image,) = values
        fixed = first.complete(np.zeros((_SAMPLES, *shape), "float32"))
        pairs = zip(inputs.tensors, fixed, strict=True)
        feeds = [(t, image if t is tensor else tf.constant(value)) for t, value in pairs]
        return graph.run(feeds, [ref], LayerRunner(TracedWeights()))[0]

    if ref.is_hidden and (tokens := _tokens_around(inputs, ref, shape)):
        known = [size for size in ref.shape[1:] if size]
        is_known = len(known) == len(ref.shape) - 1
        sizes = known if is_known else _output_shape(run, [image], [tensor.dtype], [])
        return geometry_of_tokens(tokens, sizes)
    spatial = spatial_axes(tensor)
    axes = (a if i in spatial else a._replace(spans=()) for i, a in enumerate(image.axes, 1))
    return _measured(run, [Geometry(tuple(axes))], 0, [tensor.dtype], [])


def _tokens_around(inputs: ModelInputs, ref: TensorRef, shape: tuple[int, ...]) -> Axis | None:
    """The tokens that a hidden layer works on, if their places are known from outside of it.

    These are the tokens that enter the layer around it, or those of the first layer inside with as
    many tokens, because the order stays.
    """
    graph, (tensor,) = inputs.graph, inputs.varying
    layer = ref.operation()
    outer = graph.enclosing_operation(layer)
    if outer is not graph.subclassed_model:
        geometries = {id(tensor): Geometry.of_image(shape)}
        arguments = graph.first_node(outer).input_tensors
        for argument in arguments:
            _Walk(graph, geometries, argument).follow([argument], geometries, None)
        known = (geometries.get(id(argument)) for argument in arguments)
        if tokens := next((g.tokens for g in known if g and g.tokens), None):
            return tokens
    *earlier, _ = hidden_layers.up_to(layer, outer)
    for candidate in filter(graph.has_one_sample_per_image, earlier):
        sizes = hidden_layers.output_specs(candidate)[0][0].shape[1:]
        if len(sizes) == 2 and sizes[0] in ref.shape[1:-1]:
            return geometry_of(inputs, candidate, shape).tokens
    return None


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

    dtypes = [t.dtype for t in node.input_tensors]
    # As if the first argument with positions were the image.
    source = next(i for i, geometry in enumerate(arguments) if geometry.image_axes)
    key = node_index_of(node), output, tuple(geometry.shape for geometry in arguments)
    tokens = arguments[source].tokens
    if tokens:
        # Not the declared shape, which some layers get wrong.
        try:
            shape = _measurements.get(
                node.operation, key, lambda: _output_shape(run, arguments, dtypes, [node.operation])
            )
        except Exception:
            # Other arguments may have no samples, such as tables of rotary embeddings.
            shape = tuple(size or 1 for size in node.outputs[output].shape[1:])
        geometry = geometry_of_tokens(tokens, shape)
        if geometry.image_axes or len(shape) == 1:
            return geometry
    as_images = [Geometry.unrelated(geometry.shape) for geometry in arguments]
    as_images[source] = Geometry(
        tuple(
            Axis(
                axis.size,
                (Span(number, axis.size, 0.0, 1.0),) if axis.span or axis is tokens else (),
            )
            for number, axis in enumerate(arguments[source].axes)
        )
    )
    measured = _measurements.get(
        node.operation,
        (*key, tuple(as_images)),
        lambda: _measured(run, as_images, source, dtypes, [node.operation]),
    )
    outer = arguments[source].axes
    axes = [_axis_through(outer, axis) for axis in measured.axes]
    return measured._replace(axes=tuple(axes))


def _axis_through(outer: Sequence[Axis], inner: Axis) -> Axis:
    """The axis in the image, from an axis that runs along axes of a tensor with some `outer`."""
    along = [outer[span.axis] for span in inner.spans]
    if any(axis.has_tokens for axis in along):
        # Other tokens were added or removed before or after them.
        (tokens,), (span,) = along, inner.spans
        start = inner.start + tokens.start - round(span.offset)
        end = start + math.prod(own.length for own in tokens.spans)
        is_whole = 0 <= start < end <= inner.size and round(span.stride, 2) == 1
        return Axis(inner.size, tokens.spans if is_whole else (), start)
    spans = tuple(_through(axis.spans[0], s) for axis, s in zip(along, inner.spans, strict=True))
    return inner._replace(spans=spans)


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
    values = [
        tf.cast(tf.random.stateless_uniform((_SAMPLES, *g.shape), (i, 0), -1, 1), dtype)
        for i, (g, dtype) in enumerate(zip(arguments, dtypes, strict=True))
    ]

    def output_of(value: Any) -> Any:
        with channels_last_convolutions(), inference_mode(operations):
            return run([*values[:source], value, *values[source + 1 :]])

    @tf.function(autograph=False)
    def measure(value: Any) -> tuple[Any, dict[int, list[Any]]]:
        output = output_of(value)
        grads: dict[int, list[Any]] = {}
        for axis, size in enumerate(output.shape[1:], 1):
            if size and size > 1:
                slices = [tf.gather(output, i, axis=axis) for i in _indices(size)]
                grads[axis] = [tf.gradients(s, value)[0] for s in slices]
        return tf.shape(output), {k: v for k, v in grads.items() if v[0] is not None}

    if not keras.backend.is_float_dtype(dtypes[source]):
        return Geometry(())
    shape, grads = measure.get_concrete_function(values[source])(values[source])
    axes = []
    for axis, size in enumerate(shape.numpy()[1:].tolist(), 1):
        strengths = [np.abs(g.numpy()).max(axis=0) for g in grads.get(axis, [])]
        axes.append(_measured_axis(size, strengths, geometry))
    # Gradients at random weights may suggest the same axis of the image twice: at most one of
    # these depends on less of it than the others.
    reaches = [(span.axis, span.reach) for axis in axes for span in axis.spans]
    axes = [
        Axis(axis.size) if any(_is_claimed(span, reaches) for span in axis.spans) else axis
        for axis in axes
    ]
    without = [i for i, axis in enumerate(axes) if not axis.spans]
    if without:
        axes[without[-1]] = axes[without[-1]]._replace(is_channels=True)
    measured = Geometry(tuple(axes))
    if not measured.image_axes and len(axes) > 1:
        compiled = tf.function(
            lambda value: tf.cast(output_of(value), "float32"), autograph=False
        ).get_concrete_function(values[source])
        found = measured_tokens(
            lambda images: compiled(tf.cast(images, dtypes[source])).numpy(), _SAMPLES, geometry
        )
        measured = found or measured
    return measured._replace(depends_on_all=not measured.image_axes)


def _is_claimed(span: Span, reaches: Sequence[tuple[int, float]]) -> bool:
    """Whether another of some spans runs along the same axis and reaches no further."""
    return sum(axis == span.axis and reach <= span.reach for axis, reach in reaches) > 1


def _output_shape(
    run: Callable, arguments: Sequence[Geometry], dtypes: Sequence[str], operations: Sequence[Any]
) -> tuple[int, ...]:
    """The shape of a function's output in a run, without the samples."""

    @tf.function(autograph=False)
    def shape_of(*values: Any) -> Any:
        with inference_mode(operations):
            return tf.shape(run(list(values)))

    zeros = [
        tf.zeros((_SAMPLES, *g.shape), dtype) for g, dtype in zip(arguments, dtypes, strict=True)
    ]
    return tuple(shape_of.get_concrete_function(*zeros)(*zeros).numpy()[1:].tolist())


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

"""Which sizes of images a model takes up to a layer, and how much of them a place there sees."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, Target, TensorRef, channel_axis
from vis.backend.layers import LayerRunner, TracedWeights
from vis.backend.step.forward import feeds_of
from vis.utils.layout import Layout

_acceptances = WeakCache()
_receptive_fields = WeakCache()

# How many images what a place sees is read off.
_LOOKS = 4


def accepts(
    graph: Graph, input_tensor: keras.KerasTensor, layer: Target, shape: Sequence[int]
) -> bool:
    """Whether a model takes images of some shape, as values of an input or what is made of it."""
    target = graph.ref_of(layer)

    def traces() -> bool:
        others = [tensor for tensor in graph.inputs if tensor is not input_tensor]
        specs = [tf.TensorSpec((1, *t.shape[1:]), t.dtype) for t in others]

        @tf.function(autograph=False)
        def run(*values: Any) -> list[Any]:
            feeds = list(zip([input_tensor, *others], values, strict=True))
            return graph.run(feeds, [target], LayerRunner(TracedWeights()))

        try:
            run.get_concrete_function(tf.TensorSpec((1, *shape), input_tensor.dtype), *specs)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError):
            return False
        return True

    return _acceptances.get(graph.owner, (TensorRef.of(input_tensor), target, tuple(shape)), traces)


class ReceptiveField(NamedTuple):
    """What two places of a layer see of an image: along each spatial axis from where to where."""

    middle: tuple[tuple[int, int], ...]
    quarter: tuple[tuple[int, int], ...]  # The place a quarter of the way along each axis.


def receptive_fields(
    graph: Graph, input_tensor: keras.KerasTensor, layers: Sequence[Target], layout: Layout
) -> list[ReceptiveField]:
    """How much of an image places of some layers see; all of it where no gradient tells.

    It is read off a gradient, so that it holds whatever the layers in between are.
    """
    targets = tuple(map(graph.ref_of, layers))
    whole = tuple((0, size) for size in layout.spatial_shape)

    @tf.function(autograph=False)
    def seen() -> list[Any]:
        # Several images, as a rectifier that is shut in one may be open in the next.
        shape = (2 * _LOOKS, *layout.shape)
        images = tf.random.stateless_uniform(shape, (0, 0), -1, 1, "float32")
        images = tf.cast(images, input_tensor.dtype)
        values = graph.run(
            feeds_of(graph, input_tensor, images), targets, LayerRunner(TracedWeights())
        )
        return [_seen(layer, v, images, layout) for layer, v in zip(layers, values, strict=True)]

    def measured() -> list[ReceptiveField]:
        if not graph.gradient_flow.has_gradient(input_tensor):
            return [ReceptiveField(whole, whole) for _ in layers]
        return [
            ReceptiveField(*zip(*map(_ends, along), strict=True))
            if along
            else ReceptiveField(whole, whole)
            for along in seen.get_concrete_function()()
        ]

    return _receptive_fields.get(
        graph.owner, (TensorRef.of(input_tensor), targets, layout), measured
    )


def receptive_field(
    graph: Graph, input_tensor: keras.KerasTensor, layer: Target, layout: Layout
) -> tuple[int, ...]:
    """How much of an image the place in the middle of a layer sees, along each spatial axis."""
    (sight,) = receptive_fields(graph, input_tensor, [layer], layout)
    return tuple(high - low for low, high in sight.middle)


def _seen(layer: Target, value: Any, images: Any, layout: Layout) -> list[Any]:
    """Along each spatial axis whether the middle, and a quarter, see each pixel: `(2, pixels)`."""
    axis, sizes = channel_axis(layer, len(value.shape)), value.shape.as_list()
    looked_at = []
    for part, some in ((2, slice(None, _LOOKS)), (4, slice(_LOOKS, None))):
        # The end of an axis that is still open, such as that of words, sees as much as any place.
        place = [-1 if size is None else size // part for size in sizes]
        place[0], place[axis] = some, slice(None)
        looked_at.append(value[tuple(place)])
    (grads,) = tf.gradients(looked_at, [images])
    if grads is None:
        return []
    of_each = tf.reshape(grads != 0, (2, _LOOKS, *grads.shape[1:]))
    return [
        tf.reduce_any(of_each, axis=[i for i in range(1, len(of_each.shape)) if i != axis + 1])
        for axis in layout.axes
    ]


def _ends(along: Any) -> list[tuple[int, int]]:
    """From where to where the pixels are that each of some places sees."""
    found = [np.flatnonzero(pixels) for pixels in along.numpy()]
    return [(int(p[0]), int(p[-1]) + 1) if len(p) else (0, along.shape[1]) for p in found]

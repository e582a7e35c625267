"""Which sizes of images a model takes up to a layer, and how much of them a place there sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, Place, Target, channel_axis
from vis.backend.layers import Folder, Inline
from vis.backend.step.look import nothing
from vis.utils.layout import Layout

_acceptances = WeakCache()
_fields = WeakCache()


def accepts(
    graph: Graph, input_tensor: keras.KerasTensor, layer: Target, shape: Sequence[int]
) -> bool:
    """Whether a model takes images of some shape, up to a layer.

    `input_tensor` is the input, or what is made of it, that the images are values of.
    """
    target = graph.place_of(layer)

    def traces() -> bool:
        specs = [tf.TensorSpec((1, *t.shape[1:]), t.dtype) for t in _others(graph, input_tensor)]
        run = tf.function(
            lambda *values: _value(graph, input_tensor, target, *values), autograph=False
        )
        try:
            run.get_concrete_function(tf.TensorSpec((1, *shape), input_tensor.dtype), *specs)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError):
            return False
        return True

    return _acceptances.get(graph.owner, (Place.of(input_tensor), target, tuple(shape)), traces)


def receptive_field(
    graph: Graph, input_tensor: keras.KerasTensor, layer: Target, layout: Layout
) -> tuple[int, ...]:
    """How much of an image the place in the middle of a layer sees, along each spatial axis.

    It is read off a gradient, so that it holds whatever the layers in between are.
    """
    target = graph.place_of(layer)

    @tf.function(autograph=False)
    def seen() -> list[Any]:
        # Several images, as a rectifier that is shut in one may be open in the next.
        images = tf.random.stateless_uniform((8, *layout.shape), (0, 0), -1, 1, "float32")
        images = tf.cast(images, input_tensor.dtype)
        others = [nothing(t, 8) for t in _others(graph, input_tensor)]
        value = _value(graph, input_tensor, target, images, *others)
        axis = channel_axis(layer, len(value.shape))
        middle = tuple(
            slice(None) if i in (0, axis) else size // 2 for i, size in enumerate(value.shape)
        )
        (grads,) = tf.gradients(value[middle], [images])
        return [
            tf.reduce_any(grads != 0, axis=[i for i in range(len(grads.shape)) if i != axis])
            for axis in layout.axes
        ]

    def extents() -> tuple[int, ...]:
        places = [np.flatnonzero(along.numpy()) for along in seen.get_concrete_function()()]
        return tuple(int(np.ptp(p)) + 1 if len(p) else 1 for p in places)

    return _fields.get(graph.owner, (Place.of(input_tensor), target, layout), extents)


def _others(graph: Graph, input_tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    return [tensor for tensor in graph.inputs if tensor is not input_tensor]


def _value(graph: Graph, input_tensor: keras.KerasTensor, target: Place, *values: Any) -> Any:
    """What a network is at a place, from the value of one input and those of the others."""
    feeds = list(zip([input_tensor, *_others(graph, input_tensor)], values, strict=True))
    return graph.run(feeds, [target], Folder(Inline()))[0]

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
from vis.utils.layout import Layout

_acceptances = WeakCache()
_fields = WeakCache()


def accepts(
    graph: Graph, input_tensor: keras.KerasTensor, layer: Target, shape: Sequence[int]
) -> bool:
    """Whether a model takes images of another size, up to a layer.

    Args:
        graph: The graph of the model.
        input_tensor: The input, or what is made of it, that the images are values of.
        layer: The layer.
        shape: Shape of an image.
    """
    target = graph.place_of(layer)
    key = (Place.of(input_tensor), target, tuple(shape))
    return _acceptances.get(graph.owner, key, lambda: _traces(graph, input_tensor, target, shape))


def _traces(
    graph: Graph, input_tensor: keras.KerasTensor, target: Place, shape: Sequence[int]
) -> bool:
    others = [tensor for tensor in graph.inputs if tensor is not input_tensor]

    @tf.function(autograph=False)
    def run(*values: Any) -> Any:
        feeds = list(zip([input_tensor, *others], values, strict=True))
        return graph.run(feeds, [target], Folder(Inline()))[0]

    specs = [tf.TensorSpec((1, *other.shape[1:]), other.dtype) for other in others]
    try:
        run.get_concrete_function(tf.TensorSpec((1, *shape), input_tensor.dtype), *specs)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError):
        return False
    return True


def receptive_field(
    graph: Graph, input_tensor: keras.KerasTensor, layer: Target, layout: Layout
) -> tuple[int, ...]:
    """How much of an image the place in the middle of a layer sees, along each spatial axis.

    It is read off a gradient, so that it holds whatever the layers in between are.

    Args:
        graph: The graph of the model.
        input_tensor: The input that the images are values of; of the others zeros are shown.
        layer: The layer.
        layout: Shape of an image.
    """
    target = graph.place_of(layer)
    key = (Place.of(input_tensor), target, layout)
    return _fields.get(graph.owner, key, lambda: _seen(graph, input_tensor, target, layer, layout))


def _seen(
    graph: Graph, input_tensor: keras.KerasTensor, target: Place, layer: Target, layout: Layout
) -> tuple[int, ...]:
    @tf.function(autograph=False)
    def seen() -> Any:
        # Several images, as a rectifier that is shut in one may be open in the next.
        images = tf.random.stateless_uniform((8, *layout.shape), (0, 0), -1, 1, "float32")
        images = tf.cast(images, input_tensor.dtype)
        others = [
            (t, tf.zeros([8, *(size or 1 for size in t.shape[1:])], t.dtype))
            for t in graph.inputs
            if t is not input_tensor
        ]
        (value,) = graph.run([(input_tensor, images), *others], [target], Folder(Inline()))
        axis = channel_axis(layer, len(value.shape))
        middle = tuple(
            slice(None) if i in (0, axis) else size // 2 for i, size in enumerate(value.shape)
        )
        (grads,) = tf.gradients(value[middle], [images])
        return [
            tf.reduce_any(grads != 0, axis=[i for i in range(len(grads.shape)) if i != axis])
            for axis in layout.axes
        ]

    extents = [np.flatnonzero(along.numpy()) for along in seen.get_concrete_function()()]
    return tuple(int(np.ptp(places)) + 1 if len(places) else 1 for places in extents)

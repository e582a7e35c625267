"""Receptive fields of layers, and the image sizes that a model accepts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, ModelInputs, Target, TensorRef, channel_axis
from vis.backend.layers import LayerRunner, TracedWeights
from vis.utils.layout import Layout

_accepted_shapes = WeakCache()
_receptive_fields = WeakCache()

# Random images per receptive field.
_IMAGES = 4


def accepts_shape(
    graph: Graph, input_tensor: keras.KerasTensor, layer: Target, shape: Sequence[int]
) -> bool:
    """Whether a model, up to a layer, accepts images of some shape as values of a tensor."""
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

    key = TensorRef.of(input_tensor), target, tuple(shape)
    return _accepted_shapes.get(graph.owner, key, traces)


class ReceptiveField(NamedTuple):
    """The part of an image that a layer's positions depend on: (start, end) along each axis."""

    middle: tuple[tuple[int, int], ...]  # Of the middle position.
    quarter: tuple[tuple[int, int], ...]  # Of the position a quarter of the way along each axis.

    @property
    def size(self) -> tuple[int, ...]:
        """The size in the middle, along each spatial axis."""
        return tuple(end - start for start, end in self.middle)


def receptive_fields(
    inputs: ModelInputs, layers: Sequence[Target], layout: Layout
) -> list[ReceptiveField]:
    """The receptive fields of layers in the input that varies; the whole image without gradients.

    They are measured by gradients, and so are right for any kind of layer.
    """
    graph, (input_tensor,) = inputs.graph, inputs.varying
    targets = tuple(map(graph.ref_of, layers))
    whole = tuple((0, size) for size in layout.spatial_shape)
    shape = (2 * _IMAGES, *layout.shape)
    placeholder = np.zeros(shape, "float32")

    @tf.function(autograph=False)
    def masks() -> list[Any]:
        # Several images: a rectifier that blocks gradients in one may pass them in another.
        images = tf.random.stateless_uniform(shape, (0, 0), -1, 1, "float32")
        images = tf.cast(images, input_tensor.dtype)
        feeds = [
            (tensor, images if tensor is input_tensor else tf.constant(value))
            for tensor, value in zip(inputs.tensors, inputs.complete(placeholder), strict=True)
        ]
        outputs = graph.run(feeds, targets, LayerRunner(TracedWeights()))
        return [_masks(*pair, images, layout) for pair in zip(layers, outputs, strict=True)]

    def measure() -> list[ReceptiveField]:
        if not graph.gradient_flow.has_gradient(input_tensor):
            return [ReceptiveField(whole, whole) for _ in layers]
        return [
            ReceptiveField(*zip(*map(_extents, axes), strict=True))
            if axes
            else ReceptiveField(whole, whole)
            for axes in masks.get_concrete_function()()
        ]

    key = TensorRef.of(input_tensor), targets, layout, inputs.fixed_digest()
    return _receptive_fields.get(graph.owner, key, measure)


def _masks(layer: Target, output: Any, images: Any, layout: Layout) -> list[Any]:
    """For each spatial axis the pixels that both positions depend on, `(2, pixels)`, as a mask."""
    axis, sizes = channel_axis(layer, len(output.shape)), output.shape.as_list()
    positions = []
    for part, samples in ((2, slice(None, _IMAGES)), (4, slice(_IMAGES, None))):
        # On an axis of unknown size, such as that of words, the last position will do.
        index = [-1 if size is None else size // part for size in sizes]
        index[0], index[axis] = samples, slice(None)
        positions.append(output[tuple(index)])
    (grads,) = tf.gradients(positions, [images])
    if grads is None:
        return []
    depends = tf.reshape(grads != 0, (2, _IMAGES, *grads.shape[1:]))
    return [
        tf.reduce_any(depends, axis=[i for i in range(1, len(depends.shape)) if i != axis + 1])
        for axis in layout.axes
    ]


def _extents(mask: Any) -> list[tuple[int, int]]:
    """The start and end of the pixels that each position depends on."""
    indices = [np.flatnonzero(pixels) for pixels in mask.numpy()]
    return [(int(i[0]), int(i[-1]) + 1) if len(i) else (0, mask.shape[1]) for i in indices]

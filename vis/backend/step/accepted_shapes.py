"""Image sizes that a model accepts."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, Target, TensorRef
from vis.backend.layers import LayerRunner, TracedWeights

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

"""Layers whose batch axis does not hold the images, such as attention in windows.

They cut each image into several samples, in an order of their own. It is not known which image a
value belongs to, so such layers are refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from vis.backend.graph import hidden_layers
from vis.backend.graph.nodes import topological_order
from vis.backend.graph.structure import GraphStructure
from vis.backend.graph.tensor_refs import TensorRef
from vis.backend.private import layers_inside, node_of, with_layers_inside

# The message begins so; errors of traces with an open batch size are recognised by it.
SAMPLES_ERROR = "`layer` must have one sample for each image"


def has_one_sample_per_image(layer: Any) -> bool:
    """Whether a hidden layer has as many samples as there are images."""
    first = hidden_layers.output_specs(layer)[:1]
    return all(not o.shape or o.shape[0] is None for outputs in first for o in outputs)


def check_specs(graph: GraphStructure, ref: TensorRef) -> None:
    """Raises a `ValueError` if a hidden layer does not have one sample per image."""
    samples = ref.shape[0] if ref.shape else None
    if samples is not None:
        raise ValueError(_message(ref, f"{samples} samples of one image", _around(graph, ref)))


def check_samples(
    graph: GraphStructure, ref: TensorRef, value: Any, images: Any, values: Mapping[int, Any]
) -> None:
    """Raises a `ValueError` unless a value has one sample per image.

    It is raised at once if the batch size is known, and otherwise when the function runs.


    `values` are those of other tensors, by `id`.
    """
    if not value.shape.rank or value.shape[0] == images.shape[0] is not None:
        return
    if ref.is_hidden:
        names = _around(graph, ref)
    else:
        names = _before(ref, images.shape[0], values) if images.shape[0] else iter(())
    if value.shape[0] is None or images.shape[0] is None:
        counts = tf.shape(value)[0], tf.shape(images)[0]
        text = _message(ref, "more samples than images", names)
        tf.debugging.assert_equal(*counts, message=text)
        return
    received = f"{value.shape[0]} samples of {images.shape[0]} image{'s' * (images.shape[0] != 1)}"
    raise ValueError(_message(ref, received, names))


def _message(ref: TensorRef, received: str, names: Iterator[str]) -> str:
    name = next(names, None)
    choice = f"such as '{name}'" if name else "before or after its windows"
    return (
        f"{SAMPLES_ERROR}; windows and other parts of an image cannot be told apart. Choose "
        f"another layer, {choice}. Received: layer '{ref.operation().name}' with {received}"
    )


def _around(graph: GraphStructure, ref: TensorRef) -> Iterator[str]:
    """Layers around a hidden layer that have one sample per image, by name, innermost first."""
    layer = ref.operation()
    around = [
        outer
        for operation in graph.opaque_layers
        for outer in with_layers_inside(operation)
        if layer in layers_inside(outer)
    ]
    for outer in sorted(around, key=lambda outer: len(layers_inside(outer))):
        is_known = graph.in_graph(outer) or hidden_layers.has_specs(outer)
        if is_known and (graph.in_graph(outer) or has_one_sample_per_image(outer)):
            yield outer.name


def _before(ref: TensorRef, images: int, values: Mapping[int, Any]) -> Iterator[str]:
    """Earlier layers that have one sample per image, by name, nearest first."""
    for node in reversed(topological_order([ref.tensor], (), node_of)):
        shapes = [values[id(t)].shape for t in node.outputs if values.get(id(t)) is not None]
        is_layer = isinstance(node.operation, keras.Layer) and not node.is_input
        if is_layer and shapes and all(s.rank and s[0] == images for s in shapes):
            yield node.operation.name

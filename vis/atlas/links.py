"""Links between channels: how much those of some layers contribute to those of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from vis.backend import device
from vis.backend.graph import Graph, LayerOutput, Target, filters_of
from vis.backend.layers import Prepared
from vis.backend.step import Wanted, accepts, links_of
from vis.utils.validation import check_images, check_indices

_ON_GPU = 16
# Images in flight for each thread of a processor; more crowd each other out of the caches.
_PER_THREAD = 2


def contributions(
    model: keras.Model,
    layer: Any,
    channels: Any,
    before: Sequence[Any],
    before_channels: Sequence[Any],
    images: np.ndarray,
    batch_size: int | None = None,
) -> list[np.ndarray]:
    """How much channels of layers contribute to channels of a layer behind them.

    The score of a channel is the mean over all places of its activation, before the softmax of a
    layer that ends in one. What a channel before it contributes is its activation times the
    gradient of the score, summed over its places: what the score would lose without it, were the
    network linear in between (Shrikumar et al., "Not Just a Black Box", arXiv:1605.01713). It is
    averaged over the images.

    Args:
        model: A Keras model with one input.
        layer: The layer behind, as `layer_idx` in `visualize_activation`.
        channels: Its channels: a list of indices, or None for all.
        before: Layers that its output is computed with.
        before_channels: For each of these its channels.
        images: Images as the model takes them, `(images, ...)`, or as it takes them up to the
            layer, where that can be of another size.
        batch_size: Most images at a time; by default twice as many as there are processors. The
            numbers do not depend on it without a GPU.

    Returns:
        For each layer before it an array `(channels, channels before)` of float32.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value, or a layer does not lie before the other.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((2,)), keras.layers.Dense(2, name="first"), keras.layers.Dense(1)]
        ... )
        >>> model.set_weights(
        ...     [np.eye(2), np.zeros(2), np.array([[3.0], [-1.0]]), np.zeros(1)]
        ... )
        >>> contributions(model, -1, None, ["first"], [None], np.array([[1.0, 2.0], [3.0, 4.0]]))
        [array([[ 6., -3.]], dtype=float32)]
    """
    graph = Graph.of(model)
    targets = [graph.find(layer, "layer"), *(graph.find(one, "before") for one in before)]
    _check_behind(graph, *targets)
    chosen = [
        _indices(name, target, some)
        for name, target, some in zip(
            ("channels", *("before_channels" for _ in before)),
            targets,
            (channels, *_of_each(before_channels, len(before))),
            strict=True,
        )
    ]
    images = _images(graph, targets[0], images)
    links, prepared = links_of(graph, [Wanted.of(graph, t) for t in targets]), Prepared()
    most = batch_size or (_ON_GPU if device.has_gpu() else _PER_THREAD * device.processors())
    sums = [np.zeros((len(chosen[0]), len(some))) for some in chosen[1:]]
    for first in range(0, len(images), most):
        found = links(graph, prepared, [images[first : first + most]], chosen)
        for total, of_images in zip(sums, found, strict=True):
            # One by one, so that the rounding is that of any other batch size.
            for of_image in of_images:
                total += of_image
    return [(total / len(images)).astype("float32") for total in sums]


def directly_before(graph: Graph, layers: Sequence[Target]) -> list[list[int]]:
    """For each of some layers the positions of those before it, with no other of them in between.

    Args:
        graph: The graph.
        layers: Layers of it.

    Example:
        >>> layers = [keras.layers.Dense(2) for _ in range(3)]
        >>> graph = Graph.of(keras.Sequential([keras.Input((2,)), *layers]))
        >>> directly_before(graph, layers)
        [[], [0], [1]]
    """
    own = [LayerOutput.of(layer).layer for layer in layers]
    reached = [graph.before(layer) for layer in own]
    before = [
        {i for i, other in enumerate(own) if other is not layer and id(other) in found}
        for layer, found in zip(own, reached, strict=True)
    ]
    return [sorted(found - {j for i in found for j in before[i]}) for found in before]


def _check_behind(graph: Graph, layer: Target, *before: Target) -> None:
    reached = graph.before(LayerOutput.of(layer).layer)
    for one in before:
        own = LayerOutput.of(one).layer
        if own is LayerOutput.of(layer).layer or id(own) not in reached:
            raise ValueError(
                f"`before` must hold layers that the output of layer '{layer.name}' is computed "
                f"with. Received: layer '{one.name}'"
            )


def _of_each(channels: Sequence[Any], layers: int) -> Sequence[Any]:
    if not isinstance(channels, (list, tuple)) or len(channels) != layers:
        raise ValueError(
            f"`before_channels` must be a list with the channels of each of the {layers} layers "
            f"before. Received: before_channels={channels!r}"
        )
    return channels


def _indices(name: str, layer: Target, channels: Any) -> list[int]:
    _, _, count = filters_of(layer)
    some = range(count) if channels is None else channels
    return check_indices(name, some, count, of=f"layer '{layer.name}'")


def _images(graph: Graph, layer: Target, images: Any) -> np.ndarray:
    """The images as the model takes them, of another size if it takes that up to the layer."""
    if len(graph.inputs) != 1:
        raise ValueError(
            f"`model` must have one input. Received: a model with {len(graph.inputs)} inputs"
        )
    (tensor,) = graph.inputs
    shape = tuple(tensor.shape[1:])
    given = tuple(np.shape(images)[1:])
    if len(given) == len(shape) > 1 and accepts(graph, tensor, layer, given):
        shape = given
    return check_images("images", images, shape).astype(tensor.dtype)

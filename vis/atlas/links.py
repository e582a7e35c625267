"""Links between channels: gradient times activation."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from vis._core.model_inputs import inputs_for_images
from vis.backend import device
from vis.backend.graph import Graph, LayerOutput, ModelInputs, Target, filters_of
from vis.backend.layers import WeightCache
from vis.backend.step import Contributions, accepts_shape
from vis.utils.validation import check_images, check_indices


def contributions(
    model: keras.Model,
    layer: Any,
    channels: Any,
    earlier_layers: Sequence[Any],
    earlier_channels: Sequence[Any],
    images: np.ndarray,
    own_images: bool = False,
    batch_size: int | None = None,
) -> list[np.ndarray]:
    """Gradient times activation of channels of earlier layers, for channels of a layer.

    The score of a channel is its mean activation over all positions, before a final softmax. The
    contribution of an earlier channel is its activation times the gradient of the score, summed
    over positions: the change of the score without that channel, if the network were linear in
    between (Shrikumar et al., "Not Just a Black Box", arXiv:1605.01713). Contributions are
    averaged over `images`, or with `own_images` computed on one image for each channel. Without a
    GPU they do not depend on the batch size. Channels are indices, or None for all.

    Returns:
        For each earlier layer: an array `(channels, earlier channels)` of float32.
    """
    graph = Graph.of(model, images)
    inputs, target = inputs_for_images(graph, None), graph.find(layer)
    earlier = [graph.find(other) for other in earlier_layers]
    indices = _indices(target, channels)
    earlier_indices = [_indices(*pair) for pair in zip(earlier, earlier_channels, strict=True)]
    images = _check_images(inputs, target, images)
    batch_size = batch_size or device.default_batch_size()
    rows = np.broadcast_to(indices, (len(images), len(indices)))
    if own_images:
        rows = np.array(indices)[:, None]
    compute, weight_cache = Contributions.of(inputs, target, earlier), WeightCache()
    totals = [np.zeros((len(indices), len(columns))) for columns in earlier_indices]
    for first in range(0, len(images), batch_size):
        batch = slice(first, first + batch_size)
        values = inputs.complete(images[batch])
        results = compute(graph, weight_cache, values, [rows[batch], *earlier_indices])
        for total, result in zip(totals, results, strict=True):
            # One image at a time, so that rounding does not depend on the batch size.
            for number, value in enumerate(result, first):
                part = total[number : number + 1] if own_images else total
                part += value
    return [(total / (1 if own_images else len(images))).astype("float32") for total in totals]


def direct_predecessors(graph: Graph, layers: Sequence[Target]) -> list[list[int]]:
    """For each layer: positions of the layers before it, without any of the others in between.

    For a chain of three layers this is `[[], [0], [1]]`.
    """
    layers = [LayerOutput.of(layer).layer for layer in layers]
    upstream = [graph.upstream(layer) - {id(layer)} for layer in layers]
    before = [{i for i, other in enumerate(layers) if id(other) in ids} for ids in upstream]
    return [sorted(own - {j for i in own for j in before[i]}) for own in before]


def _indices(layer: Target, channels: Any) -> list[int]:
    _, _, count = filters_of(layer)
    indices = range(count) if channels is None else channels
    return check_indices("channels", indices, count, of=f"layer '{layer.name}'")


def _check_images(inputs: ModelInputs, layer: Target, images: Any) -> np.ndarray:
    """The images as an array, of another size if the model accepts that up to the layer."""
    (tensor,) = inputs.varying
    shape, received = tuple(tensor.shape[1:]), tuple(np.shape(images)[1:])
    is_resized = len(received) == len(shape) > 1 and received != shape
    if is_resized and accepts_shape(inputs.graph, tensor, layer, received):
        shape = received
    return check_images("images", images, shape)

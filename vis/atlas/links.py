"""Links between channels: how much those of some layers contribute to those of another."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from vis.backend import device
from vis.backend.graph import Graph, LayerOutput, Target, filters_of
from vis.backend.layers import WeightCache
from vis.backend.step import accepts, links_of
from vis.utils.validation import check_flag, check_images, check_indices, check_integer
from vis.visualization.feeds import Feeds


def contributions(
    model: keras.Model,
    layer: Any,
    channels: Any,
    before: Sequence[Any],
    before_channels: Sequence[Any],
    images: np.ndarray,
    own_images: bool = False,
    fixed_inputs: Any = None,
    batch_size: int | None = None,
) -> list[np.ndarray]:
    """How much channels of layers contribute to channels of a layer behind them.

    The score of a channel is the mean over all places of its activation, before the softmax of a
    layer that ends in one. What a channel before it contributes is its activation times the
    gradient of the score, summed over its places: what the score would lose without it, were the
    network linear in between (Shrikumar et al., "Not Just a Black Box", arXiv:1605.01713). It is
    averaged over the images, or with `own_images` read off one image for each channel.

    Layers are given as `layer_idx` in `visualize_activation`, channels as indices or None for all.
    Images are such as the model takes, `(images, ...)`, or takes up to the layer, where that can be
    of another size; `fixed_inputs` are the values of all inputs but that one. Without a GPU the
    numbers do not depend on `batch_size`, by default twice as many as there are processors.

    Returns:
        For each layer before it an array `(channels, channels before)` of float32.
    """
    graph = Graph.of(model)
    behind, feeds = graph.find(layer, "layer"), Feeds.of(graph, fixed_inputs)
    targets = [graph.find(one, "before") for one in _check_list("before", before)]
    _check_behind(graph, behind, targets)
    wanted = _indices("channels", behind, channels)
    each = _check_list("before_channels", before_channels)
    if len(each) != len(targets):
        raise ValueError(
            f"`before_channels` must have the channels of each of the {len(targets)} layers "
            f"before. Received: before_channels={before_channels!r}"
        )
    chosen = [_indices("before_channels", *pair) for pair in zip(targets, each, strict=True)]
    images = _images(feeds, behind, images)
    most = device.images_at_once()
    if batch_size is not None:
        most = check_integer("batch_size", batch_size, least=1)
    rows = np.broadcast_to(wanted, (len(images), len(wanted)))
    if check_flag("own_images", own_images):
        if len(images) != len(wanted):
            raise ValueError(
                f"`images` must hold one image for each of the {len(wanted)} channels. "
                f"Received: {len(images)} images"
            )
        rows = np.array(wanted)[:, None]
    links, weight_cache = links_of(graph, behind, targets), WeightCache()
    sums = [np.zeros((len(wanted), len(some))) for some in chosen]
    for first in range(0, len(images), most):
        some = slice(first, first + most)
        parts = links(graph, weight_cache, feeds.shown(images[some]), [rows[some], *chosen])
        for total, contributions in zip(sums, parts, strict=True):
            for number, of_image in enumerate(contributions, first):
                # One by one, so that the rounding is that of any other batch size.
                of_channel = total[number : number + 1] if own_images else total
                of_channel += of_image
    return [(total / (1 if own_images else len(images))).astype("float32") for total in sums]


def directly_before(graph: Graph, layers: Sequence[Target]) -> list[list[int]]:
    """For each of some layers the positions of those before it, with no other of them in between.

    Of a chain of three layers that is `[[], [0], [1]]`.
    """
    own = [LayerOutput.of(layer).layer for layer in layers]
    reached = [graph.upstream(layer) for layer in own]
    before = [
        {i for i, other in enumerate(own) if other is not layer and id(other) in found}
        for layer, found in zip(own, reached, strict=True)
    ]
    return [sorted(found - {j for i in found for j in before[i]}) for found in before]


def _check_behind(graph: Graph, layer: Target, before: Sequence[Target]) -> None:
    graph.check_has("layer", layer)
    own = LayerOutput.of(layer).layer
    reached = graph.upstream(own)
    for other in before:
        earlier = LayerOutput.of(other).layer
        if earlier is own or id(earlier) not in reached:
            raise ValueError(
                f"`before` must hold layers that the output of layer '{layer.name}' is computed "
                f"with. Received: layer '{other.name}'"
            )


def _check_list(name: str, values: Any) -> list[Any]:
    if not isinstance(values, (list, tuple)) or isinstance(values, LayerOutput) or not values:
        raise TypeError(
            f"`{name}` must be a list with at least one entry. Received: {name}={values!r}"
        )
    return list(values)


def _indices(name: str, layer: Target, channels: Any) -> list[int]:
    _, _, count = filters_of(layer)
    some = range(count) if channels is None else channels
    return check_indices(name, some, count, of=f"layer '{layer.name}'")


def _images(feeds: Feeds, layer: Target, images: Any) -> np.ndarray:
    """The images as the model takes them, of another size if it takes that up to the layer."""
    shape, given = tuple(feeds.tensor.shape[1:]), tuple(np.shape(images)[1:])
    is_size = len(given) == len(shape) > 1 and given != shape
    if is_size and accepts(feeds.graph, feeds.tensor, layer, given):
        shape = given
    return check_images("images", images, shape)

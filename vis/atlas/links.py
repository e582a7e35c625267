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
from vis.utils.validation import check_flag, check_images, check_indices, check_integer


def contributions(
    model: keras.Model,
    layer: Any,
    channels: Any,
    earlier_layers: Sequence[Any],
    earlier_channels: Sequence[Any],
    images: np.ndarray,
    own_images: bool = False,
    fixed_inputs: Any = None,
    batch_size: int | None = None,
) -> list[np.ndarray]:
    """Gradient times activation of channels of earlier layers, for channels of a layer.

    The score of a channel is its mean activation over all positions, before a final softmax. The
    contribution of an earlier channel is its activation times the gradient of the score, summed
    over positions: the change of the score without that channel, if the network were linear in
    between (Shrikumar et al., "Not Just a Black Box", arXiv:1605.01713). Contributions are
    averaged over images. Without a GPU they do not depend on the batch size.

    Args:
        model: A Keras model.
        layer: The layer, as `layer_idx` in `visualize_activation`.
        channels: Indices of its channels, or None for all.
        earlier_layers: Layers that the output of the layer is computed from.
        earlier_channels: For each earlier layer: indices of its channels, or None for all.
        images: Images `(images, ...)` for the model. Another image size is allowed if the model
            accepts it up to the layer.
        own_images: Whether there is one image for each channel, instead of averaging over images.
        fixed_inputs: Values of all inputs but one.
        batch_size: Inference batch size. Defaults to twice the number of processors.

    Returns:
        For each earlier layer: an array `(channels, earlier channels)` of float32.
    """
    graph = Graph.of(model)
    target, inputs = graph.find(layer, "layer"), inputs_for_images(graph, fixed_inputs)
    earlier_layers = _check_list("earlier_layers", earlier_layers)
    earlier = [graph.find(one, "earlier_layers") for one in earlier_layers]
    _check_order(graph, target, earlier)
    indices = _indices("channels", target, channels)
    earlier_indices = _earlier_indices(earlier, earlier_channels)
    images = _check_images(inputs, target, images)
    batch_size = (
        device.default_batch_size()
        if batch_size is None
        else check_integer("batch_size", batch_size, least=1)
    )
    rows = np.broadcast_to(indices, (len(images), len(indices)))
    if check_flag("own_images", own_images):
        if len(images) != len(indices):
            raise ValueError(
                f"`images` must hold one image for each of the {len(indices)} channels. "
                f"Received: {len(images)} images"
            )
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
    own = [LayerOutput.of(layer).layer for layer in layers]
    upstream = [graph.upstream(layer) for layer in own]
    before = [
        {i for i, other in enumerate(own) if other is not layer and id(other) in reachable}
        for layer, reachable in zip(own, upstream, strict=True)
    ]
    return [sorted(all_ - {j for i in all_ for j in before[i]}) for all_ in before]


def _check_order(graph: Graph, layer: Target, earlier: Sequence[Target]) -> None:
    graph.check_has("layer", layer)
    own = LayerOutput.of(layer).layer
    upstream = graph.upstream(own)
    for target in earlier:
        other = LayerOutput.of(target).layer
        if other is own or id(other) not in upstream:
            raise ValueError(
                "`earlier_layers` must be layers that the output of layer "
                f"'{layer.name}' is computed from. Received: layer '{target.name}'"
            )


def _check_list(name: str, values: Any) -> list[Any]:
    if not isinstance(values, (list, tuple)) or isinstance(values, LayerOutput) or not values:
        raise TypeError(
            f"`{name}` must be a list with at least one entry. Received: {name}={values!r}"
        )
    return list(values)


def _earlier_indices(earlier: Sequence[Target], channels: Any) -> list[list[int]]:
    per_layer = _check_list("earlier_channels", channels)
    if len(per_layer) != len(earlier):
        raise ValueError(
            f"`earlier_channels` must have an entry for each of the {len(earlier)} earlier "
            f"layers. Received: earlier_channels={channels!r}"
        )
    pairs = zip(earlier, per_layer, strict=True)
    return [_indices("earlier_channels", layer, own) for layer, own in pairs]


def _indices(name: str, layer: Target, channels: Any) -> list[int]:
    _, _, count = filters_of(layer)
    indices = range(count) if channels is None else channels
    return check_indices(name, indices, count, of=f"layer '{layer.name}'")


def _check_images(inputs: ModelInputs, layer: Target, images: Any) -> np.ndarray:
    """The images as an array `(images, ...)`, of another size if the model accepts that."""
    (tensor,) = inputs.varying
    shape, received = tuple(tensor.shape[1:]), tuple(np.shape(images)[1:])
    is_resized = len(received) == len(shape) > 1 and received != shape
    if is_resized and accepts_shape(inputs.graph, tensor, layer, received):
        shape = received
    return check_images("images", images, shape)

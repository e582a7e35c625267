"""Class activation maps (CAM): weighted sums of feature maps."""

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np

from vis._core.objective import Objective
from vis.backend.graph import Axis, Geometry, ModelInputs, Target, channel_axis, spatial_axes
from vis.visualization.attribution.base import Attribution, LossPairs
from vis.visualization.attribution.maps import (
    MAX_BATCH_SIZE,
    batches,
    is_zero,
    place_maps,
    scale_maps,
)
from vis.visualization.attribution.penultimate_layer import (
    PenultimateLayers,
    default_penultimate_layer,
    find_penultimate_layers,
)
from vis.visualization.attribution.score import Score


class CAM(Attribution):
    """Class activation map (CAM): base class of weighted sums of feature maps.

    The sum is rectified and resized to the image. A subclass defines `weighted_features`. In a
    transformer, the tokens of patches are the positions of the feature maps. Class tokens and
    other tokens without a place in the image are left out.

    Args:
        penultimate_layer_idx: The layer of the feature maps: index, name or layer. The default is
            the nearest convolution or pooling layer before the layer that is explained; in a
            transformer, the last layer at whose patch tokens the score has a gradient. A list of
            layers gives the mean of their maps, each scaled to [0, 1].
        backprop_modifier: A name in `vis.backprop_modifiers`, a function from model to model, or
            None.
    """

    reason_of_zeros = "the feature maps, or their weights, are 0"

    def __init__(
        self,
        penultimate_layer_idx: PenultimateLayers = None,
        *,
        backprop_modifier: str | Callable | None = None,
    ) -> None:
        self.penultimate_layer_idx = penultimate_layer_idx
        self.backprop_modifier = backprop_modifier

    def weighted_features(self, score: Score, images: np.ndarray, layer: keras.Layer) -> np.ndarray:
        """A layer's feature maps for images, `(samples, spatial..., channels)`, times weights."""
        raise NotImplementedError(
            f"`weighted_features` must be defined by subclasses of `CAM`. Received: {type(self)}"
        )

    def feature_layers(self, losses: LossPairs, inputs: ModelInputs) -> list[Target]:
        if self.penultimate_layer_idx is None:
            return [default_penultimate_layer(inputs, losses)]
        explained = Objective(losses, inputs.graph).operations()
        return find_penultimate_layers(inputs.graph, explained, self.penultimate_layer_idx)

    def measure(self, score: Score, images: np.ndarray, *layers: Target) -> np.ndarray:
        return self.fuse_maps(score, images, layers)

    def fuse_maps(self, score: Score, images: np.ndarray, layers: Sequence[Target]) -> np.ndarray:
        """The map of one layer, or the mean of the scaled maps of several layers."""
        maps = [self._map(score, images, layer) for layer in layers]
        return maps[0] if len(maps) == 1 else np.mean([scale_maps(m) for m in maps], axis=0)

    def _map(self, score: Score, images: np.ndarray, layer: Target) -> np.ndarray:
        # Feature maps take much more memory than images and maps.
        maps = [
            self.weighted_features(score.for_samples(c), images[c], layer).sum(axis=-1)
            for c in batches(len(images), MAX_BATCH_SIZE)
        ]
        sums = np.concatenate(maps)
        is_rectified = (sums.max(axis=tuple(range(1, sums.ndim))) <= 0) & ~is_zero(sums)
        if is_rectified.any():
            score.note(f"all weighted activations of layer '{layer.name}' are negative")
        return self._place(score, layer, images.shape[1:], np.maximum(sums, 0))

    def _place(
        self, score: Score, layer: Target, shape: Sequence[int], maps: np.ndarray
    ) -> np.ndarray:
        """Lays maps of a layer's positions, `(samples, positions...)`, over images."""
        axes = spatial_axes(score.input_tensor)
        geometry = score.geometry(layer, shape)
        if not axes or not {*geometry.image_axes} & {*axes}:
            raise ValueError(
                "`penultimate_layer_idx` must be a layer with the spatial axes of the input, at "
                f"least one of them. Received: layer '{layer.name}' with an output of shape "
                f"{score.output_ref(layer).shape}, and an input of shape {score.input_tensor.shape}"
            )
        positions = [
            axis if axis.size == size else axis._replace(size=size, start=0)
            for axis, size in zip(_positions(geometry, layer), maps.shape[1:], strict=True)
        ]
        return place_maps(maps, positions, {axis: shape[axis - 1] for axis in axes})

    def features(
        self, score: Score, layer: Target, shape: Sequence[int], values: np.ndarray
    ) -> np.ndarray:
        """A layer's activations, or their gradients, with the channels last.

        Tokens without a place in images of the given shape are left out.
        """
        geometry = score.geometry(layer, shape)
        values = np.moveaxis(values, _channel_axis(geometry, layer), -1)
        for number, axis in enumerate(_positions(geometry, layer), 1):
            if axis.has_tokens:
                placed = math.prod(span.length for span in axis.spans)
                values = values.take(range(axis.start, axis.start + placed), axis=number)
        return values


def _channel_axis(geometry: Geometry, layer: Target) -> int:
    return (geometry.tokens and geometry.channel_axis) or channel_axis(
        layer, len(geometry.axes) + 1
    )


def _positions(geometry: Geometry, layer: Target) -> list[Axis]:
    channels = _channel_axis(geometry, layer)
    return [axis for number, axis in enumerate(geometry.axes, 1) if number != channels]

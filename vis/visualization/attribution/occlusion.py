"""Occlusion sensitivity, which needs no gradients."""

import itertools
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from vis.backend.graph import spatial_axes, warn_of_range
from vis.utils.validation import check_integer, check_number, check_sizes, expect, per_axis
from vis.visualization.attribution.base import Attribution
from vis.visualization.attribution.maps import batches, warn_of_empty
from vis.visualization.attribution.score import Score

# The default patch is this many times smaller than the image.
_PATCHES_PER_AXIS = 7
# Differences of scores of up to so many units in the last place are rounding errors.
_ROUNDING = 4


class Occlusion(Attribution):
    """Occlusion sensitivity: how much the score falls when a patch of the image is covered.

    Each pixel has the mean over the patches that cover it. `attributions` are negative if covering
    raises the score. The map shows positive values only.

    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
    https://arxiv.org/abs/1311.2901, section 4.2.

    Args:
        patch: Patch size in pixels: an integer, or one per spatial axis. The default is a seventh
            of the image.
        stride: Distance between patches in pixels: an integer, or one per spatial axis. The
            default is half the patch size.
        fill: Value of the patch. The default is the image's mean per channel.
        batch_size: Number of covered images per batch.

    Example:
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
        >>> image = np.zeros((4, 4, 1))
        >>> image[1, 2] = 1
        >>> Occlusion(patch=1, fill=0)(model, image, filter_indices=6)
        array([[0., 0., 0., 0.],
               [0., 0., 1., 0.],
               [0., 0., 0., 0.],
               [0., 0., 0., 0.]])
    """

    reason_of_zeros = "covering any patch leaves the score as it is"

    def __init__(
        self,
        patch: int | Sequence[int] | None = None,
        *,
        stride: int | Sequence[int] | None = None,
        fill: float | None = None,
        batch_size: int = 16,
    ) -> None:
        self.patch = None if patch is None else check_sizes("patch", patch)
        self.stride = None if stride is None else check_sizes("stride", stride)
        self.fill = None if fill is None else check_number("fill", fill)
        self.batch_size = check_integer("batch_size", batch_size, least=1)

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        if self.fill is not None:
            warn_of_range(score.input_tensor, np.array(self.fill), "fill")
        scores = score.values(images)
        maps = score.map_samples(self._of_sample, np.asarray(images, "float32"), scores)
        largest = np.abs(maps).reshape(len(maps), -1).max(axis=1)
        limit = _ROUNDING * np.finfo(scores.dtype).eps * np.abs(scores)
        reason = "covering any patch changes the score by rounding errors only"
        advice = "A sigmoid may be saturated: explain the layer, or the activation, before it."
        warn_of_empty((largest > 0) & (largest <= limit), reason, advice)
        return maps

    def _of_sample(self, score: Score, image: np.ndarray, image_score: float) -> np.ndarray:
        # The features of a vector are treated as pixels.
        axes = tuple(axis - 1 for axis in spatial_axes(score.input_tensor) or (1,))
        spatial_shape = tuple(image.shape[axis] for axis in axes)
        fill = image.mean(axis=axes, keepdims=True) if self.fill is None else self.fill
        patches = list(self._patches(spatial_shape))
        total, count = np.zeros(spatial_shape), np.zeros(spatial_shape)
        leading = (slice(None),) * axes[0]
        for batch in batches(len(patches), self.batch_size):
            covered = np.repeat(image[None], len(patches[batch]), axis=0)
            for copy, patch in zip(covered, patches[batch], strict=True):
                copy[leading + patch] = fill
            for patch, value in zip(patches[batch], score.values(covered), strict=True):
                total[patch] += image_score - value
                count[patch] += 1
        return total / count

    def _patches(self, spatial_shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
        """All positions of the patch. Together they cover the image."""
        patch, stride = self.patch, self.stride
        if patch is None:
            patch = tuple(max(1, round(size / _PATCHES_PER_AXIS)) for size in spatial_shape)
        sizes = per_axis("patch", patch, range(len(spatial_shape))).values()
        if stride is None:
            stride = tuple(max(1, size // 2) for size in sizes)
        strides = per_axis("stride", stride, range(len(spatial_shape))).values()
        slices = []
        for size, step, length in zip(sizes, strides, spatial_shape, strict=True):
            expect(
                step <= size <= length,
                "stride",
                f"be at most `patch`, and `patch` at most the image size {spatial_shape}",
                f"patch={self.patch}, stride={self.stride}",
            )
            starts = [*range(0, length - size, step), length - size]
            slices.append([slice(start, start + size) for start in starts])
        return itertools.product(*slices)

    def to_maps(self, attributions: np.ndarray, tensor: keras.KerasTensor) -> np.ndarray:
        return np.maximum(super().to_maps(attributions, tensor), 0)

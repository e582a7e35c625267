"""Occlusion sensitivity, which needs nothing but the score."""

import itertools
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from vis.backend.graph import spatial_axes
from vis.utils.validation import check_integer, check_number, check_sizes, expect, per_axis
from vis.visualization.attribution.base import Attribution
from vis.visualization.attribution.maps import batches
from vis.visualization.attribution.score import Score

# A patch is so many times smaller than the image, and moved by half its size.
_PATCHES_ALONG_AN_AXIS = 7


class Occlusion(Attribution):
    """How much the score falls when a patch of the image is covered.

    Each place is given the mean over the patches that cover it. The map shows where covering
    lowers the score; `attributions` also holds where it raises it, as negative numbers.

    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
    https://arxiv.org/abs/1311.2901, section 4.2.

    Args:
        patch: Its size in pixels, for all spatial axes or each; a seventh of the image by default.
        stride: By how many pixels it is moved; half its size by default.
        fill: What the patch shows; the image's mean colour by default.
        batch_size: How many covered images are shown to the model at once.

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

    def __init__(
        self,
        patch: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        fill: float | None = None,
        batch_size: int = 16,
    ) -> None:
        self.patch = None if patch is None else check_sizes("patch", patch)
        self.stride = None if stride is None else check_sizes("stride", stride)
        self.fill = None if fill is None else check_number("fill", fill)
        self.batch_size = check_integer("batch_size", batch_size, least=1)

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        whole = score.values(images)
        return score.map_samples(self._of_sample, np.asarray(images, "float32"), whole)

    def _of_sample(self, score: Score, image: np.ndarray, whole: float) -> np.ndarray:
        # A plain vector has its features in place of pixels.
        axes = tuple(axis - 1 for axis in spatial_axes(score.input_tensor) or (1,))
        shape = tuple(image.shape[axis] for axis in axes)
        fill = image.mean(axis=axes, keepdims=True) if self.fill is None else self.fill
        patches = list(self._patches(shape))
        falls, covered = np.zeros(shape), np.zeros(shape)
        before = (slice(None),) * axes[0]
        for batch in batches(len(patches), self.batch_size):
            places = patches[batch]
            images = np.repeat(image[None], len(places), axis=0)
            for copy, place in zip(images, places, strict=True):
                copy[before + place] = fill
            for place, value in zip(places, score.values(images), strict=True):
                falls[place] += whole - value
                covered[place] += 1
        return falls / covered

    def _patches(self, shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
        """All places of the patch, which together cover the image."""
        patch, stride = self.patch, self.stride
        if patch is None:
            patch = tuple(max(1, round(size / _PATCHES_ALONG_AN_AXIS)) for size in shape)
        sizes = per_axis("patch", patch, range(len(shape))).values()
        if stride is None:
            stride = tuple(max(1, size // 2) for size in sizes)
        steps = per_axis("stride", stride, range(len(shape))).values()
        along = []
        for size, step, whole in zip(sizes, steps, shape, strict=True):
            image = f"the image of shape {shape}"
            expected = f"not be greater than `patch`, nor `patch` greater than {image}"
            received = f"patch={self.patch}, stride={self.stride}"
            expect(step <= size <= whole, "stride", expected, received)
            starts = [*range(0, whole - size, step), whole - size]
            along.append([slice(start, start + size) for start in starts])
        return itertools.product(*along)

    def to_maps(self, attributions: np.ndarray, tensor: keras.KerasTensor) -> np.ndarray:
        return np.maximum(attributions, 0)

"""Where in an image the places of a layer look, and maps of a layer over what they see."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vis.backend.step import ReceptiveField
from vis.parametrizations.resampling import overlaps

# Most cells of a map along an axis.
_MOST_CELLS = 16
# Cells that overlap less with any place have none.
_LEAST_OVERLAP = 1e-9


class Axis(NamedTuple):
    """How the places of a layer look at an image, along one axis of both."""

    places: int
    pixels: int
    low: float  # The first pixel that the place in the middle sees.
    high: float  # The pixel behind the last one that it sees.
    stride: float  # By how many pixels what a place sees lies behind what the one before it sees.

    @property
    def sees_all(self) -> bool:
        """Whether each place is taken to see all pixels."""
        return self.low <= 0 and self.high >= self.pixels

    def seen(self, place: int) -> tuple[int, int]:
        """From which pixel up to which a place sees the image."""
        if self.sees_all:
            return 0, self.pixels
        moved = (place - self.places // 2) * self.stride
        low = min(max(round(self.low + moved), 0), self.pixels - 1)
        return low, max(low + 1, min(round(self.high + moved), self.pixels))


# The same few stretches come again and again.
@functools.lru_cache(maxsize=4096)
def shares(axis: Axis, low: int, high: int) -> np.ndarray:
    """For cells that part a stretch of pixels how much of each is which place's.

    Places have as many pixels around the middle of what they see as they are apart. There are as
    many cells as places in the stretch, but at most 16. In the array `(cells, places)` rows sum to
    1; to 0 where the layer has no place.
    """
    cells = min(max(round((high - low) / axis.stride), 1), _MOST_CELLS)
    middle = axis.pixels / 2 if axis.sees_all else (axis.low + axis.high) / 2
    offset = axis.places / 2 if axis.sees_all else axis.places // 2 + 0.5
    edges = (np.linspace(low, high, cells + 1) - middle) / axis.stride + offset
    found = overlaps(edges, axis.places)
    return found / np.maximum(found.sum(axis=1, keepdims=True), _LEAST_OVERLAP)


def axes_of(
    sight: ReceptiveField, places: Sequence[int], pixels: Sequence[int]
) -> list[Axis] | None:
    """How a layer looks at images, axis by axis; None where its axes are not those of images."""
    if not places or len(places) != len(pixels):
        return None
    return list(map(_axis, places, pixels, sight.middle, sight.quarter))


def box_and_heat(
    values: np.ndarray, axes: Sequence[Axis] | None, place: Sequence[int], pixels: Sequence[int]
) -> tuple[tuple[int, ...], np.ndarray]:
    """What a place sees of an image, and the map of a channel over that.

    The box has the first pixel along each axis, and then those behind the last. The map goes from
    0 for the channel's least value in the image to 1 for its greatest: of the whole image, as a
    box in which a channel is equally excited everywhere would otherwise show noise; and from the
    least, as activations before a rectifier have no natural zero.
    """
    if axes is None:
        box = (*(0 for _ in pixels), *pixels)
        stretches = [(Axis(size, size, 0, size, 1), 0, size) for size in values.shape]
    else:
        stretches = [(axis, *axis.seen(i)) for axis, i in zip(axes, place, strict=True)]
        box = (*(low for _, low, _ in stretches), *(high for _, _, high in stretches))
    low, high = float(values.min()), float(values.max())
    heat = (values.astype("float64") - low) / (high - low if high > low else 1.0)
    # The axis that is summed over comes back as the last, so that in the end all are in order.
    for stretch in stretches:
        heat = np.einsum("i...,ci->...c", heat, shares(*stretch))
    return box, heat.astype("float32")


def _axis(places: int, pixels: int, middle: tuple[int, int], quarter: tuple[int, int]) -> Axis:
    (low, high), (_, high_before) = middle, quarter
    per_sample, stride = places // 2 - places // 4, pixels / places
    if high_before < high < pixels and per_sample:
        # Where padding is left out, places are closer than they are many.
        stride = (high - high_before) / per_sample
    return Axis(places, pixels, low, high, stride)

"""Receptive fields of positions of a layer as boxes of pixels, and heatmaps over these boxes."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vis.backend.step import ReceptiveField
from vis.parametrizations.resampling import overlaps

# Maximum cells of a heatmap along an axis.
_MOST_CELLS = 16
# Avoids a division by zero for cells that no position overlaps.
_LEAST_OVERLAP = 1e-9


class Axis(NamedTuple):
    """Receptive fields of the positions of a layer, along one axis of an image."""

    positions: int
    pixels: int
    start: float  # First pixel of the receptive field of the position in the middle.
    stop: float  # One past its last pixel.
    stride: float  # Pixels between the receptive fields of neighbouring positions.

    @property
    def covers_all(self) -> bool:
        """Whether the receptive field of each position is taken to be the whole axis."""
        return self.start <= 0 and self.stop >= self.pixels

    def box(self, position: int) -> tuple[int, int]:
        """First pixel of a position's receptive field, and one past its last."""
        if self.covers_all:
            return 0, self.pixels
        offset = (position - self.positions // 2) * self.stride
        start = min(max(round(self.start + offset), 0), self.pixels - 1)
        return start, max(start + 1, min(round(self.stop + offset), self.pixels))


# The same few boxes come again and again.
@functools.lru_cache(maxsize=4096)
def cell_weights(axis: Axis, start: int, stop: int) -> np.ndarray:
    """Weights of positions in the cells of a box, `(cells, positions)`.

    A position has as many pixels, around the centre of its receptive field, as the stride. There
    are as many cells as positions in the box, but at most 16. Rows sum to 1, or to 0 if the layer
    has no position there.
    """
    cells = min(max(round((stop - start) / axis.stride), 1), _MOST_CELLS)
    centre = axis.pixels / 2 if axis.covers_all else (axis.start + axis.stop) / 2
    offset = axis.positions / 2 if axis.covers_all else axis.positions // 2 + 0.5
    edges = (np.linspace(start, stop, cells + 1) - centre) / axis.stride + offset
    weights = overlaps(edges, axis.positions)
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), _LEAST_OVERLAP)


def axes_of(
    field: ReceptiveField, positions: Sequence[int], pixels: Sequence[int]
) -> list[Axis] | None:
    """The axes of a layer's receptive fields, or None if its axes are not those of images."""
    if not positions or len(positions) != len(pixels):
        return None
    return list(map(_axis, positions, pixels, field.middle, field.quarter))


def box_and_heatmap(
    values: np.ndarray, axes: Sequence[Axis] | None, position: Sequence[int], pixels: Sequence[int]
) -> tuple[tuple[int, ...], np.ndarray]:
    """A position's receptive field as a box, and the heatmap of a channel over it.

    The box has the first pixel along each axis, then one past the last along each. The heatmap goes
    from 0 to 1, the channel's least and greatest value in the whole image: scaled by the box alone,
    a uniform activation would show noise. It starts at the least value because activations before a
    rectifier have no natural zero.
    """
    if axes is None:
        box = (*(0 for _ in pixels), *pixels)
        ranges = [(Axis(size, size, 0, size, 1), 0, size) for size in values.shape]
    else:
        ranges = [(axis, *axis.box(i)) for axis, i in zip(axes, position, strict=True)]
        box = (*(start for _, start, _ in ranges), *(stop for _, _, stop in ranges))
    low, high = float(values.min()), float(values.max())
    heatmap = (values.astype("float64") - low) / (high - low if high > low else 1.0)
    # The axis that is summed over comes back as the last, so that in the end all are in order.
    for axis_range in ranges:
        heatmap = np.einsum("i...,ci->...c", heatmap, cell_weights(*axis_range))
    return box, heatmap.astype("float32")


def _axis(positions: int, pixels: int, middle: tuple[int, int], quarter: tuple[int, int]) -> Axis:
    (start, stop), (_, earlier_stop) = middle, quarter
    steps, stride = positions // 2 - positions // 4, pixels / positions
    if earlier_stop < stop < pixels and steps:
        # Without padding, the stride is less than the ratio of the sizes.
        stride = (stop - earlier_stop) / steps
    return Axis(positions, pixels, start, stop, stride)

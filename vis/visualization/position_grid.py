"""`PositionGrid`: receptive fields as boxes of pixels, and heatmaps over these boxes."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vis.backend.graph import (
    Axis,
    ModelInputs,
    Span,
    Target,
    filters_of,
    geometry_of,
    unfold_positions,
)
from vis.parametrizations.resampling import overlaps
from vis.utils.layout import Layout

# Maximum cells of a heatmap along an axis.
_MOST_CELLS = 16
# Avoids a division by zero for cells that no position overlaps.
_LEAST_OVERLAP = 1e-9


class Line(NamedTuple):
    """The positions of a layer along one axis of an image."""

    positions: int
    pixels: int
    span: Span | None  # None if each position is taken to depend on all pixels.

    @classmethod
    def of(cls, positions: int, pixels: int, span: Span | None) -> "Line":
        """Positions whose receptive field is the whole axis have no span."""
        is_local = span is not None and 2 * span.reach + 1 < pixels
        return cls(positions, pixels, span if is_local else None)

    def box(self, position: int) -> tuple[int, int]:
        """First pixel of a position's receptive field, and one past its last."""
        if self.span is None:
            return 0, self.pixels
        centre = self.span.offset + self.span.stride * position
        start = min(max(round(centre - self.span.reach), 0), self.pixels - 1)
        return start, max(start + 1, min(round(centre + self.span.reach) + 1, self.pixels))


# The same few boxes come again and again.
@functools.lru_cache(maxsize=4096)
def cell_weights(axis: Line, start: int, stop: int) -> np.ndarray:
    """Weights of positions in the cells of a box, `(cells, positions)`.

    A position has as many pixels, around the centre of its receptive field, as the stride. There
    are as many cells as positions in the box, but at most 16. Rows sum to 1, or to 0 if the layer
    has no position there.
    """
    stride, first = axis.pixels / axis.positions, 0.0
    if axis.span is not None:
        stride = abs(axis.span.stride)
        # The first pixel of the cell of the first position.
        first = axis.span.offset + 0.5 - axis.span.stride / 2
    cells = min(max(round((stop - start) / stride), 1), _MOST_CELLS)
    edges = (np.linspace(start, stop, cells + 1) - first) / (
        axis.span.stride if axis.span else stride
    )
    weights = overlaps(edges, axis.positions)
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), _LEAST_OVERLAP)


class PositionGrid(NamedTuple):
    """The positions of a layer in images of one size."""

    axes: tuple[Axis, ...]  # The axes of the positions, in the order of the layer.
    sizes: dict[int, int]  # The size of each spatial axis of a batch of images.
    receptive_field: tuple[int, ...]

    @classmethod
    def of(cls, inputs: ModelInputs, layer: Target, layout: Layout) -> "PositionGrid":
        """The grid of a layer for the input that varies."""
        geometry = geometry_of(inputs, layer, layout.shape)
        shape, channels, _ = filters_of(layer)
        axes = tuple(axis for i, axis in enumerate(geometry.axes, 1) if i != channels)
        axes = axes if len(axes) == len(shape) - 2 else ()
        sizes = dict(zip(layout.axes, layout.spatial_shape, strict=True))
        return cls(axes, sizes, geometry.receptive_field(sizes))

    def box_and_heatmap(
        self, values: np.ndarray, position: Sequence[int]
    ) -> tuple[tuple[int, ...], np.ndarray]:
        """A position's receptive field as a box, and the heatmap of a channel over it.

        The box has the first pixel along each axis, then one past the last along each. The heatmap
        goes from 0 to 1, the channel's least and greatest value in the whole image: scaled by the
        box alone, a uniform activation would show noise. It starts at the least value because
        activations before a rectifier have no natural zero.
        """
        is_placed = bool(self.axes) and all(
            axis.spans and all(span.axis in self.sizes for span in axis.spans) for axis in self.axes
        )
        if is_placed:
            marks = np.zeros(values.shape, bool)
            marks[tuple(position)] = True
            (values, marks), spans = unfold_positions(
                np.stack([values, marks]), self.axes, self.sizes
            )
            position = [int(i) for i in np.unravel_index(int(marks.argmax()), marks.shape)]
            lines = [
                Line.of(n, self.sizes[axis], spans.get(axis))
                for axis, n in zip(sorted(self.sizes), values.shape, strict=True)
            ]
        else:
            lines = [Line(n, n, None) for n in values.shape]
        ranges = [(line, *line.box(i)) for line, i in zip(lines, position, strict=True)]
        box = (*(start for _, start, _ in ranges), *(stop for _, _, stop in ranges))
        if not is_placed:
            box = (*(0 for _ in self.sizes), *self.sizes.values())
        low, high = float(values.min()), float(values.max())
        heatmap = (values.astype("float64") - low) / (high - low if high > low else 1.0)
        # The axis that is summed over comes back as the last, so that in the end all are in order.
        for line_range in ranges:
            heatmap = np.einsum("i...,ci->...c", heatmap, cell_weights(*line_range))
        return box, heatmap.astype("float32")

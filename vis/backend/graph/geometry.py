"""Geometry of a tensor: where each of its positions lies in an image.

Each axis of a tensor runs along one axis of the image, along several that were flattened, or along
none (channels, class tokens).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

# The reach of positions that depend on the whole image.
UNBOUNDED = math.inf


class Span(NamedTuple):
    """Positions along one axis of an image. Pixel 0 has its centre at 0."""

    axis: int  # The axis of a batch of images.
    length: int  # The number of positions.
    offset: float  # The centre of the first position, in pixels.
    stride: float  # Pixels from one position to the next; negative if mirrored.
    reach: float = 0.0  # Pixels on each side of its centre that a position depends on.

    @property
    def visible(self) -> tuple[float, float]:
        """The first and the last pixel that any position depends on."""
        ends = self.offset, self.offset + self.stride * (self.length - 1)
        return min(ends) - self.reach, max(ends) + self.reach


class Axis(NamedTuple):
    """One axis of a tensor."""

    size: int
    # Along one axis of the image: one span. For flattened axes: one for each, the slowest first.
    spans: tuple[Span, ...] = ()
    start: int = 0  # The first index with a place in the image: class tokens may come before it.
    is_channels: bool = False

    @property
    def has_tokens(self) -> bool:
        """Whether positions were flattened, or other tokens stand beside them."""
        return len(self.spans) > 1 or (bool(self.spans) and self.size > self.spans[0].length)

    @property
    def span(self) -> Span | None:
        """The span of an axis that runs along one axis of the image."""
        return self.spans[0] if len(self.spans) == 1 else None


class Geometry(NamedTuple):
    """Where the values of a tensor lie in the image: its axes, without that of the samples."""

    axes: tuple[Axis, ...]
    # Whether values depend on the whole image, for example through a global pooling.
    depends_on_all: bool = False

    @classmethod
    def of_image(cls, shape: Sequence[int]) -> "Geometry":
        """The geometry of an image: each axis runs along itself."""
        sizes = enumerate(shape, 1)
        return cls(tuple(Axis(size, (Span(i, size, 0.0, 1.0),)) for i, size in sizes))

    @classmethod
    def unrelated(cls, shape: Sequence[int]) -> "Geometry":
        """The geometry of a tensor that has no positions in the image."""
        return cls(tuple(map(Axis, shape)))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def tokens(self) -> Axis | None:
        """The first axis of flattened positions, or of positions beside class tokens."""
        return next((axis for axis in self.axes if axis.has_tokens), None)

    @property
    def image_axes(self) -> tuple[int, ...]:
        """The axes of the image that any axis runs along, ascending."""
        return tuple(sorted({span.axis for axis in self.axes for span in axis.spans}))

    def unbounded(self) -> "Geometry":
        """The same positions, each of which depends on the whole image."""
        return Geometry(
            tuple(
                axis._replace(spans=tuple(span._replace(reach=UNBOUNDED) for span in axis.spans))
                for axis in self.axes
            )
        )

    def receptive_field(self, sizes: Mapping[int, int]) -> tuple[int, ...]:
        """The size of the receptive field along axes of the image of the given sizes.

        It is the whole size of an axis that no axis of the tensor runs along.
        """
        spans = {span.axis: span for axis in self.axes for span in axis.spans}
        return tuple(
            min(size, round(2 * spans[axis].reach) + 1)
            if axis in spans and spans[axis].reach < size
            else size
            for axis, size in sizes.items()
        )

    @property
    def channel_axis(self) -> int | None:
        """The axis of a batch that holds the channels: the last one without positions."""
        flagged = [i for i, axis in enumerate(self.axes, 1) if axis.is_channels]
        return flagged[-1] if flagged else None


def unfold_positions(
    maps: np.ndarray, axes: Sequence[Axis], image_axes: Iterable[int]
) -> tuple[np.ndarray, dict[int, Span]]:
    """Maps with one axis for each axis of the image, and the spans of their positions.

    Flattened positions are unfolded, class tokens are left out, positions without a place in the
    image are summed, and an axis of the image without positions has size 1.

    Args:
        maps: `(samples, positions...)`.
        axes: The axes of the positions.
        image_axes: The spatial axes of a batch of images.
    """
    spans: list[Span] = []
    for number, axis in reversed([*enumerate(axes, 1)]):
        own = axis.spans or (Span(0, axis.size, 0.0, 1.0),)
        lengths = [span.length for span in own]
        first = axis.start if axis.spans else 0
        maps = np.take(maps, range(first, first + math.prod(lengths)), axis=number)
        maps = maps.reshape(*maps.shape[:number], *lengths, *maps.shape[number + 1 :])
        spans = [*own, *spans]
    image_axes = sorted(image_axes)
    maps = maps.sum(axis=tuple(i for i, s in enumerate(spans, 1) if s.axis not in image_axes))
    placed = [span for span in spans if span.axis in image_axes]
    order = sorted(range(len(placed)), key=lambda i: placed[i].axis)
    maps = np.transpose(maps, (0, *(i + 1 for i in order)))
    by_axis = {span.axis: span for span in placed}
    for number, image_axis in enumerate(image_axes, 1):
        if image_axis not in by_axis:
            maps = np.expand_dims(maps, number)
    return maps, by_axis

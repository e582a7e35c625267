"""How an image lies in an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Layout(NamedTuple):
    """Shape of an image, and which of its axes are what.

    Attributes:
        shape: Shape of one image, without the samples' axis.
        axes: The spatial axes of a batch of images, the samples' axis counted.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Sizes along the spatial axes."""
        return tuple(self.shape[axis - 1] for axis in self.axes)

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in a batch of images."""
        return next(axis for axis in range(1, len(self.shape) + 1) if axis not in self.axes)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[self.channel_axis - 1]

    def resized(self, spatial_shape: tuple[int, ...]) -> Layout:
        """The same with other sizes along the spatial axes."""
        shape = list(self.shape)
        for axis, size in zip(self.axes, spatial_shape, strict=True):
            shape[axis - 1] = size
        return self._replace(shape=tuple(shape))


def spatial_axes_of(shape: Sequence[int | None], data_format: str) -> tuple[int, ...]:
    """The axes of a shape that are neither samples nor channels."""
    rank = len(shape)
    return tuple(range(2, rank) if data_format == "channels_first" else range(1, rank - 1))

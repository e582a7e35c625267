"""Layouts: the axes of images in arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Layout(NamedTuple):
    """Shape of one image, and the spatial axes of a batch, in which axis 0 has the samples."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Sizes along the spatial axes."""
        return tuple(self.shape[axis - 1] for axis in self.axes)

    @property
    def channel_axis(self) -> int | None:
        """The axis of the channels in a batch of images; None for gray images without one."""
        axes = range(1, len(self.shape) + 1)
        return next((axis for axis in axes if axis not in self.axes), None)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return 1 if self.channel_axis is None else self.shape[self.channel_axis - 1]

    def to_channels_first(self, images: Any, xp: Any = np) -> Any:
        """A batch with the channels on axis 1, by the functions of NumPy or `keras.ops`."""
        if self.channel_axis is None:
            return xp.expand_dims(images, 1)
        return xp.moveaxis(images, self.channel_axis, 1)

    def from_channels_first(self, images: Any, xp: Any = np) -> Any:
        """The reverse of `to_channels_first`."""
        if self.channel_axis is None:
            return xp.squeeze(images, 1)
        return xp.moveaxis(images, 1, self.channel_axis)

    def to_channels_last(self, images: Any) -> Any:
        """A batch with the channels on the last axis; unchanged without channels."""
        if self.channel_axis is None:
            return images
        return np.moveaxis(images, self.channel_axis, -1)

    def resized(self, spatial_shape: tuple[int, ...]) -> "Layout":
        """The layout with other sizes along the spatial axes."""
        shape = list(self.shape)
        for axis, size in zip(self.axes, spatial_shape, strict=True):
            shape[axis - 1] = size
        return self._replace(shape=tuple(shape))


def spatial_axes_of(shape: Sequence[int | None], data_format: str) -> tuple[int, ...]:
    """The axes of a batch's shape without samples and channels."""
    rank = len(shape)
    return tuple(range(2, rank) if data_format == "channels_first" else range(1, rank - 1))


def fits(sizes: Sequence[int | None], shape: Sequence[int | None]) -> bool:
    """Whether sizes match a shape, in which None matches any."""
    return len(sizes) == len(shape) and all(
        axis in (None, size) for size, axis in zip(sizes, shape, strict=True)
    )


def arrangements(batch: np.ndarray) -> list[np.ndarray]:
    """A batch as it is, with its last axis as channels first, and with axis 1 as channels last."""
    if batch.ndim < 3:
        return [batch]
    return [batch, np.moveaxis(batch, -1, 1), np.moveaxis(batch, 1, -1)]

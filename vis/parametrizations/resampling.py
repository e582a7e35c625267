"""Downsampling and upsampling of arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


def downsample(arrays: Any, axes: Sequence[int], sizes: Sequence[int]) -> Any:
    """Downsamples an array along some axes, by means over areas."""
    for axis, size in zip(axes, sizes, strict=True):
        old_size = arrays.shape[axis]
        if old_size != size:
            matrix = overlaps(np.linspace(0, old_size, size + 1), old_size) * size / old_size
            means = np.tensordot(arrays, matrix.astype(arrays.dtype), axes=(axis, 1))
            arrays = np.moveaxis(means, -1, axis)
    return arrays


def upsample(arrays: Any, axes: Sequence[int], sizes: Sequence[int]) -> Any:
    """Upsamples an array or tensor along some axes, by linear interpolation in `keras.ops`."""
    for axis, size in zip(axes, sizes, strict=True):
        if arrays.shape[axis] != size:
            matrix = ops.convert_to_tensor(_interpolation(arrays.shape[axis], size), arrays.dtype)
            arrays = ops.moveaxis(ops.tensordot(arrays, matrix, axes=[[axis], [1]]), -1, axis)
    return arrays


def overlaps(edges: np.ndarray, count: int) -> np.ndarray:
    """The overlap of cells between edges with `count` unit intervals, `(cells, intervals)`."""
    starts = np.arange(count)
    lengths = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return np.maximum(lengths, 0)


def _interpolation(old_size: int, size: int) -> np.ndarray:
    """The matrix of linear interpolation, `(size, old_size)`."""
    positions = np.clip((np.arange(size) + 0.5) * old_size / size - 0.5, 0, old_size - 1)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(old_size)))

"""Arrays made smaller and larger along some axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


def smaller(arrays: Any, axes: Sequence[int], sizes: Sequence[int]) -> Any:
    """Means of the values that fall together, in NumPy.

    Args:
        arrays: `(samples, ...)`.
        axes: The axes along which they are to be smaller.
        sizes: The size along each.

    Example:
        >>> smaller(np.array([[1.0, 3.0, 5.0, 7.0]]), axes=[1], sizes=[2])
        array([[2., 6.]])
    """
    for axis, size in zip(axes, sizes, strict=True):
        if arrays.shape[axis] != size:
            matrix = _averaging(arrays.shape[axis], size).astype(arrays.dtype)
            arrays = np.moveaxis(np.tensordot(arrays, matrix, axes=(axis, 1)), -1, axis)
    return arrays


def larger(arrays: Any, axes: Sequence[int], sizes: Sequence[int]) -> Any:
    """The same values with others between them, linearly, as a backend tensor.

    Args:
        arrays: `(samples, ...)`.
        axes: The axes along which they are to be larger.
        sizes: The size along each.

    Example:
        >>> ops.convert_to_numpy(larger(np.array([[2.0, 6.0]]), axes=[1], sizes=[4]))
        array([[2., 3., 5., 6.]])
    """
    for axis, size in zip(axes, sizes, strict=True):
        if arrays.shape[axis] != size:
            matrix = ops.convert_to_tensor(_interpolating(size, arrays.shape[axis]), arrays.dtype)
            arrays = ops.moveaxis(ops.tensordot(arrays, matrix, axes=[[axis], [1]]), -1, axis)
    return arrays


def _averaging(size: int, smaller: int) -> np.ndarray:
    """The matrix `(smaller, size)`, whose rows have a sum of one."""
    edges = np.linspace(0, size, smaller + 1)
    places = np.arange(size)
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    return np.maximum(overlap, 0) * smaller / size


def _interpolating(size: int, smaller: int) -> np.ndarray:
    """The matrix `(size, smaller)`, whose rows have a sum of one."""
    looked_up = np.clip((np.arange(size) + 0.5) * smaller / size - 0.5, 0, smaller - 1)
    return np.maximum(0, 1 - np.abs(looked_up[:, None] - np.arange(smaller)))

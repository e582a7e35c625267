"""Arrays made smaller and larger along some axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


def smaller(arrays: Any, axes: Sequence[int], sizes: Sequence[int]) -> Any:
    """Means of the values that fall together along some axes of `(samples, ...)`, in NumPy."""
    for axis, size in zip(axes, sizes, strict=True):
        old = arrays.shape[axis]
        if old != size:
            matrix = overlaps(np.linspace(0, old, size + 1), old) * size / old
            means = np.tensordot(arrays, matrix.astype(arrays.dtype), axes=(axis, 1))
            arrays = np.moveaxis(means, -1, axis)
    return arrays


def larger(arrays: Any, axes: Sequence[int], sizes: Sequence[int]) -> Any:
    """The values of `(samples, ...)` with others between them, linearly, as a backend tensor."""
    for axis, size in zip(axes, sizes, strict=True):
        if arrays.shape[axis] != size:
            matrix = ops.convert_to_tensor(_interpolating(size, arrays.shape[axis]), arrays.dtype)
            arrays = ops.moveaxis(ops.tensordot(arrays, matrix, axes=[[axis], [1]]), -1, axis)
    return arrays


def overlaps(edges: np.ndarray, count: int) -> np.ndarray:
    """How much of each of so many places lies between an edge and the next, `(cells, places)`."""
    places = np.arange(count)
    ends = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    return np.maximum(ends, 0)


def _interpolating(size: int, smaller: int) -> np.ndarray:
    """The matrix `(size, smaller)`, whose rows have a sum of one."""
    looked_up = np.clip((np.arange(size) + 0.5) * smaller / size - 0.5, 0, smaller - 1)
    return np.maximum(0, 1 - np.abs(looked_up[:, None] - np.arange(smaller)))

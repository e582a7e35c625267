"""Random gains of what the skip connections of a network carry.

Each step then sees another network that is as good as the model, and an image for all of them is
one for networks that took no part (Li et al., "Learning Transferable Adversarial Examples via
Ghost Networks", AAAI 2020, which calls it skip connection erosion).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from vis.backend.graph.formats import channel_axis
from vis.backend.private import Add
from vis.backend.tensors import random
from vis.utils.validation import check_number

# With one skip connection its gains are then between 0.13 and 1.87; none changes its sign.
_MOST = 0.5


def check_erosion(skip_erosion: Any) -> float:
    """Returns `skip_erosion` as a float, or raises unless it is a number from 0 to 0.5."""
    std = check_number("skip_erosion", skip_erosion)
    if not 0 <= std <= _MOST:
        raise ValueError(
            f"`skip_erosion` must be between 0 and {_MOST}. Received: skip_erosion={skip_erosion!r}"
        )
    return std


class Erosion:
    """The gains of one run of a network, one for each channel that is added to another.

    Args:
        std: Standard deviation of a gain, times the square root of the number of additions: so
            much comes together on the way through a network, however deep.
        seeds: One for each sample, `(samples, 2)`.
    """

    def __init__(self, std: float, seeds: Any) -> None:
        self._std = std
        self._seeds = seeds
        self._drawn = 0
        self._spread = 0.0

    def begin(self, nodes: Iterable[Any]) -> None:
        """Learns which nodes are going to run."""
        additions = sum(map(_adds, nodes))
        # A uniform number that is at most so far from 1 has the standard deviation.
        self._spread = self._std * math.sqrt(3 / max(additions, 1))

    def __call__(self, node: Any, values: dict[int, Any]) -> dict[int, Any]:
        """The values that a node is to run on."""
        if not _adds(node):
            return values
        axis = channel_axis(node.operation, len(node.outputs[0].shape))
        eroded = {id(t): self._eroded(values[id(t)], axis) for t in node.input_tensors}
        return {**values, **eroded}

    def _eroded(self, value: Any, axis: int) -> Any:
        if value.shape[0] != self._seeds.shape[0] or value.shape[axis] is None:
            return value
        shape = [1] * (len(value.shape) - 1)
        shape[axis - 1] = value.shape[axis]
        self._drawn += 1
        seeds = random.fold_in(self._seeds, self._drawn)
        gains = random.uniform(seeds, shape, 1 - self._spread, 1 + self._spread)
        return value * tf.cast(gains, value.dtype)


def _adds(node: Any) -> bool:
    """Whether a node adds features that have come by several ways."""
    first, *others = node.input_tensors or [None]
    return (
        isinstance(node.operation, (keras.layers.Add, Add))
        and bool(others)
        and all(tensor.shape == first.shape for tensor in others)
        and len(first.shape) > 1
        and keras.backend.is_float_dtype(first.dtype)
    )

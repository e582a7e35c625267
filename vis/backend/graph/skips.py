"""Random gains of what the skip connections of a network carry.

Each step then sees another network that is as good as the model, and an image for all of them is
one for networks that took no part (Li et al., "Learning Transferable Adversarial Examples via
Ghost Networks", AAAI 2020, which calls it skip connection erosion).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from vis.backend.graph.formats import channel_axis
from vis.backend.private import Add
from vis.backend.tensors import random
from vis.utils.validation import check_number, require

# With one skip connection its gains are then between 0.13 and 1.87; none changes its sign.
_MOST = 0.5


def check_erosion(skip_erosion: Any) -> float:
    """Returns `skip_erosion` as a float, or raises unless it is a number from 0 to 0.5."""
    std = check_number("skip_erosion", skip_erosion)
    require(0 <= std <= _MOST, "skip_erosion", f"be between 0 and {_MOST}", skip_erosion)
    return std


@dataclass(eq=False)
class Erosion:
    """The gains of one run of a network, one for each channel that is added to another.

    `std` is the standard deviation of a gain, times the square root of the number of additions: so
    much comes together on the way through a network, however deep. `seeds` are `(samples, 2)`.
    """

    std: float
    seeds: Any
    _gains: Any = None
    _used: int = 0

    def begin(self, nodes: Iterable[Any]) -> None:
        """Draws the gains of all nodes that are going to run, which is quicker than one by one."""
        additions = [node for node in nodes if _adds(node)]
        # A uniform number that is at most so far from 1 has the standard deviation.
        spread = self.std * math.sqrt(3 / max(len(additions), 1))
        number = sum(len(node.input_tensors) * (_channels(node) or 0) for node in additions)
        self._gains = random.uniform(self.seeds, [number], 1 - spread, 1 + spread)

    def __call__(self, node: Any, values: dict[int, Any]) -> dict[int, Any]:
        """The values that a node is to run on."""
        if not _adds(node) or _channels(node) is None:
            return values
        return values | {id(t): self._eroded(values[id(t)], node) for t in node.input_tensors}

    def _eroded(self, value: Any, node: Any) -> Any:
        samples, channels = self.seeds.shape[0], _channels(node)
        if value.shape[0] != samples:
            return value
        shape = [samples] + [1] * (len(value.shape) - 1)
        shape[_axis(node)] = channels
        gains = self._gains[:, self._used : self._used + channels]
        self._used += channels
        return value * tf.cast(tf.reshape(gains, shape), value.dtype)


def _axis(node: Any) -> int:
    """Where the channels of what a node adds are."""
    return channel_axis(node.operation, len(node.outputs[0].shape))


def _channels(node: Any) -> Any:
    """How many channels a node adds, or None where that is open."""
    return node.outputs[0].shape[_axis(node)]


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

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

from vis.backend.graph.axes import channel_axis
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
        additions = [(node, _added(node)) for node in nodes]
        numbers = [len(node.input_tensors) * added[1] for node, added in additions if added]
        # A uniform number that is at most so far from 1 has the standard deviation.
        spread = self.std * math.sqrt(3 / max(len(numbers), 1))
        self._gains = random.uniform(self.seeds, [sum(numbers)], 1 - spread, 1 + spread)

    def __call__(self, node: Any, values: dict[int, Any]) -> dict[int, Any]:
        """The values that a node is to run on."""
        added = _added(node)
        if added is None:
            return values
        return values | {id(t): self._eroded(values[id(t)], *added) for t in node.input_tensors}

    def _eroded(self, value: Any, axis: int, channels: int) -> Any:
        samples = self.seeds.shape[0]
        if value.shape[0] != samples:
            return value
        shape = [samples] + [1] * (len(value.shape) - 1)
        shape[axis] = channels
        gains = self._gains[:, self._used : self._used + channels]
        self._used += channels
        return value * tf.cast(tf.reshape(gains, shape), value.dtype)


def _added(node: Any) -> tuple[int, int] | None:
    """The axis and the number of channels, where a node adds what has come by several ways."""
    first, *others = node.input_tensors or [None]
    if (
        not isinstance(node.operation, (keras.layers.Add, Add))
        or not others
        or any(tensor.shape != first.shape for tensor in others)
        or len(first.shape) == 1
        or not keras.backend.is_float_dtype(first.dtype)
    ):
        return None
    axis = channel_axis(node.operation, len(first.shape))
    channels = first.shape[axis]
    return None if channels is None else (axis, channels)

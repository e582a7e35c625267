"""Ghost Networks: random gains of skip connections ("skip connection erosion").

Each step uses another network that is as good as the model, so that the image transfers to other
networks (Li et al., "Learning Transferable Adversarial Examples via Ghost Networks", AAAI 2020).
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

# With one skip connection the gains are then between 0.13 and 1.87, so that no sign changes.
_MAX_STD = 0.5


def check_erosion(skip_erosion: Any) -> float:
    """Returns `skip_erosion` as a float, or raises unless it is a number from 0 to 0.5."""
    std = check_number("skip_erosion", skip_erosion)
    require(0 <= std <= _MAX_STD, "skip_erosion", f"be between 0 and {_MAX_STD}", skip_erosion)
    return std


@dataclass(eq=False)
class Erosion:
    """The gains of one run of a network: one for each channel of each summand of an addition."""

    # Standard deviation of a gain, times the square root of the number of additions so that the
    # effect does not depend on the depth of the network.
    std: float
    seeds: Any  # Seeds of the samples, `(samples, 2)`.
    _gains: Any = None
    _used: int = 0

    def draw_gains(self, nodes: Iterable[Any]) -> None:
        """Draws the gains for all nodes of the run, which is faster than one node at a time."""
        additions = ((node, _channels_of_addition(node)) for node in nodes)
        counts = [len(node.input_tensors) * channels[1] for node, channels in additions if channels]
        # A uniform distribution of this half-width has the standard deviation.
        spread = self.std * math.sqrt(3 / max(len(counts), 1))
        self._gains = random.uniform(self.seeds, [sum(counts)], 1 - spread, 1 + spread)

    def __call__(self, node: Any, values: dict[int, Any]) -> dict[int, Any]:
        """The values, with the inputs of an addition multiplied by gains."""
        channels = _channels_of_addition(node)
        if channels is None:
            return values
        return values | {id(t): self._scale(values[id(t)], *channels) for t in node.input_tensors}

    def _scale(self, value: Any, axis: int, channels: int) -> Any:
        samples = self.seeds.shape[0]
        if value.shape[0] != samples:
            return value
        shape = [samples] + [1] * (len(value.shape) - 1)
        shape[axis] = channels
        gains = self._gains[:, self._used : self._used + channels]
        self._used += channels
        return value * tf.cast(tf.reshape(gains, shape), value.dtype)


def _channels_of_addition(node: Any) -> tuple[int, int] | None:
    """The axis and the number of channels of a skip connection's addition, or None."""
    tensors = node.input_tensors
    if len(tensors) < 2 or not isinstance(node.operation, (keras.layers.Add, Add)):
        return None
    shape, is_float = tensors[0].shape, keras.backend.is_float_dtype(tensors[0].dtype)
    if not is_float or len(shape) == 1 or any(tensor.shape != shape for tensor in tensors):
        return None
    axis = channel_axis(node.operation, len(shape))
    return None if shape[axis] is None else (axis, shape[axis])

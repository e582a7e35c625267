"""Warnings of optimisations that did not raise the activation that they should."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vis._core.flat_scores import saturated_activation
from vis.backend.graph import LayerOutput, Target
from vis.callbacks import OptimizerCallback
from vis.utils.validation import warn

# With fewer steps, noise from random transforms may hide the gain.
_LEAST_STEPS = 10
# Falls below this share of the activation at the start are ignored.
_TOLERANCE = 0.01


class ActivationCurve(NamedTuple):
    """The activation of filters in each step of an optimisation."""

    layer: Target
    filters: Any  # An index, or a list of indices that are drawn jointly.
    activations: np.ndarray  # (steps,)
    before_softmax: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether the activation is the same in all steps."""
        return len(self.activations) > 1 and np.ptp(self.activations) == 0

    @property
    def has_fallen(self) -> bool:
        """Whether the activation is lower at the end, by more than random transforms explain."""
        if len(self.activations) < _LEAST_STEPS or self.is_constant:
            return False
        start = self.activations[0]
        return start - self.end > 2 * np.std(self._last) + _TOLERANCE * abs(start)

    @property
    def end(self) -> float:
        """The activation at the end: the mean over the last quarter of the steps."""
        return float(np.mean(self._last))

    @property
    def _last(self) -> np.ndarray:
        return self.activations[-(len(self.activations) // 4) :]


class LossRecorder(OptimizerCallback):
    """Records the value of one loss in each step."""

    losses_only = True

    def __init__(self, index: int) -> None:
        self._index = index
        self.values: list[float] = []
        self.is_from_start = True

    def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        self.is_from_start &= i == len(self.values)
        self.values.append(named_losses[self._index][1])


def warn_of_activations(curves: Sequence[ActivationCurve], advice: str) -> None:
    """Warns once of filters whose activation never changed, and once of those where it fell."""
    constant = [curve for curve in curves if curve.is_constant]
    if constant:
        value = constant[0].activations[0] + 0.0  # Not -0.
        values = np.array([curve.activations[0] for curve in constant])
        saturated = saturated_activation(LayerOutput.of(constant[0].layer).layer, values)
        if saturated == "softmax" and constant[0].before_softmax:
            saturated = None
        reason = "the image has no effect on it" if value else "no image made it active"
        reason = f"the {saturated} is saturated" if saturated else reason
        warn(
            f"The activation of {_listed(constant)} should change during the optimisation, but it "
            f"was {value:.3g} in all steps, as {reason}: the pictures show nothing. Draw the layer "
            "before the activation, or look at photographs by `top_activating_images`."
        )
    if fallen := [curve for curve in curves if curve.has_fallen]:
        start, end = fallen[0].activations[0], fallen[0].end
        warn(
            f"The activation of {_listed(fallen)} should rise during the optimisation. {advice} "
            f"Received: an activation of {start:.3g} at the start, and {end:.3g} at the end"
        )


def _listed(curves: Sequence[ActivationCurve]) -> str:
    by_layer: dict[str, list[int]] = {}
    for curve in curves:
        by_layer.setdefault(curve.layer.name, []).extend(np.atleast_1d(curve.filters).tolist())
    return " and ".join(
        f"filters {sorted({*filters})} of layer '{name}'" for name, filters in by_layer.items()
    )

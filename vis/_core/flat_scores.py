"""Why a score does not change with the image."""

from typing import Any

import numpy as np

from vis.backend.layers import has_softmax

# Activations whose gradients underflow at the ends of their range, and how close to these it is.
_SATURATING = ("sigmoid", "softmax", "tanh", "hard_sigmoid")
_AT_END = 1e-5


def saturated_activation(layer: Any, scores: np.ndarray) -> str | None:
    """The name of the activation of a layer if some scores are at the ends of its range."""
    activation = getattr(layer, "activation", None)
    name = "softmax" if has_softmax(layer) else getattr(activation, "__name__", "")
    is_at_end = np.abs(scores - np.round(scores)).max() < _AT_END
    return name if name in _SATURATING and is_at_end else None

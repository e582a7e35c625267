"""The input range that a model expects, if it begins with a layer that scales images."""

from typing import Any

import keras
import numpy as np

from vis.backend.graph.nodes import is_container
from vis.backend.private import IMAGE_PREPROCESSING, consumers_of, operation_of
from vis.utils.validation import warn

# An image with less contrast, as a fraction of the expected range, is in other units, not dark.
_LEAST_CONTRAST = 0.02
# Images may exceed the expected range by this fraction of its width, because of ringing.
_OVERSHOOT = 0.25


def warn_of_range(
    input_tensor: keras.KerasTensor, images: np.ndarray, name: str = "seed_input"
) -> None:
    """Warns if images, the value of an argument, are in another range than the model expects."""
    if (expected := _expected_range(input_tensor)) is None:
        return
    low, high = expected
    width = high - low
    least, most = float(images.min()), float(images.max())
    is_inside = low - _OVERSHOOT * width <= least and most <= high + _OVERSHOOT * width
    if not is_inside or 0 < most - least < _LEAST_CONTRAST * width:
        warn(
            f"`{name}` should have values from about {low:.3g} to {high:.3g}, the range that the "
            f"model's first layer scales. Received: values from {least:.3g} to {most:.3g}"
        )


def _expected_range(input_tensor: keras.KerasTensor) -> tuple[float, float] | None:
    """The input range for which a model's first layer is made, or None."""
    operation = operation_of(input_tensor)
    while operation is not None:
        if isinstance(operation, keras.layers.Rescaling):
            return _of_rescaling(operation)
        if isinstance(operation, keras.layers.Normalization):
            return _of_normalization(operation)
        operation = _next(operation)
    return None


def _next(operation: Any) -> Any:
    """The only operation after one that does not change the range of images, or None."""
    if is_container(operation) and len(operation.inputs) == 1:
        return operation_of(operation.inputs[0])
    module = type(operation).__module__
    if isinstance(operation, keras.layers.InputLayer) or module.startswith(IMAGE_PREPROCESSING):
        followers = {node.operation for node in consumers_of(operation)}
        return followers.pop() if len(followers) == 1 else None
    return None


def _of_rescaling(layer: keras.layers.Rescaling) -> tuple[float, float] | None:
    if np.ndim(layer.scale) or np.ndim(layer.offset) or not layer.scale > 0:
        return None
    # The usual input range of a network's first trainable layer.
    usual = (-1.0, 1.0) if layer.offset < 0 else (0.0, 1.0)
    if layer.scale > 1 and layer.offset == 0:
        return usual
    low, high = ((end - layer.offset) / layer.scale for end in usual)
    return round(float(low), 6) + 0.0, round(float(high), 6) + 0.0


def _of_normalization(layer: keras.layers.Normalization) -> tuple[float, float] | None:
    if layer.invert or getattr(layer, "mean", None) is None:
        return None
    mean, spread = np.array(layer.mean), np.sqrt(np.array(layer.variance))
    return float((mean - 2 * spread).min()), float((mean + 2 * spread).max())

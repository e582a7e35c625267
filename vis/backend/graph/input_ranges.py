"""The input range that a model expects, if a layer or a preprocessor scales images."""

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
_BYTES = (0, 255)
# A factor for pixels from 0 to 1 is larger, and one for pixels from 0 to 255 is smaller.
_SCALE_OF_FRACTIONS = 0.1


def warn_of_range(
    input_tensor: keras.KerasTensor,
    images: np.ndarray,
    name: str = "seed_input",
    model: keras.Model | None = None,
) -> None:
    """Warns if images, the value of an argument, are in another range than the model expects.

    With a `model`, they are compared with what its preprocessor returns, if it has one.
    """
    if (expected := range_after_preprocessing(model)) is not None:
        _warn_unless_inside(expected, images, name, "`model.preprocessor` returns")
    elif (expected := _expected_range(input_tensor)) is not None:
        _warn_unless_inside(expected, images, name, "the model's first layer scales")


def warn_of_range_before_preprocessing(model: keras.Model, images: np.ndarray, name: str) -> None:
    """Warns if images are in another range than the model's preprocessor scales."""
    if range_after_preprocessing(model) is not None:
        _warn_unless_inside(_BYTES, images, name, "`model.preprocessor` scales")


def range_after_preprocessing(model: keras.Model | None) -> tuple[float, float] | None:
    """What the preprocessor of a KerasHub task makes of pixels from 0 to 255, if it scales them."""
    converter = getattr(getattr(model, "preprocessor", None), "image_converter", None)
    scale, offset = getattr(converter, "scale", None), getattr(converter, "offset", None)
    if scale is None and offset is None:
        return None
    scale, offset = np.asarray(1 if scale is None else scale), np.asarray(offset or 0)
    # Other preprocessors take pixels that are scaled already.
    if scale.max() >= _SCALE_OF_FRACTIONS:
        return None
    ends = [scale * end + offset for end in _BYTES]
    return round(float(np.min(ends)), 6), round(float(np.max(ends)), 6)


def _warn_unless_inside(
    expected: tuple[float, float], images: np.ndarray, name: str, source: str
) -> None:
    low, high = expected
    width = high - low
    least, most = float(images.min()), float(images.max())
    is_inside = low - _OVERSHOOT * width <= least and most <= high + _OVERSHOOT * width
    if not is_inside or 0 < most - least < _LEAST_CONTRAST * width:
        warn(
            f"`{name}` should have values from about {low:.3g} to {high:.3g}, the range that "
            f"{source}. Received: values from {least:.3g} to {most:.3g}"
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

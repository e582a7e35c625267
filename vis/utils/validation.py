"""Checks of arguments, each with an error that says what was expected and what came."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import keras


def check_backend() -> None:
    """Raises a `ValueError` unless Keras runs on TensorFlow."""
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            "Keras must run on TensorFlow: set the environment variable "
            "`KERAS_BACKEND=tensorflow` before Keras is imported. "
            f"Received: keras.config.backend()={keras.config.backend()!r}"
        )


def check_model(model: Any) -> None:
    """Raises a `TypeError` unless `model` is a Keras 3 model."""
    check_backend()
    if isinstance(model, keras.Model):
        return
    modules = {cls.__module__.split(".")[0] for cls in type(model).__mro__}
    legacy = (
        " Legacy Keras 2 models (`tf_keras`, or `TF_USE_LEGACY_KERAS=1`) are not supported: save "
        "the model with `model.save('model.h5')` and load it with `keras.models.load_model`."
        if "tf_keras" in modules
        else ""
    )
    raise TypeError(
        f"`model` must be a Keras 3 model, a `keras.Model`.{legacy} "
        f"Received: model={model!r} of type {type(model).__module__}.{type(model).__name__}"
    )


def check_number(name: str, value: Any) -> float:
    """Returns `value` as a float, or raises unless it is one finite real number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number. Received: {name}={value!r}")
    if not math.isfinite(value):
        raise ValueError(f"`{name}` must be finite. Received: {name}={value!r}")
    return float(value)


def check_integer(name: str, value: Any, least: int) -> int:
    """Returns `value` as an int, or raises unless it is a whole number of at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"`{name}` must be an integer. Received: {name}={value!r}")
    if number < least:
        raise ValueError(f"`{name}` must be at least {least}. Received: {name}={value!r}")
    return number


def check_input_range(input_range: Any) -> tuple[float, float]:
    """Returns `(low, high)`, or raises unless `input_range` is a pair of rising numbers."""
    try:
        low, high = input_range
    except (TypeError, ValueError):
        raise TypeError(
            "`input_range` must be a pair of numbers `(low, high)`. "
            f"Received: input_range={input_range!r}"
        ) from None
    for end in (low, high):
        check_number("input_range", end)
    if not low < high:
        raise ValueError(
            "`input_range` must be `(low, high)` with low < high. "
            f"Received: input_range={input_range!r}"
        )
    return low, high


def check_indices(name: str, indices: Any, count: int | None, of: str) -> list[int]:
    """Returns non-negative indices, or raises where one is no integer or out of range.

    Args:
        name: The argument's name.
        indices: An integer or an iterable of integers; negative ones count from the end.
        count: How many there are, or None where that is not known.
        of: What the indices count, for the message.
    """
    values = indices if _is_iterable(indices) else [indices]
    checked = []
    for value in values:
        try:
            index = operator.index(value)
        except TypeError:
            index = None
        if index is None or isinstance(value, bool):
            raise TypeError(
                f"`{name}` must be an integer or a list of integers. Received: {name}={indices!r}"
            )
        if count is not None and not -count <= index < count:
            raise ValueError(
                f"`{name}` is out of range: {of} has {count} filters, 0 to {count - 1}. "
                f"Received: {name}={indices!r}"
            )
        checked.append(index % count if count is not None else index)
    if not checked:
        raise ValueError(
            f"`{name}` must hold at least one index; None means all. Received: {name}={indices!r}"
        )
    return checked


def close_matches(name: str, known: Iterable[str]) -> Sequence[str]:
    """The known names that look most like `name`, best first."""
    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)


def _is_iterable(value: Any) -> bool:
    # A 0-dimensional array has `__iter__`, and refuses it.
    return isinstance(value, Iterable) and not (hasattr(value, "ndim") and value.ndim == 0)

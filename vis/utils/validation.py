"""Checks of arguments. Each raises an error with the expected and the received value."""

import difflib
import inspect
import itertools
import math
import numbers
import operator
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import keras
import numpy as np

from vis.utils.layout import arrangements, fits

# Half of the maximum of float32, so that the width of a range is in float32, too.
_MAX_FLOAT = float(np.finfo(np.float32).max) / 2


def require(
    holds: Any, name: str, expected: str, value: Any, error: type[Exception] = ValueError
) -> None:
    """Raises an error "`name` must ..., Received: name=value" unless a condition holds."""
    if not holds:
        raise error(f"`{name}` must {expected}. Received: {name}={value!r}")


def expect(
    holds: Any, name: str, expected: str, received: str, error: type[Exception] = ValueError
) -> None:
    """Like `require`, with a description of the value that was received."""
    if not holds:
        raise error(f"`{name}` must {expected}. Received: {received}")


def warn(text: str) -> None:
    """Issues a `UserWarning` at the line of the user's code that called the library."""
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == "vis":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


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
    """Returns `value` as a float, or raises unless it is a finite real number."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    require(is_number, name, "be a number", value, TypeError)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    require(math.isfinite(number), name, "be finite", value)
    return number


def check_positive(name: str, value: Any) -> float:
    """Returns `value` as a float, or raises unless it is a positive number."""
    number = check_number(name, value)
    require(number > 0, name, "be positive", value)
    return number


def check_not_negative(name: str, value: Any) -> float:
    """Returns `value` as a float, or raises if it is negative or no number."""
    number = check_number(name, value)
    require(number >= 0, name, "not be negative", value)
    return number


def check_flag(name: str, value: Any) -> bool:
    """Returns `value` as a bool, or raises a `TypeError` unless it is True, False or None."""
    is_flag = value is None or isinstance(value, (np.bool_, numbers.Integral))
    require(is_flag, name, "be True or False", value, TypeError)
    return bool(value)


def check_integer(name: str, value: Any, least: int) -> int:
    """Returns `value` as an int, or raises unless it is an integer of at least `least`."""
    number = as_integer(value)
    if number is None:
        raise TypeError(f"`{name}` must be an integer. Received: {name}={value!r}")
    require(number >= least, name, f"be at least {least}", value)
    return number


def as_integer(value: Any) -> int | None:
    """An integer as an int, and None for anything else, such as True."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except (TypeError, AttributeError):
        return None


def check_input_range(input_range: Any) -> tuple[float, float]:
    """Returns `(low, high)`, or raises unless `input_range` is a pair with low < high."""
    pair = list(itertools.islice(input_range, 3)) if is_iterable(input_range) else []
    expected = "be a pair of numbers `(low, high)`"
    require(len(pair) == 2, "input_range", expected, input_range, TypeError)
    # Python's integers, because computations with NumPy's small integers overflow.
    ends = [check_number("input_range", end) for end in pair]
    low, high = (
        operator.index(end) if isinstance(end, numbers.Integral) else number
        for end, number in zip(pair, ends, strict=True)
    )
    is_float32 = max(abs(low), abs(high)) <= _MAX_FLOAT
    require(is_float32, "input_range", "be in the range of float32", input_range)
    require(low < high, "input_range", "be `(low, high)` with low < high", input_range)
    return low, high


def check_indices(name: str, indices: Any, count: int, of: str) -> list[int]:
    """Returns one index or several as a list, or raises unless `of` has so many filters.

    Negative indices count from the end.
    """
    values = list(indices) if is_iterable(indices) else [indices]
    integers = [index for index in map(as_integer, values) if index is not None]
    expected = "be an integer or a list of integers"
    require(len(integers) == len(values), name, expected, indices, TypeError)
    if not all(-count <= index < count for index in integers):
        raise ValueError(
            f"`{name}` is out of range: {of} has {count} filters, 0 to {count - 1}. "
            f"Received: {name}={indices!r}"
        )
    require(integers, name, "hold at least one index; None means all", indices)
    return [index % count for index in integers]


def check_sizes(name: str, sizes: Any) -> int | tuple[int, ...]:
    """Returns a size, or a tuple of sizes, or raises unless all are at least 1."""
    if is_iterable(sizes):
        return tuple(check_integer(name, size, least=1) for size in sizes)
    return check_integer(name, sizes, least=1)


def per_axis(name: str, values: Any, axes: Sequence[int]) -> dict[int, Any]:
    """The value for each axis, from one for all axes or a tuple, or a `ValueError`."""
    each = values if isinstance(values, tuple) else (values,) * len(axes)
    expected = f"be one number, or one for each of the {len(axes)} spatial axes"
    require(len(each) == len(axes), name, expected, values)
    return dict(zip(axes, each, strict=True))


def check_array(name: str, value: Any) -> np.ndarray:
    """Returns `value` as an array of real numbers, or raises."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be one array of numbers, images of one shape. Received: {error}"
        ) from error
    real = any(np.issubdtype(array.dtype, kind) for kind in (np.floating, np.integer, np.bool_))
    expect(real, name, "be an array of numbers", f"{name} of type {array.dtype}", TypeError)
    return array


def check_computable(name: str, value: Any) -> np.ndarray:
    """Returns `value` as an array of real numbers of a dtype of tensors, or raises."""
    array = check_array(name, value)
    return array.astype("float64") if array.dtype == np.longdouble else array


def check_finite(name: str, value: Any) -> np.ndarray:
    """Returns `value` as an array of finite numbers, or raises."""
    array = check_array(name, value)
    invalid = array.size - np.count_nonzero(np.isfinite(array))
    expect(not invalid, name, "be finite", f"{name} with {invalid} NaN or infinite values")
    return array


def check_floats(name: str, value: Any) -> np.ndarray:
    """Returns `value` as an array of finite floats, or raises, also if it is empty."""
    array = check_finite(name, value)
    expect(array.size, name, "not be empty", f"{name} of shape {array.shape}")
    return array.astype(np.result_type(array, np.float32), copy=False)


def check_images(name: str, images: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Returns finite images as `(samples, *shape)`, or raises.

    `images` is one image or a batch, with the channels first or last. Open axes of `shape` are
    None.
    """
    array = check_array(name, images)
    orders = arrangements(array[None] if array.ndim == len(shape) else array)
    batches = [batch for batch in orders if fits(batch.shape[1:], shape)]
    received = f"{name} of shape {array.shape}"
    expected = f"be of shape {shape}, or {(None, *shape)} with the batch axis"
    expect(batches, name, expected, received)
    expect(len(batches[0]), name, "hold at least one image", received)
    expect(array.size, name, "hold images of at least one pixel", received)
    return check_finite(name, batches[0])


def check_all(name: str, values: Any, kind: type) -> list:
    """Returns one object of a class or several as a list, or raises a `TypeError`."""
    values = list(values) if is_iterable(values) else [] if values is None else [values]
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(
                f"`{name}` must be a list of `{kind.__name__}` objects. "
                f"Received: {value!r} of type {type(value).__name__}"
            )
    return values


def check_kind(name: str, value: Any, kind: type) -> Any:
    """Returns `value`, or raises a `TypeError` unless it is an instance of a class."""
    if not isinstance(value, kind):
        raise TypeError(
            f"`{name}` must be a `{kind.__module__}.{kind.__name__}`. "
            f"Received: {name}={value!r} of type {type(value).__name__}"
        )
    return value


def get_identifier(identifier: Any, module_globals: dict[str, Any], module_name: str) -> Any:
    """Returns the function of a name, or a callable as it is.

    Args:
        identifier: A name in `module_globals`, or a callable.
        module_globals: Functions by name.
        module_name: Name of the argument in the error message.

    Raises:
        ValueError: If the name is not known, or `identifier` is neither a name nor a callable.

    Example:
        >>> get_identifier("square", {"square": abs}, "demo")
        <built-in function abs>
    """
    is_name = isinstance(identifier, str)
    function = module_globals.get(identifier) if is_name else identifier
    if callable(function):
        return function
    public = [name for name, value in module_globals.items() if callable(value) and name[:1] != "_"]
    expected = f"one of {sorted(public)}" if is_name else "a name"
    raise ValueError(
        f"`{module_name}` must be {expected} or a callable. Received: {module_name}={identifier!r}"
    )


def check_modifier(name: str, identifier: Any, known: dict[str, Any]) -> Any:
    """Returns the modifier of a name, and a function or None as it is, or raises."""
    if identifier is None:
        return None
    is_function = not isinstance(identifier, (type, keras.Layer))
    expected = "be a name, a function or None, not a class or a layer"
    require(is_function, name, expected, identifier, TypeError)
    return get_identifier(identifier, known, name)


def check_path(name: str, path: Any) -> Path:
    """Returns the path of a file, or raises."""
    require(isinstance(path, (str, os.PathLike)), name, "be a path", path, TypeError)
    is_file = Path(path).name and "\0" not in str(path)
    require(is_file, name, "be the path of a file", path)
    return Path(path)


def close_matches(name: str, known: Iterable[str]) -> list[str]:
    """The known names that are most similar to `name`, best first."""
    return difflib.get_close_matches(name, known, cutoff=0.5)


def is_iterable(value: Any) -> TypeGuard[Iterable[Any]]:
    """Whether a value is iterable, and neither text nor a scalar."""
    # 0-dimensional arrays and symbolic tensors have `__iter__`, but are not iterable.
    is_scalar = isinstance(value, (str, bytes, keras.KerasTensor))
    return isinstance(value, Iterable) and not is_scalar and getattr(value, "ndim", None) != 0

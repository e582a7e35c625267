"""Functions that change gradients before they are used.

Each takes an array or a backend tensor and returns the same kind.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from vis.utils.validation import check_computable, check_modifier, expect


def _for_arrays_too(formula: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Lets a formula in `keras.ops` return NumPy for NumPy; `formula` is kept for the engine."""

    @functools.wraps(formula)
    def modifier(grads: Any) -> Any:
        if ops.is_tensor(grads) or isinstance(grads, keras.KerasTensor):
            return formula(grads)
        array = check_computable("grads", grads)
        # A gradient has a sign, which not all types have.
        signed = array.astype(np.result_type(array.dtype, np.int8), copy=False)
        return ops.convert_to_numpy(formula(signed))

    vars(modifier)["formula"] = formula
    return modifier


@_for_arrays_too
def negate(grads: Any) -> Any:
    """The gradients with their signs changed.

    Example:
        >>> negate(np.array([1.0, -2.0], "float32"))
        array([-1.,  2.], dtype=float32)
    """
    return ops.negative(grads)


@_for_arrays_too
def absolute(grads: Any) -> Any:
    """The gradients' absolute values.

    Example:
        >>> absolute(np.array([1.0, -2.0], "float32"))
        array([1., 2.], dtype=float32)
    """
    return ops.abs(grads)


@_for_arrays_too
def invert(grads: Any) -> Any:
    """One over the gradients, so that small ones come to the fore.

    Example:
        >>> invert(np.array([2.0, -4.0], "float32")).round(3)
        array([ 0.5 , -0.25], dtype=float32)
    """
    return 1.0 / (grads + keras.config.epsilon())


@_for_arrays_too
def relu(grads: Any) -> Any:
    """The positive gradients, zero elsewhere.

    Example:
        >>> relu(np.array([1.0, -2.0], "float32"))
        array([1., 0.], dtype=float32)
    """
    return ops.relu(grads)


@_for_arrays_too
def small_values(grads: Any) -> Any:
    """The absolute value of one over the gradients: large where they are small.

    Example:
        >>> small_values(np.array([2.0, -4.0], "float32")).round(3)
        array([0.5 , 0.25], dtype=float32)
    """
    return ops.abs(1.0 / (grads + keras.config.epsilon()))


_MODIFIERS = {each.__name__: each for each in (negate, absolute, invert, relu, small_values)}


def get(identifier: str | Callable | None) -> Callable | None:
    """The gradient modifier of a name.

    Args:
        identifier: A name of this module's functions, a callable, or None.

    Returns:
        The function of that name, and a callable or None as it is.

    Raises:
        ValueError: If the name is not known.

    Example:
        >>> get("absolute")(np.array([-1.0], "float32"))
        array([1.], dtype=float32)
    """
    return check_modifier("grad_modifier", identifier, _MODIFIERS)


def modified_gradients(grad_modifier: str | Callable | None, grads: np.ndarray) -> np.ndarray:
    """What a modifier, or that of a name, makes of a gradient array: one of the same shape."""
    modify = get(grad_modifier)
    if modify is None:
        return grads
    modified = np.asarray(modify(grads), grads.dtype)
    expected = f"return gradients of the shape that it is given, {grads.shape}"
    received = f"an array of shape {modified.shape}"
    expect(modified.shape == grads.shape, "grad_modifier", expected, received)
    return modified

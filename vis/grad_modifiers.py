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
    """Makes a formula in `keras.ops` return NumPy for NumPy, and stores it as `formula`."""

    @functools.wraps(formula)
    def modifier(grads: Any) -> Any:
        if ops.is_tensor(grads) or isinstance(grads, keras.KerasTensor):
            return formula(grads)
        array = check_computable("grads", grads)
        # The result may be negative.
        signed = array.astype(np.result_type(array.dtype, np.int8), copy=False)
        return ops.convert_to_numpy(formula(signed))

    vars(modifier)["formula"] = formula
    return modifier


@_for_arrays_too
def negate(grads: Any) -> Any:
    """Changes the signs of the gradients.

    Example:
        >>> negate(np.array([1.0, -2.0], "float32"))
        array([-1.,  2.], dtype=float32)
    """
    return ops.negative(grads)


@_for_arrays_too
def absolute(grads: Any) -> Any:
    """The absolute values of the gradients.

    Example:
        >>> absolute(np.array([1.0, -2.0], "float32"))
        array([1., 2.], dtype=float32)
    """
    return ops.abs(grads)


@_for_arrays_too
def invert(grads: Any) -> Any:
    """The reciprocals of the gradients, to emphasise small ones.

    Example:
        >>> invert(np.array([2.0, -4.0], "float32")).round(3)
        array([ 0.5 , -0.25], dtype=float32)
    """
    return 1.0 / (grads + keras.config.epsilon())


@_for_arrays_too
def relu(grads: Any) -> Any:
    """The positive gradients, and zero for the others.

    Example:
        >>> relu(np.array([1.0, -2.0], "float32"))
        array([1., 0.], dtype=float32)
    """
    return ops.relu(grads)


@_for_arrays_too
def small_values(grads: Any) -> Any:
    """The absolute values of the reciprocals of the gradients: large for small gradients.

    Example:
        >>> small_values(np.array([2.0, -4.0], "float32")).round(3)
        array([0.5 , 0.25], dtype=float32)
    """
    return ops.abs(1.0 / (grads + keras.config.epsilon()))


_MODIFIERS = {f.__name__: f for f in (negate, absolute, invert, relu, small_values)}


def get(identifier: str | Callable | None) -> Callable | None:
    """Looks up a gradient modifier.

    Args:
        identifier: The name of a function of this module, a callable, or None.

    Returns:
        The function of that name; a callable or None as it is.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> get("absolute")(np.array([-1.0], "float32"))
        array([1.], dtype=float32)
    """
    return check_modifier("grad_modifier", identifier, _MODIFIERS)


def modified_gradients(grad_modifier: str | Callable | None, grads: np.ndarray) -> np.ndarray:
    """Calls a gradient modifier, and checks that it keeps the shape."""
    function = get(grad_modifier)
    if function is None:
        return grads
    modified = np.asarray(function(grads), grads.dtype)
    expected = f"return gradients of the same shape, {grads.shape}"
    received = f"an array of shape {modified.shape}"
    expect(modified.shape == grads.shape, "grad_modifier", expected, received)
    return modified

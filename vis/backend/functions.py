"""Functions of the old `keras.backend` that losses are written with.

With `from vis import backend as K` in place of `from keras import backend as K`, an old
`build_loss` runs on Keras 3 unchanged. Most functions are those of `keras.ops`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

# isort: off
from keras.ops import (  # noqa: F401
    abs, all, any, argmax, argmin, cast, clip, concatenate, cos, cumprod, cumsum, dot, elu,
    equal, exp, expand_dims, greater, greater_equal, hard_sigmoid, less, less_equal, log,
    logsumexp, max, maximum, mean, min, minimum, not_equal, one_hot, prod, relu, reshape, round,
    sigmoid, sign, sin, softmax, softplus, softsign, sqrt, square, squeeze, stack, std,
    stop_gradient, sum, tanh, tile, transpose, var,
)  # fmt: skip
# isort: on

from vis.utils.validation import require

# Functions with another name or place in Keras 3.
epsilon = keras.config.epsilon
floatx = keras.config.floatx
image_data_format = keras.config.image_data_format
is_keras_tensor = keras.utils.is_keras_tensor
permute_dimensions = ops.transpose
pow = ops.power
repeat_elements = ops.repeat
reverse = ops.flip
set_image_data_format = keras.config.set_image_data_format
shape = ops.shape
switch = ops.where


def constant(value: Any, dtype: str | None = None, shape: Any = None, name: Any = None) -> Any:
    """Creates a constant tensor.

    Args:
        value: A number, a list or an array.
        dtype: The tensor's dtype, by default `floatx()`.
        shape: The tensor's shape, by default that of `value`. A single number fills it.
        name: Ignored.

    Returns:
        A tensor.

    Raises:
        ValueError: If `shape` does not have the size of `value`.

    Example:
        >>> eval(constant([1, 2, 3, 4], shape=(2, 2)))
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """
    dtype = dtype or floatx()
    # TensorFlow 2.16 cannot convert a list of floats to integers.
    value = value if ops.is_tensor(value) else np.asarray(value).astype(dtype)
    tensor = ops.convert_to_tensor(value, dtype)
    if shape is None:
        return tensor
    count, size = math.prod(tensor.shape), int(np.prod(shape))
    require(count in (1, size), "shape", f"have size {count}, as `value` has", shape)
    return ops.reshape(ops.broadcast_to(ops.reshape(tensor, (-1,)), (size,)), shape)


def variable(
    value: Any,
    dtype: str | None = None,
    name: str | None = None,
    constraint: Callable[[Any], Any] | None = None,
) -> Any:
    """Creates a variable. A loss uses the value that was last assigned to it.

    Args:
        value: The initial value: a number, a list or an array.
        dtype: The variable's dtype, by default `floatx()`.
        name: The variable's name.
        constraint: A function that TensorFlow's optimizers apply to the value after each update.

    Returns:
        A `tf.Variable`, which can be used like a tensor.

    Example:
        >>> weight = variable(2.0)
        >>> _ = weight.assign_add(1.0)
        >>> float(sum(weight * [1.0, 2.0]))
        9.0
    """
    value = ops.convert_to_tensor(value, dtype or floatx())
    return tf.Variable(value, name=name, constraint=constraint)


def zeros(shape: int | Sequence[int], dtype: str | None = None, name: str | None = None) -> Any:
    """A `variable` of zeros, by default of dtype `floatx()`."""
    return variable(ops.zeros(shape, dtype or floatx()), dtype, name)


def ones(shape: int | Sequence[int], dtype: str | None = None, name: str | None = None) -> Any:
    """A `variable` of ones, by default of dtype `floatx()`."""
    return variable(ops.ones(shape, dtype or floatx()), dtype, name)


def zeros_like(x: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Zeros with the shape of a tensor, and by default its dtype. `name` is ignored."""
    return ops.zeros_like(x, dtype)


def ones_like(x: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Ones with the shape of a tensor, and by default its dtype. `name` is ignored."""
    return ops.ones_like(x, dtype)


def eval(x: Any) -> np.ndarray:
    """The value of a tensor or variable as a NumPy array.

    Raises:
        ValueError: If `x` is symbolic, such as a model's input.
    """
    has_value = not isinstance(x, keras.KerasTensor)
    require(has_value, "x", "not be symbolic: symbolic tensors have no value", x)
    return ops.convert_to_numpy(tf.convert_to_tensor(x))


def ndim(x: Any) -> int:
    """Number of axes of a tensor."""
    return len(x.shape)


def int_shape(x: Any) -> tuple[int | None, ...]:
    """Static shape of a tensor, with `None` for axes of unknown size."""
    return tuple(x.shape)


def dtype(x: Any) -> str:
    """A tensor's dtype as a string."""
    return keras.backend.standardize_dtype(x.dtype)


def flatten(x: Any) -> Any:
    """A tensor reshaped to one axis."""
    return ops.reshape(x, (-1,))


def batch_flatten(x: Any) -> Any:
    """A tensor reshaped to `(samples, features)`."""
    return ops.reshape(x, (-1, math.prod(x.shape[1:])))


def gather(reference: Any, indices: Any) -> Any:
    """Selects `indices` along the first axis of `reference`."""
    return ops.take(reference, indices, axis=0)


def l2_normalize(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """A tensor divided by its L2 norm along `axis`."""
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x / ops.sqrt(ops.maximum(squares, epsilon()))


__all__ = sorted(
    name for name in globals() if not name.startswith("_") and name not in
    ("math", "Any", "Callable", "Sequence", "keras", "np", "ops", "require", "tf")
)  # fmt: skip

"""The functions of the old `keras.backend` that losses are written with.

`from vis import backend as K` in place of `from keras import backend as K` lets an old
`build_loss` run on Keras 3 as it stands. Most names are `keras.ops`, under the old spelling.
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

# What lies elsewhere today, or has another name.
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
    """A tensor with a value that stays as it is.

    Args:
        value: A number, a list or an array.
        dtype: Type of the tensor, `floatx()` by default.
        shape: Shape of the tensor, that of `value` by default. A single number fills it.
        name: Of no effect.

    Raises:
        ValueError: If `value` does not fit into `shape`.

    Example:
        >>> eval(constant([1, 2, 3, 4], shape=(2, 2)))
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """
    dtype = dtype or floatx()
    # TensorFlow 2.16 makes no integers of a list of floats.
    value = value if ops.is_tensor(value) else np.asarray(value).astype(dtype)
    tensor = ops.convert_to_tensor(value, dtype)
    if shape is None:
        return tensor
    count, size = math.prod(tensor.shape), int(np.prod(shape))
    require(count in (1, size), "shape", f"hold the {count} numbers of `value`", shape)
    return ops.reshape(ops.broadcast_to(ops.reshape(tensor, (-1,)), (size,)), shape)


def variable(
    value: Any,
    dtype: str | None = None,
    name: str | None = None,
    constraint: Callable[[Any], Any] | None = None,
) -> Any:
    """A value that can be changed: a loss computes with what was last assigned to it.

    Args:
        value: A number, a list or an array.
        dtype: Type of the variable, `floatx()` by default.
        name: Name of the variable.
        constraint: What an optimizer of TensorFlow is to do to the value after each update.

    Returns:
        A TensorFlow variable, which all that takes a tensor takes too.

    Example:
        >>> weight = variable(2.0)
        >>> _ = weight.assign_add(1.0)
        >>> float(sum(weight * [1.0, 2.0]))
        9.0
    """
    value = ops.convert_to_tensor(value, dtype or floatx())
    return tf.Variable(value, name=name, constraint=constraint)


def zeros(shape: int | Sequence[int], dtype: str | None = None, name: str | None = None) -> Any:
    """A `variable` of zeros. Its type is `floatx()` by default."""
    return variable(ops.zeros(shape, dtype or floatx()), dtype, name)


def ones(shape: int | Sequence[int], dtype: str | None = None, name: str | None = None) -> Any:
    """A `variable` of ones. Its type is `floatx()` by default."""
    return variable(ops.ones(shape, dtype or floatx()), dtype, name)


def zeros_like(x: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Zeros of a tensor's shape, and of its type by default; `name` is of no effect."""
    return ops.zeros_like(x, dtype)


def ones_like(x: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Ones of a tensor's shape, and of its type by default; `name` is of no effect."""
    return ops.ones_like(x, dtype)


def eval(x: Any) -> np.ndarray:
    """The value of a tensor or a variable as an array.

    Raises:
        ValueError: If `x` is symbolic, as those tensors are that a model is built of.
    """
    has_value = not isinstance(x, keras.KerasTensor)
    require(has_value, "x", "have a value, and a symbolic tensor has none", x)
    return ops.convert_to_numpy(tf.convert_to_tensor(x))


def ndim(x: Any) -> int:
    """Number of axes of a tensor."""
    return len(x.shape)


def int_shape(x: Any) -> tuple[int | None, ...]:
    """Static shape of a tensor, `None` where an axis is open."""
    return tuple(x.shape)


def dtype(x: Any) -> str:
    """Name of a tensor's type."""
    return keras.backend.standardize_dtype(x.dtype)


def flatten(x: Any) -> Any:
    """All values of a tensor on one axis."""
    return ops.reshape(x, (-1,))


def batch_flatten(x: Any) -> Any:
    """All values of each sample on one axis: `(samples, values)`."""
    return ops.reshape(x, (-1, math.prod(x.shape[1:])))


def gather(reference: Any, indices: Any) -> Any:
    """Rows of `reference` along its first axis."""
    return ops.take(reference, indices, axis=0)


def l2_normalize(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """A tensor divided by its Euclidean norm along `axis`."""
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x / ops.sqrt(ops.maximum(squares, epsilon()))


__all__ = sorted(
    name for name in globals() if not name.startswith("_") and name not in
    ("math", "Any", "Callable", "Sequence", "keras", "np", "ops", "require", "tf")
)  # fmt: skip

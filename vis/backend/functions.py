"""The functions of the old `keras.backend` that losses are written with.

`from vis import backend as K` in place of `from keras import backend as K` lets an old
`build_loss` run on Keras 3 as it stands. Most names are `keras.ops`, under the old spelling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

abs = ops.abs
all = ops.all
any = ops.any
argmax = ops.argmax
argmin = ops.argmin
cast = ops.cast
clip = ops.clip
concatenate = ops.concatenate
cos = ops.cos
cumprod = ops.cumprod
cumsum = ops.cumsum
dot = ops.dot
elu = ops.elu
epsilon = keras.config.epsilon
equal = ops.equal
exp = ops.exp
expand_dims = ops.expand_dims
floatx = keras.config.floatx
greater = ops.greater
greater_equal = ops.greater_equal
hard_sigmoid = ops.hard_sigmoid
image_data_format = keras.config.image_data_format
is_keras_tensor = keras.utils.is_keras_tensor
less = ops.less
less_equal = ops.less_equal
log = ops.log
logsumexp = ops.logsumexp
max = ops.max
maximum = ops.maximum
mean = ops.mean
min = ops.min
minimum = ops.minimum
not_equal = ops.not_equal
one_hot = ops.one_hot
permute_dimensions = ops.transpose
pow = ops.power
prod = ops.prod
relu = ops.relu
repeat_elements = ops.repeat
reshape = ops.reshape
reverse = ops.flip
round = ops.round
set_image_data_format = keras.config.set_image_data_format
shape = ops.shape
sigmoid = ops.sigmoid
sign = ops.sign
sin = ops.sin
softmax = ops.softmax
softplus = ops.softplus
softsign = ops.softsign
sqrt = ops.sqrt
square = ops.square
squeeze = ops.squeeze
stack = ops.stack
std = ops.std
stop_gradient = ops.stop_gradient
sum = ops.sum
switch = ops.where
tanh = ops.tanh
tile = ops.tile
transpose = ops.transpose
var = ops.var


def constant(
    value: Any,
    dtype: str | None = None,
    shape: int | Sequence[int] | None = None,
    name: str | None = None,
) -> Any:
    """A tensor with a value that stays as it is.

    Args:
        value: A number, a list or an array.
        dtype: Type of the tensor, `floatx()` by default.
        shape: Shape of the tensor, that of `value` by default. A single number fills it.
        name: Of no effect.

    Returns:
        A tensor.

    Raises:
        ValueError: If `value` does not fit into `shape`.

    Example:
        >>> eval(constant([1, 2, 3, 4], shape=(2, 2)))
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """
    tensor = ops.convert_to_tensor(value, dtype or floatx())
    if shape is None:
        return tensor
    count, size = math.prod(tensor.shape), int(np.prod(shape))
    if count not in (1, size):
        raise ValueError(
            f"`shape` must hold the {count} numbers of `value`. Received: shape={shape!r}"
        )
    return ops.reshape(ops.broadcast_to(ops.reshape(tensor, (-1,)), (size,)), shape)


def variable(
    value: Any,
    dtype: str | None = None,
    name: str | None = None,
    constraint: Callable[[Any], Any] | None = None,
) -> tf.Variable:
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


def zeros(
    shape: int | Sequence[int], dtype: str | None = None, name: str | None = None
) -> tf.Variable:
    """A `variable` of zeros.

    Args:
        shape: Its shape.
        dtype: Its type, `floatx()` by default.
        name: Its name.

    Example:
        >>> eval(zeros((2,)))
        array([0., 0.], dtype=float32)
    """
    return variable(ops.zeros(shape, dtype or floatx()), dtype, name)


def ones(
    shape: int | Sequence[int], dtype: str | None = None, name: str | None = None
) -> tf.Variable:
    """A `variable` of ones.

    Args:
        shape: Its shape.
        dtype: Its type, `floatx()` by default.
        name: Its name.

    Example:
        >>> eval(ones((2,)))
        array([1., 1.], dtype=float32)
    """
    return variable(ops.ones(shape, dtype or floatx()), dtype, name)


def zeros_like(x: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Zeros of the shape and, unless `dtype` is given, the type of a tensor; `name` is dropped."""
    return ops.zeros_like(x, dtype)


def ones_like(x: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Ones of the shape and, unless `dtype` is given, the type of a tensor; `name` is dropped."""
    return ops.ones_like(x, dtype)


def eval(x: Any) -> np.ndarray:
    """The value of a tensor or a variable.

    Args:
        x: A tensor that has a value, which those have not that a model is built of.

    Returns:
        A NumPy array.

    Raises:
        ValueError: If `x` is symbolic.

    Example:
        >>> eval(square(constant([1, 2])))
        array([1., 4.], dtype=float32)
    """
    if isinstance(x, keras.KerasTensor):
        raise ValueError(
            f"`x` must have a value, and a symbolic tensor has none. Received: x={x!r}"
        )
    return ops.convert_to_numpy(ops.convert_to_tensor(x))


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
    ("annotations", "math", "Any", "Callable", "Sequence", "keras", "np", "ops", "tf")
)  # fmt: skip

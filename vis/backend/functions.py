"""The functions of the old `keras.backend` that losses are written with.

`from vis import backend as K` in place of `from keras import backend as K` lets an old
`build_loss` run on Keras 3 as it stands. Each name is `keras.ops`, under the old spelling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

abs = ops.abs
all = ops.all
any = ops.any
argmax = ops.argmax
argmin = ops.argmin
cast = ops.cast
clip = ops.clip
concatenate = ops.concatenate
constant = ops.convert_to_tensor
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
ones_like = ops.ones_like
permute_dimensions = ops.transpose
pow = ops.power
prod = ops.prod
relu = ops.relu
repeat_elements = ops.repeat
reshape = ops.reshape
reverse = ops.flip
round = ops.round
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
zeros_like = ops.zeros_like


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
    ("annotations", "math", "Any", "Sequence", "keras", "ops")
)  # fmt: skip

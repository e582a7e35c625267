"""What an image should look like, whatever is wanted of it."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from vis.losses import TensorLoss
from vis.utils.model import spatial_axes
from vis.utils.validation import check_number


def normalize(input_tensor: Any, output_tensor: Any) -> Any:
    """A value divided by the number of values in one image, channels included.

    A regularizer then weighs the same whatever the size of the image.

    Args:
        input_tensor: The images, `(samples, ...)`.
        output_tensor: What is to be divided.

    Returns:
        A tensor like `output_tensor`.

    Example:
        >>> float(normalize(ops.zeros((1, 2, 5)), ops.convert_to_tensor(30.0)))
        3.0
    """
    return output_tensor / math.prod(input_tensor.shape[1:])


class TotalVariation(TensorLoss):
    """N-dimensional total variation, which draws smooth areas with sharp edges between them.

    The sum over all places of `(sum over axes of squared forward differences)^(beta / 2)`,
    divided by the number of values in one image (Mahendran & Vedaldi, "Understanding Deep Image
    Representations by Inverting Them", arXiv:1412.0035).

    Args:
        img_input: The model's input, `(samples, image dims..., channels)`, or channels first.
        beta: Exponent, positive. Smaller values tolerate sharp edges, but leave more noise.

    Example:
        >>> print(TotalVariation(keras.Input((8, 8, 1))))
        TV(2.0) Loss
    """

    def __init__(self, img_input: keras.KerasTensor, beta: float = 2.0) -> None:
        check_image_input(img_input)
        if check_number("beta", beta) <= 0:
            raise ValueError(f"`beta` must be positive. Received: beta={beta!r}")
        super().__init__(img_input, name=f"TV({beta}) Loss")
        self.img = img_input
        self.beta = beta
        self.settings = {"beta": float(beta), "axes": spatial_axes(img_input)}

    @staticmethod
    def formula(image: Any, beta: float, axes: tuple[int, ...]) -> Any:
        if not axes:
            return ops.zeros_like(ops.reshape(image, (-1, image.shape[-1]))[:, 0])
        inner = [slice(None)] * len(image.shape)
        for axis in axes:
            inner[axis] = slice(None, -1)
        squares = 0.0
        for axis in axes:
            ahead = list(inner)
            ahead[axis] = slice(1, None)
            squares = squares + ops.square(image[tuple(ahead)] - image[tuple(inner)])
        if beta != 2:
            # The gradient of a power below one is infinite at zero.
            least = 0.0 if beta > 2 else keras.config.epsilon() ** 2
            squares = ops.power(ops.maximum(squares, least), beta / 2)
        total = ops.sum(squares, axis=list(range(1, len(image.shape))))
        return normalize(image, total)


class LPNorm(TensorLoss):
    """p-norm of the image, which keeps its values in bounds.

    Divided by the number of values in one image.

    Args:
        img_input: The model's input, `(samples, image dims..., channels)`, or channels first.
        p: Order of the norm, at least 1. `inf` is the greatest value of the image.

    Raises:
        ValueError: If `p` is less than 1.

    Example:
        >>> print(LPNorm(keras.Input((8, 8, 1))))
        L-6.0 Norm Loss
    """

    def __init__(self, img_input: keras.KerasTensor, p: float = 6.0) -> None:
        check_image_input(img_input)
        if p != math.inf and check_number("p", p) < 1:
            raise ValueError(f"`p` must be at least 1, or inf. Received: p={p!r}")
        super().__init__(img_input, name=f"L-{p} Norm Loss")
        self.img = img_input
        self.p = p
        self.settings = {"p": float(p)}

    @staticmethod
    def formula(image: Any, p: float) -> Any:
        axes = list(range(1, len(image.shape)))
        if math.isinf(p):
            return normalize(image, ops.max(image, axis=axes))
        sizes = ops.abs(image)
        # Relative to the greatest value no power overflows; the sum is then at least one, except
        # for an image of zeros, whose norm's gradient would not be finite.
        greatest = ops.stop_gradient(ops.max(sizes, axis=axes, keepdims=True))
        greatest = ops.maximum(greatest, keras.config.epsilon() ** 2)
        total = ops.sum(_power(sizes / greatest, p), axis=axes)
        norm = ops.power(ops.maximum(total, 1.0), 1 / p)
        return normalize(image, ops.reshape(greatest, (-1,)) * norm)


def _power(x: Any, p: float) -> Any:
    """`x ** p` for non-negative `x`; whole powers by multiplication, which is much faster."""
    if p != int(p) or p > 32:
        return ops.power(x, p)
    result, square, p = None, x, int(p)
    while p:
        if p % 2:
            result = square if result is None else result * square
        p //= 2
        if p:
            square = square * square
    return result


def check_image_input(img_input: Any) -> None:
    """Raises a `TypeError` unless `img_input` is a model's symbolic input."""
    if not isinstance(img_input, keras.KerasTensor):
        raise TypeError(
            "`img_input` must be a symbolic tensor, the model's input (`model.input`). "
            f"Received: img_input={img_input!r}"
        )

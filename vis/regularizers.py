"""Penalties on the image: total variation, norms, blur."""

import functools
import math
import operator
from typing import Any

import keras
from keras import ops

from vis.backend.graph import spatial_axes
from vis.losses import TensorLoss
from vis.utils.validation import check_number, check_positive, expect, require


def normalize(input_tensor: Any, output_tensor: Any) -> Any:
    """Divides a value by the number of values in one image, channels included.

    The weight of a regularizer then does not depend on the size of the image.

    Args:
        input_tensor: Images, `(samples, ...)`.
        output_tensor: Tensor to divide.

    Returns:
        A tensor like `output_tensor`.

    Example:
        >>> float(normalize(ops.zeros((1, 2, 5)), ops.convert_to_tensor(30.0)))
        3.0
    """
    return output_tensor / math.prod(input_tensor.shape[1:])


class _ImageLoss(TensorLoss):
    """Base class of losses of the model's input."""

    def __init__(self, img_input: keras.KerasTensor, name: str) -> None:
        is_tensor = isinstance(img_input, keras.KerasTensor)
        expected = "be a symbolic tensor, the model's input (`model.input`)"
        require(is_tensor, "img_input", expected, img_input, TypeError)
        super().__init__(img_input, name)
        self.img = img_input


class TotalVariation(_ImageLoss):
    """N-dimensional total variation, for smooth areas with sharp edges.

    The sum over all positions of `(sum over axes of squared forward differences)^(beta / 2)`,
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
        super().__init__(img_input, name=f"TV({beta}) Loss")
        self.beta = beta
        self.settings = {"beta": check_positive("beta", beta), "axes": spatial_axes(img_input)}

    @staticmethod
    def formula(image: Any, beta: float, axes: tuple[int, ...]) -> Any:
        if not axes:
            return ops.zeros_like(ops.reshape(image, (-1, image.shape[-1]))[:, 0])
        values = _without_last(image, axes)
        squares = sum(ops.square(_without_last(image, axes, axis) - values) for axis in axes)
        if beta != 2:
            # The gradient of a power below one is infinite at zero.
            minimum = 0.0 if beta > 2 else keras.config.epsilon() ** 2
            squares = ops.power(ops.maximum(squares, minimum), beta / 2)
        total = ops.sum(squares, axis=list(range(1, len(image.shape))))
        return normalize(image, total)


def _without_last(image: Any, axes: tuple[int, ...], shifted: int | None = None) -> Any:
    """The image without the last position along each axis; without the first along `shifted`."""
    start = [int(i == shifted) for i in range(len(image.shape))]
    if None in image.shape:
        slices = [slice(1, None) if first else slice(-1) for first in start]
        return image[tuple(s if i in axes else slice(None) for i, s in enumerate(slices))]
    # Several times as fast as the gradient of indexing.
    return ops.slice(image, start, [size - (i in axes) for i, size in enumerate(image.shape)])


class LPNorm(_ImageLoss):
    """p-norm of the image, divided by its number of values, against extreme values.

    Args:
        img_input: The model's input, `(samples, image dims..., channels)`, or channels first.
        p: Order of the norm, at least 1. `inf` is the maximum of the image.

    Raises:
        ValueError: If `p` is less than 1.

    Example:
        >>> print(LPNorm(keras.Input((8, 8, 1))))
        L-6.0 Norm Loss
    """

    def __init__(self, img_input: keras.KerasTensor, p: float = 6.0) -> None:
        super().__init__(img_input, name=f"L-{p} Norm Loss")
        is_infinite = isinstance(p, float) and p == math.inf
        require(is_infinite or check_number("p", p) >= 1, "p", "be at least 1, or inf", p)
        self.p = p
        self.settings = {"p": float(p)}

    @staticmethod
    def formula(image: Any, p: float) -> Any:
        axes = list(range(1, len(image.shape)))
        if math.isinf(p):
            return normalize(image, ops.max(image, axis=axes))
        values = ops.abs(image)
        # Powers of values relative to the maximum do not overflow. Their sum is at least 1, except
        # for an image of zeros, for which the gradient of the root would not be finite.
        maximum = ops.stop_gradient(ops.max(values, axis=axes, keepdims=True))
        maximum = ops.maximum(maximum, keras.config.epsilon() ** 2)
        total = ops.sum(_power(values / maximum, p), axis=axes)
        norm = ops.power(ops.maximum(total, 1.0), 1 / p)
        return normalize(image, ops.reshape(maximum, (-1,)) * norm)


class _CentredLoss(_ImageLoss):
    """Base class of distances from a centre."""

    def __init__(self, img_input: keras.KerasTensor, *, center: float = 0.0) -> None:
        super().__init__(img_input, name=f"{type(self).__name__} Loss")
        self.settings = {"center": check_number("center", center)}


class L1(_CentredLoss):
    """Mean absolute distance of the image's values from a centre, for sparse images.

    Args:
        img_input: The model's input.
        center: The centre, in the units of the image.

    Example:
        >>> print(L1(keras.Input((8, 8, 1)), center=127.5))
        L1 Loss
    """

    @staticmethod
    def formula(image: Any, center: float) -> Any:
        return ops.mean(ops.abs(image - center), axis=list(range(1, len(image.shape))))


class L2(_CentredLoss):
    """Mean squared distance of the image's values from a centre, for low contrast.

    Args:
        img_input: The model's input.
        center: The centre, in the units of the image.

    Example:
        >>> print(L2(keras.Input((8, 8, 1)), center=127.5))
        L2 Loss
    """

    @staticmethod
    def formula(image: Any, center: float) -> Any:
        return ops.mean(ops.square(image - center), axis=list(range(1, len(image.shape))))


class BlurPenalty(_ImageLoss):
    """Mean squared difference between the image and a blurred copy, against fine noise.

    The blur is binomial over three pixels along each spatial axis (a penalty on high frequencies,
    Olah et al., "Feature Visualization", Distill 2017).

    Args:
        img_input: The model's input, with at least one spatial axis.

    Example:
        >>> print(BlurPenalty(keras.Input((8, 8, 1))))
        Blur Loss
    """

    def __init__(self, img_input: keras.KerasTensor) -> None:
        super().__init__(img_input, name="Blur Loss")
        axes = spatial_axes(img_input)
        received = f"an input of shape {tuple(img_input.shape)}"
        expect(axes, "img_input", "have a spatial axis", received)
        self.settings = {"axes": axes}

    @staticmethod
    def formula(image: Any, axes: tuple[int, ...]) -> Any:
        blurred = image
        for axis in axes:
            size = image.shape[axis]
            # Edges are repeated.
            following = ops.take(blurred, [*range(1, size), size - 1], axis=axis)
            previous = ops.take(blurred, [0, *range(size - 1)], axis=axis)
            blurred = (previous + 2 * blurred + following) / 4
        return ops.mean(ops.square(image - blurred), axis=list(range(1, len(image.shape))))


def _power(x: Any, p: float) -> Any:
    """`x ** p` for non-negative `x`; integer powers by multiplication, which is much faster."""
    if p != int(p) or p > 32:
        return ops.power(x, p)
    squares, integer = [x], int(p)
    while 2 ** len(squares) <= integer:
        squares.append(squares[-1] * squares[-1])
    return functools.reduce(operator.mul, (s for i, s in enumerate(squares) if integer >> i & 1))

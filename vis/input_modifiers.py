"""How the image is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vis import backend
from vis.utils.model import spatial_axes_of
from vis.utils.validation import check_number
from vis.utils.value import Value


class InputModifier:
    """Base class of modifiers of the image itself, in NumPy, before and after each step.

    Example:
        >>> class Dim(InputModifier):
        ...     def post(self, image):
        ...         return 0.99 * image
        >>> Dim().post(np.ones(2))
        array([0.99, 0.99])
    """

    def pre(self, image: np.ndarray) -> np.ndarray:
        """Changes the image before losses and gradients are computed.

        Args:
            image: `(samples, ...)`.

        Returns:
            An image of the same shape.
        """
        return image

    def post(self, image: np.ndarray) -> np.ndarray:
        """Changes the image after it was updated.

        Args:
            image: `(samples, ...)`.

        Returns:
            An image of the same shape.
        """
        return image


class Transform(Value, InputModifier):
    """Base class of modifiers that run inside the compiled step, with gradients through them.

    A transform changes what the model sees, not the image that is kept. It is random for each
    sample and step by itself, by the seeds that it is given, and written in `keras.ops`. Its
    attributes must be hashable: by them a compiled step is found again.

    Attributes:
        only_moves_pixels: Whether all pixels survive, so that an image that is optimised pixel by
            pixel is itself transformed: the picture is then what the model saw.
    """

    only_moves_pixels = False

    def __call__(self, images: Any, seeds: Any, axes: tuple[int, ...]) -> Any:
        """Transforms images.

        Args:
            images: Backend tensor `(samples, ...)`.
            seeds: Backend tensor of integers `(samples, 2)`.
            axes: The spatial axes of `images`.

        Returns:
            A backend tensor.
        """
        raise NotImplementedError

    def check(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
        """Raises a `ValueError` if images of `shape` cannot be transformed."""

    def pre(self, image: np.ndarray) -> np.ndarray:
        """Transforms an array once, by NumPy's global random state.

        Args:
            image: `(samples, ...)`, in the order of `keras.config.image_data_format()`.

        Returns:
            A new array.
        """
        image = np.asarray(image)
        axes = spatial_axes_of(image.shape, keras.config.image_data_format())
        self.check(image.shape, axes)
        seeds = np.random.randint(2**31, size=(len(image), 2))  # noqa: NPY002
        return ops.convert_to_numpy(self(ops.convert_to_tensor(image), seeds, axes))


class Jitter(Transform):
    """Rolls the image by a random whole number of pixels along each spatial axis.

    Pixels that leave at one side come back at the other. Jitter makes pictures crisper, as
    nothing that depends on an exact place survives it (Mordvintsev et al., "Inceptionism", 2015).

    Args:
        jitter: Most pixels to roll by, in either direction: one number for all spatial axes, or
            one for each. Numbers below 1 are a fraction of the axis.

    Raises:
        ValueError: If a number is negative.

    Example:
        >>> image = np.arange(6.0).reshape(1, 6, 1)
        >>> jittered = Jitter(2).pre(image)
        >>> jittered.shape, sorted(jittered.ravel()) == sorted(image.ravel())
        ((1, 6, 1), True)
    """

    only_moves_pixels = True

    def __init__(self, jitter: float | Sequence[float] = 0.05) -> None:
        values = jitter if isinstance(jitter, (Sequence, np.ndarray)) else [jitter]
        if isinstance(jitter, str) or len(values) == 0:
            raise TypeError(
                f"`jitter` must be a number or a sequence of numbers. Received: jitter={jitter!r}"
            )
        for value in values:
            if check_number("jitter", value) < 0:
                raise ValueError(f"`jitter` must not be negative. Received: jitter={jitter!r}")
        self.jitter = tuple(values) if values is jitter else jitter

    def check(self, shape, axes):
        if isinstance(self.jitter, tuple) and len(self.jitter) != len(axes):
            raise ValueError(
                f"`jitter` must be one number, or one for each of the {len(axes)} spatial axes. "
                f"Received: jitter={self.jitter!r}"
            )

    def __call__(self, images, seeds, axes):
        values = self.jitter if isinstance(self.jitter, tuple) else (self.jitter,) * len(axes)
        sizes = [images.shape[axis] for axis in axes]
        most = [int(v * size) if v < 1 else int(v) for v, size in zip(values, sizes, strict=True)]
        if not any(most):
            return images
        numbers = backend.uniform(seeds, [len(axes)])
        shifts = ops.floor(numbers * [2.0 * m + 1 for m in most]) - [float(m) for m in most]
        return backend.roll(images, ops.cast(shifts, "int32"), axes)


def is_in_graph(modifier: InputModifier) -> bool:
    """Whether a modifier runs as a transform, and not through a `pre` or `post` of its own."""
    return (
        isinstance(modifier, Transform)
        and type(modifier).pre is Transform.pre
        and type(modifier).post is InputModifier.post
    )


def fused(transforms):
    return list(transforms)

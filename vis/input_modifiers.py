"""How the image is looked at."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import keras
import numpy as np
from keras import ops

from vis import backend
from vis.utils.layout import spatial_axes_of
from vis.utils.validation import (
    check_computable,
    check_integer,
    check_not_negative,
    check_number,
    check_positive,
    check_sizes,
    expect,
    is_iterable,
    per_axis,
    require,
)
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
        """Changes the image after it was updated, with arguments as in `pre`."""
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

    def output_shape(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of transformed images."""
        return shape

    def pre(self, image: np.ndarray) -> np.ndarray:
        """Transforms an array once, by NumPy's global random state.

        Args:
            image: `(samples, ...)`, in the order of `keras.config.image_data_format()`.

        Returns:
            A new array; of floats, unless pixels are only moved.
        """
        image = check_computable("image", image)
        require(image.ndim, "image", "be `(samples, ...)`", image)
        if not self.only_moves_pixels and not np.issubdtype(image.dtype, np.floating):
            image = image.astype("float32")
        axes = spatial_axes_of(image.shape, keras.config.image_data_format())
        self.check(image.shape, axes)
        seeds = np.random.randint(2**31, size=(len(image), 2))  # noqa: NPY002
        return ops.convert_to_numpy(self(ops.convert_to_tensor(image), seeds, axes))


class Spatial(Transform):
    """Base class of transforms of images with a spatial axis."""

    def check(self, shape, axes):
        if not axes:
            raise ValueError(
                f"`{type(self).__name__}` needs images with a spatial axis. "
                f"Received: images of shape {shape[1:]}"
            )


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
        values = tuple(jitter) if is_iterable(jitter) else (jitter,)
        are_some = values and not isinstance(jitter, str)
        require(are_some, "jitter", "be a number or a sequence of numbers", jitter, TypeError)
        for value in values:
            check_not_negative("jitter", value)
        self.jitter = values if is_iterable(jitter) else jitter

    def check(self, shape, axes):
        per_axis("jitter", self.jitter, axes)

    def __call__(self, images, seeds, axes):
        most = [
            int(value * images.shape[axis]) if value < 1 else int(value)
            for axis, value in per_axis("jitter", self.jitter, axes).items()
        ]
        if not any(most):
            return images
        numbers = backend.uniform(seeds, [len(axes)])
        shifts = ops.floor(numbers * [2.0 * m + 1 for m in most]) - [float(m) for m in most]
        return backend.roll(images, ops.cast(shifts, "int32"), axes)


class Planar(Transform):
    """Base class of random affine maps of the plane, about the image's centre.

    Neighbours in a list of modifiers are composed, so that the image is interpolated once.
    """

    def matrices(self, seeds: Any) -> Any:
        """Random maps: `(samples, 2, 2)`, from a place to where it is looked up."""
        raise NotImplementedError

    def check(self, shape, axes):
        if len(axes) != 2:
            raise ValueError(
                f"`{type(self).__name__}` needs images with two spatial axes. "
                f"Received: images of shape {shape[1:]}"
            )

    def __call__(self, images, seeds, axes):
        linear = ops.cast(self.matrices(seeds), images.dtype)
        matrices = ops.concatenate([linear, ops.zeros_like(linear[:, :, :1])], axis=2)
        if axes == (2, 3):
            turned = backend.warp(ops.transpose(images, (0, 2, 3, 1)), matrices)
            return ops.transpose(turned, (0, 3, 1, 2))
        return backend.warp(images, matrices)


class Rotate(Planar):
    """Rotates the image by a random angle.

    Args:
        degrees: Largest angle, in either direction; non-negative.

    Example:
        >>> Rotate(10).pre(np.ones((1, 8, 8, 3), "float32")).shape
        (1, 8, 8, 3)
    """

    def __init__(self, degrees: float = 10.0) -> None:
        check_not_negative("degrees", degrees)
        self.degrees = degrees

    def matrices(self, seeds):
        most = math.radians(self.degrees)
        angles = backend.uniform(seeds, [], -most, most)
        rows = [[ops.cos(angles), -ops.sin(angles)], [ops.sin(angles), ops.cos(angles)]]
        return ops.stack([ops.stack(row, axis=1) for row in rows], axis=1)


class Scale(Planar):
    """Enlarges or shrinks the image about its centre by a random factor, at the same size.

    Args:
        low: Least factor, positive.
        high: Largest factor, at least `low`.

    Example:
        >>> Scale(0.8, 1.2).pre(np.ones((1, 8, 1), "float32")).shape
        (1, 8, 1)
    """

    def __init__(self, low: float = 0.8, high: float = 1.2) -> None:
        is_rising = check_positive("low", low) <= check_positive("high", high)
        expect(is_rising, "high", "not be less than `low`", f"low={low!r}, high={high!r}")
        self.low = low
        self.high = high

    check = Spatial.check

    def matrices(self, seeds):
        factors = self._factors(seeds)[:, None, None]
        return ops.eye(2, dtype=factors.dtype) / factors

    def __call__(self, images, seeds, axes):
        if len(axes) == 2:
            return super().__call__(images, seeds, axes)
        factors = self._factors(seeds)
        for axis in axes:
            images = backend.zoom(images, factors, axis)
        return images

    def _factors(self, seeds: Any) -> Any:
        # As likely to halve as to double.
        return ops.exp(backend.uniform(seeds, [], math.log(self.low), math.log(self.high)))


class Composed(Planar):
    """Several planar maps, one after the other, as one."""

    def __init__(self, parts: Sequence[Planar]) -> None:
        self.parts = tuple(parts)

    def matrices(self, seeds):
        matrices = [
            part.matrices(backend.fold_in(seeds, number)) for number, part in enumerate(self.parts)
        ]
        return functools.reduce(ops.matmul, matrices)


class Pad(Spatial):
    """Surrounds the image, so that nothing of it lies at the edge of what the model sees.

    The model is shown a larger image; with `Crop` behind it, one of the old size again.

    Args:
        pixels: Width of the border on each side, non-negative.
        value: What the border is filled with: a number in the range of the image, or None for
            the image's own mean, sample by sample and channel by channel.

    Example:
        >>> Pad(2).pre(np.ones((1, 8, 8, 3), "float32")).shape
        (1, 12, 12, 3)
    """

    def __init__(self, pixels: int = 12, *, value: float | None = None) -> None:
        self.pixels = check_integer("pixels", pixels, least=0)
        self.value = None if value is None else check_number("value", value)

    def __call__(self, images, seeds, axes):
        widths = [(self.pixels,) * 2 if i in axes else (0, 0) for i in range(len(images.shape))]
        if self.value is not None:
            return ops.pad(images, widths, constant_values=self.value)
        mean = ops.mean(images, axis=axes, keepdims=True)
        return ops.pad(images - mean, widths) + mean

    def output_shape(self, shape, axes):
        return tuple(n + 2 * self.pixels if i in axes else n for i, n in enumerate(shape))


class Crop(Spatial):
    """Shows a part of the image at a random place.

    Args:
        size: Size of the part along each spatial axis: one whole number for all, or one for each.

    Example:
        >>> Crop(6).pre(np.ones((1, 8, 8, 3), "float32")).shape
        (1, 6, 6, 3)
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = check_sizes("size", size)

    def check(self, shape, axes):
        super().check(shape, axes)
        counted = not isinstance(self.size, tuple) or len(self.size) == len(axes)
        if not counted or any(n > shape[i] for i, n in per_axis("size", self.size, axes).items()):
            raise ValueError(
                f"`size` must be one number, or one for each of the {len(axes)} spatial axes, and "
                f"fit into the image. Received: size={self.size!r} for images of shape {shape[1:]}"
            )

    def __call__(self, images, seeds, axes):
        sizes = per_axis("size", self.size, axes)
        room = [images.shape[axis] - size for axis, size in sizes.items()]
        numbers = backend.uniform(seeds, [len(axes)])
        starts = ops.cast(ops.floor(numbers * [n + 1.0 for n in room]), "int32")
        # Rolled to the front, the part is at the same place in each sample.
        rolled = backend.roll(images, -starts, axes)
        return rolled[tuple(slice(sizes.get(axis)) for axis in range(len(images.shape)))]

    def output_shape(self, shape, axes):
        sizes = per_axis("size", self.size, axes)
        return tuple(sizes.get(i, n) for i, n in enumerate(shape))


class Noise(Transform):
    """Adds normal noise.

    Args:
        std: Standard deviation, in the units of the image; non-negative.

    Example:
        >>> Noise(2.0).pre(np.zeros((1, 8), "float32")).shape
        (1, 8)
    """

    def __init__(self, std: float = 10.0) -> None:
        self.std = check_not_negative("std", std)

    def __call__(self, images, seeds, axes):
        return images + self.std * ops.cast(backend.normal(seeds, images.shape[1:]), images.dtype)


class Blur(Spatial):
    """Blurs the image by a Gaussian of random width.

    Args:
        low: Least standard deviation in pixels, non-negative.
        high: Largest standard deviation in pixels, positive, at least `low`.

    Example:
        >>> Blur(high=1.5).pre(np.ones((1, 8, 8, 1), "float32")).shape
        (1, 8, 8, 1)
    """

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        is_ordered = 0 <= check_number("low", low) <= check_positive("high", high)
        expect(is_ordered, "low", "be between 0 and `high`", f"low={low!r}, high={high!r}")
        self.low = float(low)
        self.high = float(high)

    def __call__(self, images, seeds, axes):
        deviations = ops.maximum(backend.uniform(seeds, [], self.low, self.high), 1e-2)
        for axis in axes:
            images = backend.blur(images, deviations, axis)
        return images


def is_in_graph(modifier: InputModifier) -> TypeGuard[Transform]:
    """Whether a modifier runs as a transform, and not through a `pre` or `post` of its own."""
    return (
        isinstance(modifier, Transform)
        and type(modifier).pre is Transform.pre
        and type(modifier).post is InputModifier.post
    )


@dataclasses.dataclass(eq=False)
class Seeded(InputModifier):
    """A transform among modifiers in NumPy, as random as it would be in the compiled step."""

    transform: Transform
    number: int  # Its own among the transforms there.
    seeds: Any
    axes: tuple[int, ...]
    step: int = 0

    def pre(self, image):
        seeds = backend.fold_in(backend.fold_in(self.seeds, self.step), self.number)
        self.step += 1
        return ops.convert_to_numpy(self.transform(ops.convert_to_tensor(image), seeds, self.axes))


def in_order(
    modifiers: Sequence[InputModifier], seeds: Any, axes: tuple[int, ...]
) -> list[InputModifier]:
    """The modifiers of the image itself, each in its place, with transforms called by hand."""
    numbers = itertools.count()
    return [
        Seeded(modifier, next(numbers), seeds, axes) if is_in_graph(modifier) else modifier
        for modifier in modifiers
        if not is_in_graph(modifier) or modifier.only_moves_pixels
    ]


def fused(transforms: Sequence[Transform]) -> list[Transform]:
    """The same transforms, with neighbouring maps of the plane composed."""
    joined: list[Transform] = []
    for are_planar, neighbours in itertools.groupby(transforms, lambda t: isinstance(t, Planar)):
        group: list[Any] = list(neighbours)
        joined += [Composed(group)] if are_planar and len(group) > 1 else group
    return joined


def check_transforms(
    transforms: Sequence[Transform], shape: tuple[int, ...], axes: tuple[int, ...]
) -> tuple[int, ...]:
    """Raises a `ValueError` unless all transforms fit; returns the shape behind the last."""
    for transform in transforms:
        transform.check(shape, axes)
        shape = transform.output_shape(shape, axes)
    return shape

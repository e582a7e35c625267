"""Image transforms and other modifiers of the optimised image."""

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
    """Base class of modifiers in NumPy, which change the image before and after each step.

    Example:
        >>> class Dim(InputModifier):
        ...     def post(self, image):
        ...         return 0.99 * image
        >>> Dim().post(np.ones(2))
        array([0.99, 0.99])
    """

    def pre(self, image: np.ndarray) -> np.ndarray:
        """Returns the images, `(samples, ...)`, to compute losses and gradients of."""
        return image

    def post(self, image: np.ndarray) -> np.ndarray:
        """Returns the images, `(samples, ...)`, after an update."""
        return image


class Transform(Value, InputModifier):
    """Base class of differentiable image transforms, which run inside the compiled step.

    A transform changes the model's input, not the image that is returned. It is written in
    `keras.ops`, and its randomness is a function of the seeds. Attributes must be hashable.

    Attributes:
        only_moves_pixels: Whether every pixel is kept. If True, an image that is optimised pixel by
            pixel is itself transformed, as by keras-vis's `Jitter`.
    """

    only_moves_pixels = False

    def __call__(self, images: Any, seeds: Any, axes: tuple[int, ...]) -> Any:
        """Transforms images.

        Args:
            images: Tensor, `(samples, ...)`.
            seeds: Integer tensor, `(samples, 2)`: a random seed for each sample and step.
            axes: The spatial axes of `images`.

        Returns:
            A tensor.
        """
        raise NotImplementedError

    def check(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
        """Raises a `ValueError` if images of `shape` cannot be transformed."""

    def output_shape(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of transformed images."""
        return shape

    def pre(self, image: np.ndarray) -> np.ndarray:
        """Transforms an array, with NumPy's global random state.

        Args:
            image: `(samples, ...)`, in the format of `keras.config.image_data_format()`.

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


class SpatialTransform(Transform):
    """Base class of transforms along spatial axes, of which there must be one or more."""

    def check(self, shape, axes):
        received = f"images of shape {shape[1:]}"
        expect(axes, type(self).__name__, "be used on images with a spatial axis", received)


class Jitter(Transform):
    """Random shift: rolls the image by a whole number of pixels along each spatial axis.

    Pixels that leave at one side return at the other. Jitter makes pictures crisper, because
    nothing that depends on an exact position survives it (Mordvintsev et al., "Inceptionism",
    2015).

    Args:
        jitter: Maximum number of pixels, in either direction: one number for all spatial axes, or
            one per axis. Numbers below 1 are a fraction of the axis.

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
        limits = [
            int(value * images.shape[axis]) if value < 1 else int(value)
            for axis, value in per_axis("jitter", self.jitter, axes).items()
        ]
        if not any(limits):
            return images
        numbers = backend.uniform(seeds, [len(axes)])
        shifts = ops.floor(numbers * [2.0 * n + 1 for n in limits]) - [float(n) for n in limits]
        return backend.roll(images, ops.cast(shifts, "int32"), axes)


class LinearTransform(Transform):
    """Base class of random linear transforms of 2-D images about their centre.

    Consecutive ones are composed, so that the image is interpolated only once.
    """

    def matrices(self, seeds: Any) -> Any:
        """Random matrices, `(samples, 2, 2)`, from output to input positions."""
        raise NotImplementedError

    def check(self, shape, axes):
        expected = "be used on images with two spatial axes"
        received = f"images of shape {shape[1:]}"
        expect(len(axes) == 2, type(self).__name__, expected, received)

    def __call__(self, images, seeds, axes):
        matrices = ops.cast(self.matrices(seeds), images.dtype)
        matrices = ops.concatenate([matrices, ops.zeros_like(matrices[:, :, :1])], axis=2)
        if len(images.shape) == 3:
            return backend.warp(images[..., None], matrices)[..., 0]
        if axes == (2, 3):
            images = backend.warp(ops.transpose(images, (0, 2, 3, 1)), matrices)
            return ops.transpose(images, (0, 3, 1, 2))
        return backend.warp(images, matrices)


class Rotate(LinearTransform):
    """Random rotation of the image.

    Args:
        degrees: Maximum angle in degrees, in either direction; non-negative.

    Example:
        >>> Rotate(10).pre(np.ones((1, 8, 8, 3), "float32")).shape
        (1, 8, 8, 3)
    """

    def __init__(self, degrees: float = 10.0) -> None:
        self.degrees = check_not_negative("degrees", degrees)

    def matrices(self, seeds):
        limit = math.radians(self.degrees)
        angles = backend.uniform(seeds, [], -limit, limit)
        rows = [[ops.cos(angles), -ops.sin(angles)], [ops.sin(angles), ops.cos(angles)]]
        return ops.stack([ops.stack(row, axis=1) for row in rows], axis=1)


class Scale(LinearTransform):
    """Random zoom: scales the content about the image's centre. The image keeps its size.

    Args:
        low: Smallest factor, positive.
        high: Largest factor, at least `low`.

    Example:
        >>> Scale(0.8, 1.2).pre(np.ones((1, 8, 1), "float32")).shape
        (1, 8, 1)
    """

    def __init__(self, low: float = 0.8, high: float = 1.2) -> None:
        is_ordered = check_positive("low", low) <= check_positive("high", high)
        expect(is_ordered, "high", "not be less than `low`", f"low={low!r}, high={high!r}")
        self.low = low
        self.high = high

    check = SpatialTransform.check

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
        # Uniform in the logarithm: halving is as likely as doubling.
        return ops.exp(backend.uniform(seeds, [], math.log(self.low), math.log(self.high)))


class ComposedTransform(LinearTransform):
    """Consecutive linear transforms as one."""

    def __init__(self, parts: Sequence[LinearTransform]) -> None:
        self.parts = tuple(parts)

    def matrices(self, seeds):
        matrices = [
            part.matrices(backend.fold_in(seeds, number)) for number, part in enumerate(self.parts)
        ]
        return functools.reduce(ops.matmul, matrices)


class Pad(SpatialTransform):
    """Adds a border to the image, so that no content lies at the edge of the model's input.

    The model's input becomes larger. `Crop` after it restores the size.

    Args:
        pixels: Width of the border on each side, non-negative.
        value: Value of the border, in the range of the image. The default is the image's mean, per
            sample and channel.

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


class Crop(SpatialTransform):
    """Random crop of the image.

    Args:
        size: Size of the crop: one integer for all spatial axes, or one per axis.

    Example:
        >>> Crop(6).pre(np.ones((1, 8, 8, 3), "float32")).shape
        (1, 6, 6, 3)
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = check_sizes("size", size)

    def check(self, shape, axes):
        super().check(shape, axes)
        sizes = per_axis("size", self.size, axes)
        fits = all(size <= shape[axis] for axis, size in sizes.items())
        received = f"size={self.size!r} for images of shape {shape[1:]}"
        expect(fits, "size", "not be larger than the image", received)

    def __call__(self, images, seeds, axes):
        sizes = per_axis("size", self.size, axes)
        margins = [images.shape[axis] - size for axis, size in sizes.items()]
        numbers = backend.uniform(seeds, [len(axes)])
        starts = ops.cast(ops.floor(numbers * [n + 1.0 for n in margins]), "int32")
        # Rolled to the front, the crop has the same position in each sample.
        rolled = backend.roll(images, -starts, axes)
        return rolled[tuple(slice(sizes.get(axis)) for axis in range(len(images.shape)))]

    def output_shape(self, shape, axes):
        sizes = per_axis("size", self.size, axes)
        return tuple(sizes.get(i, n) for i, n in enumerate(shape))


class Noise(Transform):
    """Adds Gaussian noise.

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


class Blur(SpatialTransform):
    """Gaussian blur of random width.

    Args:
        low: Smallest standard deviation in pixels, non-negative.
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
    """Whether a modifier runs in the compiled step, not through its own `pre` or `post`."""
    return (
        isinstance(modifier, Transform)
        and type(modifier).pre is Transform.pre
        and type(modifier).post is InputModifier.post
    )


@dataclasses.dataclass(eq=False)
class SeededTransform(InputModifier):
    """A transform among modifiers in NumPy, with the randomness of the compiled step."""

    transform: Transform
    index: int  # Among the transforms.
    seeds: Any
    axes: tuple[int, ...]
    step: int = 0

    def pre(self, image):
        seeds = backend.fold_in(backend.fold_in(self.seeds, self.step), self.index)
        self.step += 1
        return ops.convert_to_numpy(self.transform(ops.convert_to_tensor(image), seeds, self.axes))


def modifiers_in_numpy(
    modifiers: Sequence[InputModifier], seeds: Any, axes: tuple[int, ...]
) -> list[InputModifier]:
    """The modifiers to call in NumPy, in order; an empty list if all run in the compiled step.

    Transforms that move pixels keep their place among modifiers in NumPy.
    """
    if all(map(is_in_graph, modifiers)):
        return []
    indices = itertools.count()
    return [
        SeededTransform(modifier, next(indices), seeds, axes) if is_in_graph(modifier) else modifier
        for modifier in modifiers
        if not is_in_graph(modifier) or modifier.only_moves_pixels
    ]


def compose_linear(transforms: Sequence[Transform]) -> list[Transform]:
    """Composes consecutive linear transforms."""
    composed: list[Transform] = []
    for are_linear, group in itertools.groupby(
        transforms, lambda t: isinstance(t, LinearTransform)
    ):
        parts: list[Any] = list(group)
        composed += [ComposedTransform(parts)] if are_linear and len(parts) > 1 else parts
    return composed


def check_transforms(
    transforms: Sequence[Transform], shape: tuple[int, ...], axes: tuple[int, ...]
) -> tuple[int, ...]:
    """Returns the shape after all transforms, or raises a `ValueError` if one does not fit."""
    for transform in transforms:
        transform.check(shape, axes)
        shape = transform.output_shape(shape, axes)
    return shape

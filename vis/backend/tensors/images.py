"""Operations on batches of images that `keras.ops` lacks."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from vis.backend.private import projective_transform
from vis.backend.tensors.random import each_sample


def roll(images: Any, shifts: Any, axes: Sequence[int]) -> Any:
    """Rolls each sample by its own number of pixels.

    Args:
        images: `(samples, ...)`.
        shifts: Integers `(samples, len(axes))`.
        axes: The axes of `images` to roll along.
    """
    axes = [axis - 1 for axis in axes]
    return each_sample(lambda image, shift: tf.roll(image, shift, axes), images, shifts)


def warp(images: Any, matrices: Any) -> Any:
    """Applies an affine transform to each image, by bilinear interpolation.

    Args:
        images: `(samples, height, width, channels)`. They are continued by reflection.
        matrices: `(samples, 2, 3)`. They map an output pixel, (row, column) from the centre, to
            the input pixel.

    Returns:
        Images of the same shape.
    """
    height, width = images.shape[1:3]
    centre = tf.constant([(height - 1) / 2, (width - 1) / 2], matrices.dtype)
    linear, shift = matrices[:, :, :2], matrices[:, :, 2]
    shift = shift + centre - tf.linalg.matvec(linear, centre)
    rows = tf.concat([linear, shift[:, :, None]], axis=2)
    # TensorFlow expects x before y, and two more numbers for perspective.
    flat = tf.reshape(tf.gather(rows[:, ::-1], [1, 0, 2], axis=2), [-1, 6])
    flat = tf.pad(flat, [[0, 0], [0, 2]])
    warped = projective_transform(
        images=images,
        transforms=tf.cast(flat, tf.float32),
        output_shape=[height, width],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )
    # The gradient of this operation lacks the change of area.
    area = tf.cast(1 / tf.abs(tf.linalg.det(linear)), images.dtype)[:, None, None, None]
    return area * warped + tf.stop_gradient((1 - area) * warped)


def zoom(images: Any, factors: Any, axis: int) -> Any:
    """Zooms each image about its centre along one axis, by linear interpolation.

    Args:
        images: `(samples, ...)`. They are continued by their edge values.
        factors: Zoom factors, `(samples,)`.
        axis: The axis.
    """
    size = images.shape[axis]
    centre = (size - 1) / 2
    positions = tf.range(size, dtype=images.dtype)
    sources = centre + (positions - centre) / tf.cast(factors, images.dtype)[:, None]
    sources = tf.clip_by_value(sources, 0, size - 1)
    return _weighted_sums(images, tf.nn.relu(1 - tf.abs(sources[:, :, None] - positions)), axis)


def blur(images: Any, deviations: Any, axis: int) -> Any:
    """Applies a Gaussian blur to each image along one axis.

    Args:
        images: `(samples, ...)`.
        deviations: Standard deviations in pixels, `(samples,)`, positive.
        axis: The axis.
    """
    positions = tf.range(images.shape[axis], dtype=images.dtype)
    distances = (positions[:, None] - positions) / tf.cast(deviations, images.dtype)[:, None, None]
    weights = tf.exp(-tf.square(distances) / 2)
    return _weighted_sums(images, weights / tf.reduce_sum(weights, axis=2, keepdims=True), axis)


def irfftn(real: Any, imaginary: Any, shape: Sequence[int]) -> Any:
    """Inverse Fourier transform to real images.

    Args:
        real: Real parts of the coefficients. The last axes are as in `numpy.fft.rfftn`.
        imaginary: Imaginary parts.
        shape: Shape of an image: one to three axes.
    """
    spectrum = tf.complex(real, imaginary)
    if len(shape) == 1:
        return tf.signal.irfft(spectrum, list(shape))
    if len(shape) == 3:
        # TensorFlow has no gradient for the three-dimensional transform.
        spectrum = tf.experimental.numpy.moveaxis(spectrum, -3, -1)
        spectrum = tf.experimental.numpy.moveaxis(tf.signal.ifft(spectrum), -1, -3)
    return tf.signal.irfft2d(spectrum, list(shape[-2:]))


def _weighted_sums(images: Any, weights: Any, axis: int) -> Any:
    """Weighted sums along an axis, with weights `(samples, positions, positions)`."""
    shape = images.shape.as_list()
    flat = tf.reshape(images, [shape[0], math.prod(shape[1:axis]), shape[axis], -1])
    return tf.reshape(tf.einsum("nij,nbjc->nbic", weights, flat), shape)

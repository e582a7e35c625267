"""Operations on batches of images that `keras.ops` does not have, and images from frequencies."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from vis.backend.private import projective_transform
from vis.backend.tensors.random import each


def roll(images: Any, shifts: Any, axes: Sequence[int]) -> Any:
    """Rolls each sample by its own whole number of pixels.

    Args:
        images: `(samples, ...)`.
        shifts: Integers `(samples, len(axes))`.
        axes: The axes of `images` to roll along.
    """
    axes = [axis - 1 for axis in axes]
    return each(lambda image, shift: tf.roll(image, shift, axes), images, shifts)


def warp(images: Any, matrices: Any) -> Any:
    """Shows each image through its own affine map of the plane, about its centre.

    Args:
        images: `(samples, height, width, channels)`. What lies outside is a mirror image.
        matrices: `(samples, 2, 3)`: where each point, as (row, column) from the centre, is to be
            looked up, in pixels.

    Returns:
        Images of the same shape, by bilinear interpolation.
    """
    height, width = images.shape[1:3]
    centre = tf.constant([(height - 1) / 2, (width - 1) / 2], matrices.dtype)
    linear, shift = matrices[:, :, :2], matrices[:, :, 2]
    shift = shift + centre - tf.linalg.matvec(linear, centre)
    rows = tf.concat([linear, shift[:, :, None]], axis=2)
    # TensorFlow's order is x before y, and its last two numbers are for perspective.
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
    # Its gradient looks the gradients up through the inverse map, without the change of area.
    area = tf.cast(1 / tf.abs(tf.linalg.det(linear)), images.dtype)[:, None, None, None]
    return area * warped + tf.stop_gradient((1 - area) * warped)


def zoom(images: Any, factors: Any, axis: int) -> Any:
    """Shows each image enlarged about its centre along one axis, by linear interpolation.

    Args:
        images: `(samples, ...)`. What lies outside is the nearest value inside.
        factors: How many times larger, `(samples,)`.
        axis: The axis.
    """
    size = images.shape[axis]
    centre = (size - 1) / 2
    places = tf.range(size, dtype=images.dtype)
    looked_up = centre + (places - centre) / tf.cast(factors, images.dtype)[:, None]
    looked_up = tf.clip_by_value(looked_up, 0, size - 1)
    return _mixed(images, tf.nn.relu(1 - tf.abs(looked_up[:, :, None] - places)), axis)


def blur(images: Any, deviations: Any, axis: int) -> Any:
    """Blurs each image by its own Gaussian along one axis.

    Args:
        images: `(samples, ...)`.
        deviations: Standard deviations in pixels, `(samples,)`, positive.
        axis: The axis.
    """
    places = tf.range(images.shape[axis], dtype=images.dtype)
    distances = (places[:, None] - places) / tf.cast(deviations, images.dtype)[:, None, None]
    weights = tf.exp(-tf.square(distances) / 2)
    return _mixed(images, weights / tf.reduce_sum(weights, axis=2, keepdims=True), axis)


def irfftn(real: Any, imaginary: Any, shape: Sequence[int]) -> Any:
    """The real images that have some Fourier coefficients.

    Args:
        real: Real parts, of which the last axes are frequencies, as `numpy.fft.rfftn` has them.
        imaginary: Imaginary parts.
        shape: Shape of an image: one to three axes.
    """
    spectrum = tf.complex(real, imaginary)
    if len(shape) == 1:
        return tf.signal.irfft(spectrum, list(shape))
    if len(shape) == 3:
        # TensorFlow has no gradient of its three-dimensional transform.
        spectrum = tf.experimental.numpy.moveaxis(spectrum, -3, -1)
        spectrum = tf.experimental.numpy.moveaxis(tf.signal.ifft(spectrum), -1, -3)
    return tf.signal.irfft2d(spectrum, list(shape[-2:]))


def _mixed(images: Any, weights: Any, axis: int) -> Any:
    """Each place along an axis as a weighted sum: `weights` is `(samples, places, places)`."""
    shape = images.shape.as_list()
    flat = tf.reshape(images, [shape[0], math.prod(shape[1:axis]), shape[axis], -1])
    return tf.reshape(tf.einsum("nij,nbjc->nbic", weights, flat), shape)

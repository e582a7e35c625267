"""Real images from Fourier coefficients, for one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


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

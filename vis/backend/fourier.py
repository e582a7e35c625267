"""Real images from Fourier coefficients, for one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_INVERSE = {1: tf.signal.irfft, 2: tf.signal.irfft2d, 3: tf.signal.irfft3d}


def irfftn(real: Any, imaginary: Any, shape: Sequence[int]) -> Any:
    """The real images that have some Fourier coefficients.

    Args:
        real: Real parts, of which the last axes are frequencies, as `numpy.fft.rfftn` has them.
        imaginary: Imaginary parts.
        shape: Shape of an image: one to three axes.
    """
    return _INVERSE[len(shape)](tf.complex(real, imaginary), list(shape))

"""Operations on batches of images that `keras.ops` does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def roll(images: Any, shifts: Any, axes: Sequence[int]) -> Any:
    """Rolls each sample by its own whole number of pixels.

    Args:
        images: `(samples, ...)`.
        shifts: Integers `(samples, len(axes))`.
        axes: The axes of `images` to roll along.
    """
    axes = [axis - 1 for axis in axes]
    return tf.stack(
        [
            tf.roll(image, shift, axes)
            for image, shift in zip(tf.unstack(images), tf.unstack(shifts), strict=True)
        ]
    )

"""What the machine is: the one place that is asked for it."""

from __future__ import annotations

import os

import tensorflow as tf


def has_gpu() -> bool:
    """Whether networks run on a GPU, where batches are descended together by its own kernels."""
    return bool(tf.config.list_physical_devices("GPU"))


def processors() -> int:
    """How many threads can run at the same time."""
    return os.cpu_count() or 1

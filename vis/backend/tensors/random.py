"""Stateless random numbers for compiled steps."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def set_random_seed(seed_value: int = 1337) -> None:
    """Sets the global random seeds of Python, NumPy and TensorFlow.

    Args:
        seed_value: The seed, a non-negative integer.

    Example:
        >>> from vis.backend import set_random_seed
        >>> set_random_seed(1)
    """
    keras.utils.set_random_seed(seed_value)


def draw_seed() -> int:
    """A random seed from NumPy's global generator, which `np.random.seed` controls."""
    return int(np.random.randint(2**31))  # noqa: NPY002


def each_sample(function: Callable[..., Any], *batches: Any) -> Any:
    """Applies a function to each sample."""
    return tf.stack([function(*parts) for parts in zip(*map(tf.unstack, batches), strict=True)])


def fold_in(seeds: Any, number: Any) -> Any:
    """Makes new seeds of seeds and a number.

    Args:
        seeds: Integer tensor `(samples, 2)`.
        number: An integer, or a scalar integer tensor.
    """
    number = tf.cast(number, tf.int32)
    return each_sample(lambda seed: tf.random.experimental.stateless_fold_in(seed, number), seeds)


def uniform(
    seeds: Any, shape: Sequence[int], low: float = 0.0, high: float = 1.0, dtype: str = "float32"
) -> Any:
    """Uniform random numbers in `[low, high)`, `(samples, *shape)`, from a seed per sample."""
    return each_sample(
        lambda seed: tf.random.stateless_uniform(shape, seed, low, high, dtype), seeds
    )


def normal(seeds: Any, shape: Sequence[int], dtype: str = "float32") -> Any:
    """Standard normal random numbers, `(samples, *shape)`, from a seed per sample."""
    return each_sample(lambda seed: tf.random.stateless_normal(shape, seed, dtype=dtype), seeds)

"""Random numbers inside a compiled step: a function of the seed and nothing else."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def set_random_seed(seed_value: int = 1337) -> None:
    """Seeds Python's, NumPy's and TensorFlow's global generators.

    Args:
        seed_value: The seed, a non-negative integer.

    Example:
        >>> from vis.backend import set_random_seed
        >>> set_random_seed(1)
    """
    keras.utils.set_random_seed(seed_value)


def draw_seed() -> int:
    """A seed from NumPy's global generator, which is what `np.random.seed` governs."""
    return int(np.random.randint(2**31))  # noqa: NPY002


def each(function: Callable[..., Any], *batches: Any) -> Any:
    """What a function makes of each sample, as a batch."""
    return tf.stack([function(*parts) for parts in zip(*map(tf.unstack, batches), strict=True)])


def fold_in(seeds: Any, number: Any) -> Any:
    """Other seeds, one for each of `seeds`, that depend on `number` too.

    Args:
        seeds: Integer tensor `(samples, 2)`.
        number: An integer, or a scalar integer tensor.
    """
    number = tf.cast(number, tf.int32)
    return each(lambda seed: tf.random.experimental.stateless_fold_in(seed, number), seeds)


def uniform(
    seeds: Any, shape: Sequence[int], low: float = 0.0, high: float = 1.0, dtype: str = "float32"
) -> Any:
    """Uniform numbers in `[low, high)`, of `(samples, *shape)`: each sample has its own seed."""
    return each(lambda seed: tf.random.stateless_uniform(shape, seed, low, high, dtype), seeds)


def normal(seeds: Any, shape: Sequence[int], dtype: str = "float32") -> Any:
    """Standard normal numbers of `(samples, *shape)`: each sample has its own seed."""
    return each(lambda seed: tf.random.stateless_normal(shape, seed, dtype=dtype), seeds)

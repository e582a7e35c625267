"""Decorators for tests of visualizations."""

import functools
import unittest
from collections.abc import Callable, Collection
from typing import Any

import keras


def across_data_formats(test: Callable) -> Callable:
    """Runs a test with both image data formats, and restores the setting.

    Example:
        >>> @across_data_formats
        ... def test():
        ...     print(keras.config.image_data_format())
        >>> test()
        channels_first
        channels_last
    """

    @functools.wraps(test)
    def run_both(*args: Any, **kwargs: Any) -> None:
        before = keras.config.image_data_format()
        try:
            for data_format in ("channels_first", "channels_last"):
                keras.config.set_image_data_format(data_format)
                test(*args, **kwargs)
        finally:
            keras.config.set_image_data_format(before)

    return run_both


def skip_backends(backends: str | Collection[str]) -> Callable[[Callable], Callable]:
    """Skips a test if Keras runs on one of these backends.

    Example:
        >>> @skip_backends({"theano", "tensorflow"})
        ... def test():
        ...     raise AssertionError
        >>> test()
        Traceback (most recent call last):
        unittest.case.SkipTest: not for the backend tensorflow
    """
    backend = keras.config.backend()
    names = [backends] if isinstance(backends, str) else backends
    return unittest.skipIf(backend in names, f"not for the backend {backend}")

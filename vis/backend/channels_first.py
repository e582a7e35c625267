"""Convolutions with the channels first, for which TensorFlow has no kernels on the CPU."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops
from keras.src.backend import nn

from vis.backend.depthwise import as_depthwise

_lock = threading.RLock()


@contextlib.contextmanager
def computed_channels_last() -> Iterator[None]:
    """Inside this, Keras's convolutions run channels last wherever there is no GPU.

    What they compute stays the same. Every layer and operation is reached, those in wrappers and
    in layers of a user's own too, as it is Keras's own functions that are replaced meanwhile.
    """
    if tf.config.list_logical_devices("GPU"):
        yield
        return
    with _lock:
        convolutions = nn.conv, nn.conv_transpose
        nn.conv = _channels_last(as_depthwise(nn.conv))
        nn.conv_transpose = _channels_last(nn.conv_transpose)
        try:
            yield
        finally:
            nn.conv, nn.conv_transpose = convolutions


def _channels_last(convolution: Callable) -> Callable:
    signature = inspect.signature(convolution)

    @functools.wraps(convolution)
    def transposed(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        if (given.get("data_format") or keras.config.image_data_format()) == "channels_last":
            return convolution(*args, **kwargs)
        given["inputs"] = ops.moveaxis(given["inputs"], 1, -1)
        return ops.moveaxis(convolution(**{**given, "data_format": "channels_last"}), -1, 1)

    return transposed

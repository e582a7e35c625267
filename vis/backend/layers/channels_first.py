"""Convolutions with the channels first, for which TensorFlow has no kernels on the CPU."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from vis.backend import device
from vis.backend.layers.depthwise import as_depthwise
from vis.backend.private import kernels

_lock = threading.RLock()


@contextlib.contextmanager
def computed_channels_last() -> Iterator[None]:
    """Inside this, Keras's convolutions run channels last wherever there is no GPU.

    What they compute stays the same. Every layer and operation is reached, those in wrappers and
    in layers of a user's own too, as it is Keras's own functions that are replaced meanwhile.
    """
    if device.has_gpu():
        yield
        return
    with _lock:
        convolutions = kernels.conv, kernels.conv_transpose
        kernels.conv = _channels_last(as_depthwise(kernels.conv))
        kernels.conv_transpose = _channels_last(kernels.conv_transpose)
        try:
            yield
        finally:
            kernels.conv, kernels.conv_transpose = convolutions


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

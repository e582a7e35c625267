"""Convolutions for which TensorFlow has no kernels on a processor, by those that it has.

Those with the channels first it cannot run. Those of each channel by itself that are written as
grouped convolutions Keras compiles with XLA, as they have no gradient there: it takes a second for
each such layer, and then computes it slowly.
"""

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from vis.backend import device
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
        kernels.conv = _channels_last(_as_depthwise(kernels.conv))
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


def _as_depthwise(convolution: Callable) -> Callable:
    """A convolution, channels last, that leaves those of single channels to a kernel for them."""
    signature = inspect.signature(convolution)

    @functools.wraps(convolution)
    def convolved(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        inputs, kernel, strides, padding, data_format, dilation = given.arguments.values()
        *spatial, per_group, filters = kernel.shape
        channels = inputs.shape[-1]
        strides = _for_each_axis(strides, len(spatial))
        if per_group != 1 or channels == 1 or len(spatial) > 2 or len(set(strides)) > 1:
            return convolution(*args, **kwargs)
        kernel = ops.reshape(kernel, (*spatial, channels, filters // channels))
        dilation = _for_each_axis(dilation, len(spatial))
        return kernels.depthwise_conv(inputs, kernel, strides, padding, data_format, dilation)

    return convolved


def _for_each_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)

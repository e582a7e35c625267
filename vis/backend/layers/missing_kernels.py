"""Convolutions for which TensorFlow has no CPU kernels, rewritten for those that it has.

It cannot run channels first. Grouped convolutions have no gradient, so Keras compiles them with
XLA, which takes a second per layer and computes slowly; those of single channels are depthwise.
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
def channels_last_convolutions() -> Iterator[None]:
    """A context in which Keras's convolutions run channels last, unless there is a GPU.

    The results are the same. It replaces Keras's own functions, and so reaches the layers inside
    wrappers and custom layers, too.
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
        bound = signature.bind(*args, **kwargs).arguments
        if (bound.get("data_format") or keras.config.image_data_format()) == "channels_last":
            return convolution(*args, **kwargs)
        bound["inputs"] = ops.moveaxis(bound["inputs"], 1, -1)
        return ops.moveaxis(convolution(**{**bound, "data_format": "channels_last"}), -1, 1)

    return transposed


def _as_depthwise(convolution: Callable) -> Callable:
    """Makes a channels-last convolution use the depthwise kernel for groups of single channels."""
    signature = inspect.signature(convolution)

    @functools.wraps(convolution)
    def convolved(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        inputs, kernel, strides, padding, data_format, dilation = bound.arguments.values()
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

"""Convolutions of each channel by itself that are written as grouped convolutions.

Keras compiles those with XLA, as TensorFlow has no kernels for the gradient of grouped
convolutions on the CPU. XLA takes a second for each such layer, and then computes it slowly.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from vis.backend.private import kernels


def as_depthwise(convolution: Callable) -> Callable:
    """A convolution of images, channels last, that leaves those of single channels to a kernel.

    Args:
        convolution: Keras's own, for the others.
    """
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
        return kernels.depthwise_conv(
            inputs,
            ops.reshape(kernel, (*spatial, channels, filters // channels)),
            strides,
            padding,
            data_format,
            _for_each_axis(dilation, len(spatial)),
        )

    return convolved


def _for_each_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)

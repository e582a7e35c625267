"""Convolutions of images on a CPU, with a faster gradient.

TensorFlow's gradient takes up to three times as long as the convolution. But it is a convolution
with the flipped kernel, too. If that is computed beforehand, both take equally long.
"""

import math
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vis.backend import device

_GRADIENT = "VisConvolution"
_COLLECTION = "vis/gradient_kernel/"
_FEW_CHANNELS = 4


def is_supported(layer: keras.Layer) -> bool:
    """Whether `convolve` can run a layer."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
        and {layer.groups, *layer.dilation_rate} == {1}
        and len(set(layer.strides)) == 1
        and not device.has_gpu()
    )


def needs_gradient_kernel(layer: keras.Layer, shape: tf.TensorShape) -> bool:
    """Whether a layer's gradient is faster with a `gradient_kernel`."""
    if not is_supported(layer) or None in shape[1:3]:
        return False
    return _stride(layer) == 1 or shape[3] <= _FEW_CHANNELS


def _stride(layer: keras.layers.Conv2D) -> int:
    """The stride, or 1 for a 1 x 1 kernel, after skipping the pixels that it never reads."""
    return 1 if {*layer.kernel_size} == {1} else layer.strides[0]


def gradient_kernel(layer: keras.layers.Conv2D, kernel: Any) -> Any:
    """The kernel of the convolution that computes the gradient of a layer's convolution.

    For stride s, each output of that convolution is a block of n s x n s pixels, those that n
    steps along each axis read first, as channels (Shi et al., "Real-Time Single Image and Video
    Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016). The
    shape is `(n + ceil(height / s) - 1, n + ceil(width / s) - 1, filters, (n s)^2 channels)`.
    """
    height, width, channels, filters = kernel.shape
    stride = _stride(layer)
    # If an image has few channels, n is two, so that there are enough to keep the CPU busy.
    span = 2 if channels <= _FEW_CHANNELS else 1
    # One more row and column of zeros, which `_kernel_indices` points to.
    kernel = tf.pad(kernel, [[0, 1], [0, 1], [0, 0], [0, 0]])
    for axis, size in ((0, height), (2, width)):
        kernel = tf.gather(kernel, _kernel_indices(size, stride, span), axis=axis)
    kernel = tf.transpose(kernel, (0, 2, 5, 1, 3, 4))
    return tf.reshape(kernel, (*kernel.shape[:2], filters, (span * stride) ** 2 * channels))


def _kernel_indices(size: int, stride: int, span: int) -> np.ndarray:
    """The index into a kernel that connects outputs (rows) and pixels of a block (columns).

    It is `size`, the kernel's size, where they are not connected.
    """
    outputs = np.arange(1 - -(-size // stride), span)[:, None]
    indices = np.arange(span * stride) - stride * outputs
    return np.where((indices >= 0) & (indices < size), indices, size)


def convolve(layer: keras.Layer, inputs: Any, kernel: Any, gradient_kernel: Any = None) -> Any:
    """A layer's convolution without its bias, with another kernel or gradient kernel."""
    if layer.strides[0] > _stride(layer):
        inputs = inputs[:, :: layer.strides[0], :: layer.strides[0]]
    context = nullcontext()
    if gradient_kernel is not None:
        graph = tf.compat.v1.get_default_graph()
        graph.add_to_collection(_COLLECTION + kernel.name, gradient_kernel)
        context = graph.gradient_override_map({"Conv2D": _GRADIENT})
    with context:
        return tf.nn.conv2d(inputs, kernel, _stride(layer), layer.padding.upper())


@tf.RegisterGradient(_GRADIENT)
def _gradient(operation: tf.Operation, grads: Any) -> tuple[Any, None]:
    """The gradient of the inputs only: weights are not optimised."""
    inputs, kernel = operation.inputs
    (gradient_kernel,) = operation.graph.get_collection(_COLLECTION + kernel.name)
    stride = operation.get_attr("strides")[1]
    same = operation.get_attr("padding") == b"SAME"
    block = math.isqrt(gradient_kernel.shape[3] // inputs.shape[3])
    sizes = zip(inputs.shape[1:3], kernel.shape[:2], grads.shape[1:3], strict=True)
    (rows, top), (columns, left) = (_along_axis(*s, stride, same, block) for s in sizes)
    padding = [[0, 0], top, left, [0, 0]]
    pixels = tf.nn.conv2d(grads, gradient_kernel, block // stride, padding)
    if block > 1:
        pixels = tf.nn.depth_to_space(pixels, block)
    return pixels[:, rows, columns], None


def _along_axis(
    size: int, window: int, outputs: int, stride: int, same: bool, block: int
) -> tuple[slice, list[int]]:
    """The slice of an axis that holds the gradient's pixels, and the padding of its convolution.

    A convolution of `size` pixels by a kernel of size `window`, with stride s and p pixels of
    padding before the first, reads pixel `s i + j - p` for output `i` and kernel index `j`. The
    gradient is computed in whole blocks of pixels that begin with the padding, each from all
    outputs that read any of its pixels.
    """
    padded = max((outputs - 1) * stride + window - size, 0) // 2 if same else 0
    span, before = block // stride, -(-window // stride) - 1
    begin, end = padded // block, -(-(padded + size) // block)
    first = padded % block
    return slice(first, first + size), [before - span * begin, span * end - outputs]

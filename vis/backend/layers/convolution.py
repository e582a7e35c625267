"""Convolutions of images on a processor, by the fastest way that there is to their gradients.

By TensorFlow's own kernels a gradient by the input takes up to three times as long as the
convolution. But it is a convolution too, with the kernel turned around. Where that can be made
ahead, both cost the same.
"""

import math
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vis.backend import device

_GRADIENT = "VisConvolution"
_TURNED = "vis/turned/"
_FEW_CHANNELS = 4


def is_of_images(layer: keras.Layer) -> bool:
    """Whether a layer is one of those that this is about."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
        and {layer.groups, *layer.dilation_rate} == {1}
        and len(set(layer.strides)) == 1
        and not device.has_gpu()
    )


def is_better_turned(layer: keras.Layer, shape: tf.TensorShape) -> bool:
    """Whether a layer's gradient is faster with a kernel that was turned ahead."""
    if not is_of_images(layer) or None in shape[1:3]:
        return False
    return _is_pointwise(layer) or shape[3] <= _FEW_CHANNELS or layer.strides[0] == 1


def _is_pointwise(layer: keras.layers.Conv2D) -> bool:
    return {*layer.kernel_size} == {1}


def _stride(layer: keras.layers.Conv2D) -> int:
    """The stride that is left when the places that a 1 x 1 kernel never reads are left out."""
    return 1 if _is_pointwise(layer) else layer.strides[0]


def turned(layer: keras.layers.Conv2D, kernel: Any) -> Any:
    """The kernel that the gradient of a layer's convolution is a convolution with.

    Of a convolution with stride s it gives the pixels that n steps read first, n s of them along
    each axis, as channels (Shi et al., "Real-Time Single Image and Video Super-Resolution Using
    an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016).
    It is `(n + ceil(height / s) - 1, n + ceil(width / s) - 1, filters, (n s)^2 channels)`.
    """
    height, width, channels, filters = kernel.shape
    stride = _stride(layer)
    # The gradient is computed for n steps as one place: for two where an image has few channels,
    # so that there are enough of them to keep a kernel busy.
    span = 2 if channels <= _FEW_CHANNELS else 1
    # One place more, where it is zero.
    kernel = tf.pad(kernel, [[0, 1], [0, 1], [0, 0], [0, 0]])
    for axis, size in ((0, height), (2, width)):
        kernel = tf.gather(kernel, _places(size, stride, span), axis=axis)
    kernel = tf.transpose(kernel, (0, 2, 5, 1, 3, 4))
    return tf.reshape(kernel, (*kernel.shape[:2], filters, (span * stride) ** 2 * channels))


def _places(size: int, stride: int, span: int) -> np.ndarray:
    """Which place of a kernel joins an output to a pixel; `size`, the kernel's, where none does.

    For each output that reads any of n s pixels, from the first on, a row of n s places; n is the
    span and s the stride.
    """
    outputs = np.arange(1 - -(-size // stride), span)[:, None]
    places = np.arange(span * stride) - stride * outputs
    return np.where((places >= 0) & (places < size), places, size)


def convolution(layer: keras.layers.Conv2D, inputs: Any, kernel: Any, turned: Any) -> Any:
    """What a layer makes of its inputs, but for its bias, with another kernel than its own.

    `turned` is what the function of that name made of the kernel ahead, or None.
    """
    if layer.strides[0] > _stride(layer):
        inputs = inputs[:, :: layer.strides[0], :: layer.strides[0]]
    gradient = nullcontext()
    if turned is not None:
        graph = tf.compat.v1.get_default_graph()
        graph.add_to_collection(_TURNED + kernel.name, turned)
        gradient = graph.gradient_override_map({"Conv2D": _GRADIENT})
    with gradient:
        return tf.nn.conv2d(inputs, kernel, _stride(layer), layer.padding.upper())


@tf.RegisterGradient(_GRADIENT)
def _gradient(operation: tf.Operation, grads: Any) -> tuple[Any, None]:
    """Of the inputs alone; weights are not what is optimised here."""
    inputs, kernel = operation.inputs
    (turned,) = operation.graph.get_collection(_TURNED + kernel.name)
    stride = operation.get_attr("strides")[1]
    same = operation.get_attr("padding") == b"SAME"
    block = math.isqrt(turned.shape[3] // inputs.shape[3])
    sizes = zip(inputs.shape[1:3], kernel.shape[:2], grads.shape[1:3], strict=True)
    (rows, above), (columns, left) = (_along_axis(*s, stride, same, block) for s in sizes)
    pixels = tf.nn.conv2d(grads, turned, block // stride, [[0, 0], above, left, [0, 0]])
    if block > 1:
        pixels = tf.nn.depth_to_space(pixels, block)
    return pixels[:, rows, columns], None


def _along_axis(
    size: int, window: int, outputs: int, stride: int, same: bool, block: int
) -> tuple[slice, list[int]]:
    """Where along an axis the pixels lie in a gradient, and how it pads what it is made of.

    A convolution of `size` pixels by a kernel of `window` reads the pixel `s i + j - p` for its
    output `i` and the place `j` of its kernel, where s is the stride and the image is padded by p
    pixels before the first, if it is. The gradient is computed for whole blocks of pixels, of a
    multiple of s, counted from `p` before the first, each from the outputs that read any of them.
    """
    padded = max((outputs - 1) * stride + window - size, 0) // 2 if same else 0
    span, before = block // stride, -(-window // stride) - 1
    begin, end = padded // block, -(-(padded + size) // block)
    first = padded % block
    return slice(first, first + size), [before - span * begin, span * end - outputs]

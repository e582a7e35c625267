"""Convolutions of images on a processor, by the fastest way that there is to their gradients.

For each gradient by the input TensorFlow lays the weights out anew, which for a late layer and a
single image takes longer than the multiplication itself; and it has no good kernel for the few
channels of an image. But that gradient is a convolution too, with the kernel turned around. Where
that can be made ahead, both cost the same.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf

_GRADIENT = "VisConvolution"
_TURNED = "vis/turned/"
# Above so many places TensorFlow's own gradient is as fast, unless the channels are as few as here.
_FEW_PLACES = 32 * 32
_FEW_CHANNELS = 4


def is_of_images(layer: keras.Layer) -> bool:
    """Whether a layer is one of those that this is about."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
        and {layer.groups, *layer.dilation_rate} == {1}
        and len(set(layer.strides)) == 1
        and not tf.config.list_logical_devices("GPU")
    )


def is_better_turned(layer: keras.layers.Conv2D, shape: tf.TensorShape) -> bool:
    """Whether the gradient is faster with a kernel that was turned ahead."""
    _, height, width, channels = shape
    if None in (height, width):
        return False
    if _is_pointwise(layer) or channels <= _FEW_CHANNELS:
        return True
    return layer.strides[0] == 1 and height * width <= _FEW_PLACES


def _is_pointwise(layer: keras.layers.Conv2D) -> bool:
    return {*layer.kernel_size} == {1}


def _stride(layer: keras.layers.Conv2D) -> int:
    """The stride that is left when the places that a 1 x 1 kernel never reads are left out."""
    return 1 if _is_pointwise(layer) else layer.strides[0]


def turned(layer: keras.layers.Conv2D, kernel: Any) -> Any:
    """The kernel that the gradient of a layer's convolution is a convolution with.

    Of a convolution with stride s it gives the s x s pixels of each step as s x s channels
    (Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network", CVPR 2016).

    Args:
        layer: The layer.
        kernel: `(height, width, channels, filters)`.

    Returns:
        `(ceil(height / s), ceil(width / s), filters, s * s * channels)`.
    """
    stride = _stride(layer)
    *sizes, channels, filters = kernel.shape
    blocks = [-(-size // stride) for size in sizes]
    paddings = [[0, n * stride - size] for n, size in zip(blocks, sizes, strict=True)]
    kernel = tf.pad(kernel, [*paddings, [0, 0], [0, 0]])
    kernel = tf.reshape(kernel, (blocks[0], stride, blocks[1], stride, channels, filters))
    kernel = tf.transpose(tf.reverse(kernel, [0, 2]), (0, 2, 5, 1, 3, 4))
    return tf.reshape(kernel, (*blocks, filters, stride * stride * channels))


def convolution(
    layer: keras.layers.Conv2D,
    inputs: Any,
    kernel: Any,
    bias: Any | None = None,
    turned: Any | None = None,
) -> Any:
    """What a layer makes of its inputs with another kernel than its own.

    Args:
        layer: The layer.
        inputs: `(samples, height, width, channels)`.
        kernel: `(height, width, channels, filters)`.
        bias: `(filters,)`, or None.
        turned: What the function of that name makes of the kernel, or None where that was not made
            ahead.
    """
    if layer.strides[0] > _stride(layer):
        inputs = inputs[:, :: layer.strides[0], :: layer.strides[0]]
    with _gradient_by(kernel, turned):
        outputs = tf.nn.conv2d(inputs, kernel, _stride(layer), layer.padding.upper())
    # Unlike an addition, TensorFlow fuses this with the convolution and the rectifier.
    return outputs if bias is None else tf.nn.bias_add(outputs, bias)


def _gradient_by(kernel: Any, turned: Any | None) -> AbstractContextManager:
    """Where the gradient of an operation on a kernel is computed with the kernel turned around."""
    if turned is None:
        return nullcontext()
    graph = tf.compat.v1.get_default_graph()
    graph.add_to_collection(_TURNED + kernel.name, turned)
    return graph.gradient_override_map({"Conv2D": _GRADIENT})


@tf.RegisterGradient(_GRADIENT)
def _gradient(operation: tf.Operation, grads: Any) -> tuple[Any, None]:
    """Of the inputs alone; weights are not what is optimised here."""
    inputs, kernel = operation.inputs
    (turned,) = operation.graph.get_collection(_TURNED + kernel.name)
    stride = operation.get_attr("strides")[1]
    same = operation.get_attr("padding") == b"SAME"
    axes = [
        _Axis(*sizes, stride, same)
        for sizes in zip(inputs.shape[1:3], kernel.shape[:2], grads.shape[1:3], strict=True)
    ]
    blocks = tf.nn.conv2d(grads, turned, 1, [[0, 0], *(axis.padding for axis in axes), [0, 0]])
    pixels = tf.nn.depth_to_space(blocks, stride) if stride > 1 else blocks
    rows, columns = (slice(axis.first, axis.first + axis.size) for axis in axes)
    return pixels[:, rows, columns], None


class _Axis:
    """How a gradient lies along one axis of an image.

    The convolution reads the pixel `s i + j - p` for its output `i` and the place `j` of its
    kernel. So block `b` of `s` pixels, counted from `p` pixels before the first, gets its gradient
    from the outputs `b - m` for each block `m` of the kernel.

    Args:
        size: Pixels.
        window: Size of the kernel.
        outputs: Size of the convolution's output.
        stride: s.
        same: Whether the image is padded, p pixels before it.
    """

    def __init__(self, size: int, window: int, outputs: int, stride: int, same: bool) -> None:
        padded = max((outputs - 1) * stride + window - size, 0) // 2 if same else 0
        last = -(-window // stride) - 1
        self.size = size
        self.first = padded % stride
        self.padding = [last - padded // stride, -(-(padded + size) // stride) - outputs]

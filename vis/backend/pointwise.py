"""The gradient of small 1 x 1 convolutions, as the matrix product that it is.

TensorFlow's kernel for the gradient of a convolution lays the weights out anew in each step. For
a single small image that takes longer than the multiplication itself.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf

_GRADIENT = "VisPointwiseConvolution"
# Up to so many places, or multiplications in all, a product was faster on every convolution of
# EfficientNet-Lite0 and ResNet50 (2 CPU cores); beyond, at times slower.
_MOST_PLACES = 64
_MOST_MULTIPLICATIONS = 15_000_000


def as_product(layer: keras.Layer, inputs: Any) -> AbstractContextManager:
    """Where the convolution that a layer makes of some inputs has this gradient, if that pays."""
    if not (
        type(layer) is keras.layers.Conv2D
        and {*layer.kernel_size, *layer.strides, layer.groups} == {1}
        and layer.data_format == "channels_last"
        and _is_small(inputs.shape, layer.filters)
    ):
        return nullcontext()
    return tf.compat.v1.get_default_graph().gradient_override_map({"Conv2D": _GRADIENT})


def _is_small(shape: tf.TensorShape, filters: int) -> bool:
    if None in shape:
        return False
    *outer, channels = shape
    places = math.prod(outer)
    return places <= _MOST_PLACES or places * channels * filters <= _MOST_MULTIPLICATIONS


@tf.RegisterGradient(_GRADIENT)
def _gradient(convolution: tf.Operation, grads: Any) -> tuple[Any, None]:
    """Of the input alone; weights are not what is optimised here."""
    inputs, kernel = convolution.inputs
    flat = tf.reshape(grads, [-1, grads.shape[-1]])
    products = tf.matmul(flat, kernel[0, 0], transpose_b=True)
    return tf.reshape(products, inputs.shape), None

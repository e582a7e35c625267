"""The gradient of 1 x 1 convolutions, as the matrix product that it is.

TensorFlow's kernel for the gradient of a convolution lays the weights out anew in each step. For
a single image that takes longer than the multiplication itself.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf

_GRADIENT = "VisPointwiseConvolution"


def as_product(layer: keras.Layer) -> AbstractContextManager:
    """Where the convolution that a layer makes has this gradient, if it is one of single places."""
    if not (
        type(layer) is keras.layers.Conv2D
        and {*layer.kernel_size, *layer.strides, layer.groups} == {1}
        and layer.data_format == "channels_last"
    ):
        return nullcontext()
    return tf.compat.v1.get_default_graph().gradient_override_map({"Conv2D": _GRADIENT})


@tf.RegisterGradient(_GRADIENT)
def _gradient(convolution: tf.Operation, grads: Any) -> tuple[Any, None]:
    """Of the input alone; weights are not what is optimised here."""
    inputs, kernel = convolution.inputs
    flat = tf.reshape(grads, [-1, grads.shape[-1]])
    products = tf.matmul(flat, kernel[0, 0], transpose_b=True)
    return tf.reshape(products, tf.shape(inputs)), None

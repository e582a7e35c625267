"""Depthwise convolutions by oneDNN where TensorFlow does not use it.

TensorFlow includes oneDNN's kernels, but uses them only on CPUs with AVX-512, and never in
functions that are mapped over samples. For depthwise convolutions oneDNN takes half the time of
TensorFlow's own kernels, and a quarter for the gradient.
"""

import functools
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vis.backend import device
from vis.backend.private import AttrValue, add_operation

# The number of multiplications from which on oneDNN is faster.
_MIN_PRODUCTS = 800_000
_FORWARD = "_MklNativeFusedDepthwiseConv2dNative"
_BACKWARD = "_MklNativeDepthwiseConv2dNativeBackpropInput"
_GRADIENT = "VisDepthwiseConvolution"
_COMMON = {
    "T": AttrValue(type=tf.float32.as_datatype_enum),
    # The label of the kernels that TensorFlow's graph rewriting chooses.
    "_kernel": AttrValue(s=b"MklNameChangeOp"),
}


def is_supported(layer: keras.Layer, dtype: str) -> bool:
    """Whether `depthwise_convolution` can run a layer."""
    return (
        type(layer) is keras.layers.DepthwiseConv2D
        and dtype == "float32"
        and layer.depth_multiplier == 1
        and layer.data_format == "channels_last"
        and {*layer.dilation_rate} == {1}
        and len(set(layer.strides)) == 1
        and not device.has_gpu()
        and _works()
    )


def is_faster(layer: keras.Layer, inputs: Any) -> bool:
    """Whether images are large enough to make up for the overhead of a call of oneDNN."""
    shape = inputs.shape[1:]
    return None in shape or math.prod((*shape, *layer.kernel_size)) >= _MIN_PRODUCTS


def depthwise_convolution(
    inputs: Any, kernel: Any, bias: Any | None, stride: int, padding: str
) -> Any:
    """A depthwise convolution, inside a graph and in float32.

    Inputs are `(samples, height, width, channels)`, the kernel is `(height, width, channels, 1)`.
    """
    graph = tf.compat.v1.get_default_graph()
    bias = tf.zeros(inputs.shape[-1:]) if bias is None else bias
    attributes = {
        **_COMMON,
        "num_args": AttrValue(i=1),
        "fused_ops": AttrValue(list=AttrValue.ListValue(s=[b"BiasAdd"])),
        "strides": AttrValue(list=AttrValue.ListValue(i=[1, stride, stride, 1])),
        "padding": AttrValue(s=padding.upper().encode()),
    }
    with graph.gradient_override_map({_FORWARD: _GRADIENT}):
        return add_operation(graph, _FORWARD, [inputs, kernel, bias], attributes, "depthwise")


@tf.RegisterGradient(_GRADIENT)
def _gradient(operation: tf.Operation, grads: Any) -> tuple[Any, None, None]:
    """The gradient of the inputs only: weights are not optimised."""
    inputs, kernel, _ = operation.inputs
    attributes = {**_COMMON, **{n: operation.node_def.attr[n] for n in ("strides", "padding")}}
    sources = [tf.shape(inputs), kernel, grads]
    # The graph of the gradient, which may be a loop's body inside the graph of the operation.
    graph = tf.compat.v1.get_default_graph()
    pixels = add_operation(graph, _BACKWARD, sources, attributes, "grads")
    pixels.set_shape(inputs.shape)
    return pixels, None, None


@functools.cache
def _works() -> bool:
    """Whether TensorFlow has the kernels, with the same results as its own."""
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(1, 5, 4, 8)), rng.normal(size=(3, 3, 8, 1))

    def onednn(image: Any, kernel: Any) -> Any:
        return depthwise_convolution(image, kernel, None, 2, "same")

    def tensorflow(image: Any, kernel: Any) -> Any:
        return tf.nn.depthwise_conv2d(image, kernel, [1, 2, 2, 1], "SAME")

    @tf.function(autograph=False)
    def with_gradient(convolve: Any) -> tuple[Any, Any]:
        x = tf.constant(image, tf.float32)
        value = convolve(x, tf.constant(kernel, tf.float32))
        return value, tf.gradients(tf.square(value), x)[0]

    # The names of TensorFlow's internal kernels may change.
    try:
        with tf.init_scope():
            pairs = zip(with_gradient(onednn), with_gradient(tensorflow), strict=True)
            return all(np.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)
    except (AttributeError, TypeError, ValueError, RuntimeError, tf.errors.OpError):
        return False

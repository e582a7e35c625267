"""Depthwise convolutions by oneDNN where TensorFlow would leave it off.

TensorFlow's packages bring oneDNN's kernels along. It uses them where the processor has AVX-512,
and not even there in functions that are mapped over samples. Its own kernels convolve as quickly,
but not channel by channel: there oneDNN takes half the time, and a quarter for the gradient.
"""

import functools
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vis.backend import device
from vis.backend.private import AttrValue, add_operation

# Of a value and a weight, the least for which oneDNN is the quicker of the two.
_LEAST_PRODUCTS = 800_000
_FORWARD = "_MklNativeFusedDepthwiseConv2dNative"
_BACKWARD = "_MklNativeDepthwiseConv2dNativeBackpropInput"
_GRADIENT = "VisDepthwiseConvolution"
_COMMON = {
    "T": AttrValue(type=tf.float32.as_datatype_enum),
    # The label of the kernels that TensorFlow's own rewriting of a graph would choose.
    "_kernel": AttrValue(s=b"MklNameChangeOp"),
}


def is_for(layer: keras.Layer, dtype: str) -> bool:
    """Whether a layer is better run by `depthwise_convolution` than by TensorFlow's own."""
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


def is_worth_it(layer: keras.Layer, inputs: Any) -> bool:
    """Whether images are large enough for what each call of oneDNN's costs."""
    shape = inputs.shape[1:]
    return None in shape or math.prod((*shape, *layer.kernel_size)) >= _LEAST_PRODUCTS


def depthwise_convolution(
    inputs: Any, kernel: Any, bias: Any | None, stride: int, padding: str
) -> Any:
    """A convolution of each channel by itself, inside a graph and in float32.

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
    """Of the inputs alone; weights are not what is optimised here."""
    inputs, kernel, _ = operation.inputs
    attributes = {**_COMMON, **{n: operation.node_def.attr[n] for n in ("strides", "padding")}}
    sources = [tf.shape(inputs), kernel, grads]
    # Where the gradient is wanted, which may be a loop's body inside the operation's own graph.
    graph = tf.compat.v1.get_default_graph()
    pixels = add_operation(graph, _BACKWARD, sources, attributes, "grads")
    pixels.set_shape(inputs.shape)
    return pixels, None, None


@functools.cache
def _works() -> bool:
    """Whether TensorFlow has the kernels, and they compute what its own do."""
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(1, 5, 4, 8)), rng.normal(size=(3, 3, 8, 1))

    def ours(image: Any, kernel: Any) -> Any:
        return depthwise_convolution(image, kernel, None, 2, "same")

    def theirs(image: Any, kernel: Any) -> Any:
        return tf.nn.depthwise_conv2d(image, kernel, [1, 2, 2, 1], "SAME")

    @tf.function(autograph=False)
    def differentiated(convolve: Any) -> tuple[Any, Any]:
        x = tf.constant(image, tf.float32)
        value = convolve(x, tf.constant(kernel, tf.float32))
        return value, tf.gradients(tf.square(value), x)[0]

    # Names inside TensorFlow are no promise.
    try:
        with tf.init_scope():
            pairs = zip(differentiated(ours), differentiated(theirs), strict=True)
            return all(np.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)
    except (AttributeError, TypeError, ValueError, RuntimeError, tf.errors.OpError):
        return False

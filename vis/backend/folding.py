"""Folds inference-time batch normalisation into the layer before it.

In inference a batch normalisation is a scale and a shift of each channel, which the convolution
or dense layer before it can do itself, exactly to rounding and for free. Only where nobody looks
at what lies between the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from vis.backend import pointwise

_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_FOLDABLE = (*_CONVOLUTIONS, *_DEPTHWISE, layers.Dense)


def plan(nodes: Sequence[Any], wanted: Collection[int]) -> dict[int, Any]:
    """The batch normalisations that can be folded.

    Args:
        nodes: All nodes that will run, in order.
        wanted: `id` of each tensor that somebody looks at.

    Returns:
        For the `id` of the node of each such normalisation the node of the layer before it.
    """
    producers = {id(t): node for node in nodes for t in node.outputs}
    uses = Counter(id(t) for node in nodes for t in node.input_tensors)
    pairs = {}
    for node in nodes:
        if type(node.operation) is not layers.BatchNormalization or len(node.input_tensors) != 1:
            continue
        between = node.input_tensors[0]
        before = producers.get(id(between))
        if before is None or uses[id(between)] != 1 or id(between) in wanted:
            continue
        if len(before.input_tensors) == 1 and _fits(before.operation, node.operation, between):
            pairs[id(node)] = before
    return pairs


def _fits(layer: Any, norm: layers.BatchNormalization, between: keras.KerasTensor) -> bool:
    if type(layer) not in _FOLDABLE or layer.activation is not keras.activations.linear:
        return False
    if getattr(layer, "padding", None) == "causal" or getattr(layer, "lora_enabled", False):
        return False
    if layer.dtype_policy != norm.dtype_policy or layer.quantization_mode is not None:
        return False
    if layer.compute_dtype != layer.variable_dtype:
        return False
    rank = len(between.shape)
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return norm.axis % rank == (1 if first else rank - 1)


class Folder:
    """Runs folded layers, and folds each once, outside the loop that is being traced.

    Args:
        graph: The graph to fold in: the one around the loop.
        precision: The type to compute in, or None for the layers' own.
    """

    def __init__(self, graph: tf.Graph, precision: str | None = None) -> None:
        self._graph = graph
        self._precision = precision
        self._folded: dict[tuple[int, int], tuple[Any, Any]] = {}

    def __call__(self, layer: Any, norm: layers.BatchNormalization, inputs: Any) -> Any:
        """What `norm(layer(inputs))` is in inference."""
        key = (id(layer), id(norm))
        if key not in self._folded:
            with self._graph.as_default():
                dtype = self._precision or layer.compute_dtype
                self._folded[key] = tuple(ops.cast(v, dtype) for v in _fold(layer, norm))
        kernel, bias = self._folded[key]
        inputs = ops.cast(inputs, kernel.dtype)
        if isinstance(layer, layers.Dense):
            outputs = ops.matmul(inputs, kernel)
        elif isinstance(layer, _DEPTHWISE):
            outputs = ops.depthwise_conv(
                inputs,
                kernel,
                strides=layer.strides,
                padding=layer.padding,
                dilation_rate=layer.dilation_rate,
                data_format=layer.data_format,
            )
        else:
            with pointwise.as_product(layer, inputs):
                outputs = layer.convolution_op(inputs, kernel)
        first = getattr(layer, "data_format", None) == "channels_first"
        # Unlike an addition, TensorFlow fuses this with the convolution and the rectifier.
        return tf.nn.bias_add(outputs, bias, data_format="NC..." if first else "N...C")


def _fold(layer: Any, norm: layers.BatchNormalization) -> tuple[Any, Any]:
    scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
    if norm.scale:
        scale = scale * norm.gamma
    shift = -norm.moving_mean * scale
    if norm.center:
        shift = shift + norm.beta
    if layer.use_bias:
        shift = shift + layer.bias * scale
    kernel = ops.convert_to_tensor(layer.kernel)
    if isinstance(layer, _DEPTHWISE):
        return kernel * ops.reshape(scale, kernel.shape[-2:]), shift
    return kernel * scale, shift

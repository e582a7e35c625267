"""Runs layers on weights that were made ready before, batch normalisation folded into them.

In inference a batch normalisation is a scale and a shift of each channel, which the convolution
or dense layer before it can do itself, exactly to rounding and for free. Only where nobody looks
at what lies between the two.
"""

import weakref
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from vis.backend.layers import convolution, onednn
from vis.backend.layers.weight_cache import CachedWeights, DerivedWeights, TracedWeights

_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_FOLDABLE = (layers.Conv1D, layers.Conv2D, layers.Conv3D, *_DEPTHWISE, layers.Dense)


def folded_batch_norms(nodes: Sequence[Any], wanted: Collection[int]) -> dict[int, Any]:
    """The batch normalisations that can be folded, among the nodes that will run, in order.

    For the `id` of each one's node this has the node of the layer before it. `wanted` has the `id`
    of each tensor that somebody looks at.
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


def _is_plain(layer: Any) -> bool:
    """Whether a layer does with its kernel and bias what its type says, in one type of numbers."""
    return (
        type(layer) in _FOLDABLE
        and "call" not in vars(layer)
        and getattr(layer, "padding", None) != "causal"
        and not getattr(layer, "lora_enabled", False)
        and layer.quantization_mode is None
        and layer.compute_dtype == layer.variable_dtype
    )


def _fits(layer: Any, norm: layers.BatchNormalization, between: keras.KerasTensor) -> bool:
    rank = len(between.shape)
    return (
        _is_plain(layer)
        and layer.activation is keras.activations.linear
        and layer.dtype_policy == norm.dtype_policy
        and norm.axis % rank == (1 if _is_channels_first(layer) else rank - 1)
    )


def _is_channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


class LayerRunner:
    """Runs layers on weights that were made ready for it, in a precision or in their own."""

    def __init__(
        self, weights: TracedWeights | CachedWeights, precision: str | None = None
    ) -> None:
        self._weights = weights
        self.precision = precision

    def can_run(self, node: Any) -> bool:
        """Whether a layer with no normalisation behind it is better run here than by itself."""
        layer = node.operation
        if not self._weights.ahead or not _is_plain(layer) or len(node.input_tensors) != 1:
            return False
        if self.precision is None:
            return convolution.is_of_images(layer) or onednn.is_for(layer, layer.compute_dtype)
        # A dense layer passes masks on, of which an input of this rank has none.
        return not isinstance(layer, layers.Dense) or len(node.input_tensors[0].shape) == 2

    def __call__(
        self, layer: Any, inputs: Any, norm: layers.BatchNormalization | None = None
    ) -> Any:
        """What `layer(inputs)` is in inference, or `norm(layer(inputs))`."""
        dtype = self.precision or layer.compute_dtype
        inputs = ops.cast(inputs, dtype)
        is_turned = self._weights.ahead and convolution.is_better_turned(layer, inputs.shape)
        formula = _turned if is_turned else _folded
        parts = (layer,) if norm is None else (layer, norm)
        weights = self._weights(DerivedWeights(formula, tuple(map(weakref.ref, parts)), dtype))
        return layer.activation(_run(layer, inputs, **weights))


def _folded(layer: Any, norm: layers.BatchNormalization | None = None) -> dict[str, Any]:
    """Kernel and bias of a layer, with the normalisation behind it if there is one."""
    kernel = ops.convert_to_tensor(layer.kernel)
    if norm is None:
        return {"kernel": kernel, "bias": layer.bias} if layer.use_bias else {"kernel": kernel}
    scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
    if norm.scale:
        scale = scale * norm.gamma
    shift = -norm.moving_mean * scale
    if norm.center:
        shift = shift + norm.beta
    if layer.use_bias:
        shift = shift + layer.bias * scale
    if isinstance(layer, _DEPTHWISE):
        scale = ops.reshape(scale, kernel.shape[-2:])
    return {"kernel": kernel * scale, "bias": shift}


def _turned(*parts: Any) -> dict[str, Any]:
    weights = _folded(*parts)
    return {**weights, "turned": convolution.turned(parts[0], weights["kernel"])}


def _run(layer: Any, inputs: Any, kernel: Any, bias: Any = None, turned: Any = None) -> Any:
    if onednn.is_for(layer, inputs.dtype.name) and onednn.is_worth_it(layer, inputs):
        return onednn.depthwise_convolution(inputs, kernel, bias, layer.strides[0], layer.padding)
    if convolution.is_of_images(layer):
        outputs = convolution.convolution(layer, inputs, kernel, turned)
    elif isinstance(layer, layers.Dense):
        outputs = ops.matmul(inputs, kernel)
    elif isinstance(layer, _DEPTHWISE):
        how = layer.strides, layer.padding, layer.data_format, layer.dilation_rate
        outputs = ops.depthwise_conv(inputs, kernel, *how)
    else:
        outputs = layer.convolution_op(inputs, kernel)
    if bias is None:
        return outputs
    # Unlike an addition, TensorFlow fuses this with the convolution and the rectifier.
    data_format = "NC..." if _is_channels_first(layer) else "N...C"
    return tf.nn.bias_add(outputs, bias, data_format=data_format)

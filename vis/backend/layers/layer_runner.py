"""Running layers on derived weights, with batch normalisation folded into the layer before it.

In inference mode, batch normalisation scales and shifts channels. The layer before it can do this
at no cost, with the same result up to rounding, if the tensor in between is not used elsewhere.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from vis.backend.layers import convolution, onednn
from vis.backend.layers.weight_cache import CachedWeights, DerivedWeights, TracedWeights

_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_FOLDABLE = (layers.Conv1D, layers.Conv2D, layers.Conv3D, *_DEPTHWISE, layers.Dense)


def folded_batch_norms(nodes: Sequence[Any], requested: Collection[int]) -> dict[int, Any]:
    """Maps the `id` of each batch normalisation node that can be folded to the node before it.

    `nodes` are all nodes that run, in order, and `requested` has the `id` of tensors whose values
    are needed.
    """
    producers = {id(t): node for node in nodes for t in node.outputs}
    uses = Counter(id(t) for node in nodes for t in node.input_tensors)
    pairs = {}
    for node in nodes:
        if type(node.operation) is not layers.BatchNormalization or len(node.input_tensors) != 1:
            continue
        between = node.input_tensors[0]
        before = producers.get(id(between))
        is_unused = uses[id(between)] == 1 and id(between) not in requested
        if before is not None and is_unused and _fits(before, node.operation, between):
            pairs[id(node)] = before
    return pairs


def _is_plain(layer: Any) -> bool:
    """Whether a layer is of a type that can be folded, unmodified and with one dtype."""
    return (
        type(layer) in _FOLDABLE
        and "call" not in vars(layer)
        and getattr(layer, "padding", None) != "causal"
        and not getattr(layer, "lora_enabled", False)
        and layer.quantization_mode is None
        and layer.compute_dtype == layer.variable_dtype
    )


def _fits(node: Any, norm: layers.BatchNormalization, output: keras.KerasTensor) -> bool:
    layer, rank = node.operation, len(output.shape)
    return (
        len(node.input_tensors) == 1
        and _is_plain(layer)
        and layer.activation is keras.activations.linear
        and layer.dtype_policy == norm.dtype_policy
        and norm.axis % rank == (1 if _is_channels_first(layer) else rank - 1)
    )


def _is_channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


class LayerRunner:
    """Runs layers on derived weights, in a given precision or in their own."""

    def __init__(self, weights: TracedWeights | CachedWeights, precision: str | None = None):
        self._weights = weights
        self.precision = precision

    def can_run(self, node: Any) -> bool:
        """Whether a layer without batch normalisation after it runs faster here than by itself."""
        layer = node.operation
        if not self._weights.is_precomputed or not _is_plain(layer) or len(node.input_tensors) != 1:
            return False
        if self.precision is None:
            return convolution.is_supported(layer) or onednn.is_supported(
                layer, layer.compute_dtype
            )
        # Dense layers pass on masks, and inputs of rank 2 have none.
        return not isinstance(layer, layers.Dense) or len(node.input_tensors[0].shape) == 2

    def __call__(
        self, layer: Any, inputs: Any, norm: layers.BatchNormalization | None = None
    ) -> Any:
        """Computes `layer(inputs)` in inference mode, or `norm(layer(inputs))`."""
        dtype = self.precision or layer.compute_dtype
        inputs = ops.cast(inputs, dtype)
        formula: Callable = _folded_weights
        if self._weights.is_precomputed and convolution.needs_gradient_kernel(layer, inputs.shape):
            formula = _with_gradient_kernel
        parts = (layer,) if norm is None else (layer, norm)
        weights = self._weights(DerivedWeights(formula, tuple(map(weakref.ref, parts)), dtype))
        return layer.activation(_run(layer, inputs, **weights))


def _folded_weights(layer: Any, norm: layers.BatchNormalization | None = None) -> dict[str, Any]:
    """Kernel and bias of a layer, with the batch normalisation after it, if any."""
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


def _with_gradient_kernel(layer: Any, *norm: layers.BatchNormalization) -> dict[str, Any]:
    weights = _folded_weights(layer, *norm)
    return {**weights, "gradient_kernel": convolution.gradient_kernel(layer, weights["kernel"])}


def _run(
    layer: Any, inputs: Any, kernel: Any, bias: Any = None, gradient_kernel: Any = None
) -> Any:
    if onednn.is_supported(layer, inputs.dtype.name) and onednn.is_faster(layer, inputs):
        return onednn.depthwise_convolution(inputs, kernel, bias, layer.strides[0], layer.padding)
    if convolution.is_supported(layer):
        outputs = convolution.convolve(layer, inputs, kernel, gradient_kernel)
    elif isinstance(layer, layers.Dense):
        outputs = ops.matmul(inputs, kernel)
    elif isinstance(layer, _DEPTHWISE):
        settings = layer.strides, layer.padding, layer.data_format, layer.dilation_rate
        outputs = ops.depthwise_conv(inputs, kernel, *settings)
    else:
        outputs = layer.convolution_op(inputs, kernel)
    if bias is None:
        return outputs
    # Unlike an addition, TensorFlow fuses this with the convolution and the ReLU.
    data_format = "NC..." if _is_channels_first(layer) else "N...C"
    return tf.nn.bias_add(outputs, bias, data_format=data_format)

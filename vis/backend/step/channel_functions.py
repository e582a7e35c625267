"""Activation maps of channels of several layers, and contributions of channels to each other.

Each image goes through the network once. A contribution is gradient times activation.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import (
    Graph,
    LayerOutput,
    ModelInputs,
    Target,
    TensorRef,
    as_input_dtype,
    filters_of,
)
from vis.backend.layers import WeightCache, has_softmax
from vis.backend.private import gradients
from vis.backend.step import per_sample
from vis.backend.step.compiled import CompiledFunction

_channel_functions = WeakCache()


class LayerTap(NamedTuple):
    """A layer whose output is read, before its softmax if it has one."""

    ref: TensorRef
    axis: int  # The channel axis.
    before_softmax: bool

    @classmethod
    def of(cls, graph: Graph, layer: Target) -> "LayerTap":
        """The tap of a layer of a graph."""
        _, axis, _ = filters_of(layer)
        return cls(graph.ref_of(layer), axis, has_softmax(LayerOutput.of(layer).layer))


class ChannelFunction:
    """A function of images and of channels of several layers, compiled for each size of images."""

    _evaluate: Callable[..., list[Any]]  # Called with `run`, the inputs and the channels.

    def __init__(self, inputs: ModelInputs, taps: Sequence[LayerTap]) -> None:
        graph = inputs.graph
        self._inputs = list(map(TensorRef.of, inputs.tensors))
        self._taps = taps
        # The forward passes: one for most layers, and one for each that needs its own.
        separate = [tap for tap in taps if _needs_own_pass(graph, tap, taps)]
        self._passes = [[tap for tap in taps if tap not in separate], *([tap] for tap in separate)]
        self._compiled = CompiledFunction(self._evaluate, _error_message, _input_specs)

    @classmethod
    def _cached(cls, inputs: ModelInputs, *taps: LayerTap) -> Any:
        graph = inputs.graph
        key = cls, tuple(map(TensorRef.of, inputs.tensors)), taps, graph.activations()
        return _channel_functions.get(graph.owner, key, lambda: cls(inputs, taps))

    def __call__(
        self, graph: Graph, weights: WeightCache, inputs: Sequence[Any], channels: Sequence[Any]
    ) -> list[np.ndarray]:
        """Evaluates the function for `(samples, ...)` of each input, and channels of each layer."""
        tensors = [tf.convert_to_tensor(values) for values in inputs]
        indices = [tf.convert_to_tensor(np.asarray(c, "int32")) for c in channels]
        return [output.numpy() for output in self._compiled(graph, weights, tensors, indices)]

    def _layer_outputs(self, run: Callable, inputs: Sequence[Any]) -> list[Any]:
        """The outputs of the layers, in the order of the taps."""
        pairs = zip(self._inputs, inputs, strict=True)
        feeds = [(ref.tensor, as_input_dtype(value, ref.dtype)) for ref, value in pairs]
        outputs: dict[LayerTap, Any] = {}
        for taps in self._passes:
            without_softmax = [tap.ref.operation() for tap in taps if tap.before_softmax]
            values = run(feeds, [tap.ref for tap in taps], without_softmax=without_softmax)
            outputs.update(zip(taps, values, strict=True))
        return [outputs[tap] for tap in self._taps]


class ActivationMaps(ChannelFunction):
    """Activations of channels of several layers, each `(samples, channels, positions...)`."""

    @classmethod
    def of(cls, inputs: ModelInputs, layers: Sequence[Target]) -> "ActivationMaps":
        """The activation maps of layers of a graph."""
        return cls._cached(inputs, *(LayerTap.of(inputs.graph, layer) for layer in layers))

    def _evaluate(self, run: Callable, inputs: list[Any], channels: list[Any]) -> list[Any]:
        def activations(*inputs: Any) -> list[Any]:
            outputs = self._layer_outputs(run, inputs)
            per_layer = zip(outputs, self._taps, channels, strict=True)
            return [_select_channels(value, tap.axis, c) for value, tap, c in per_layer]

        return per_sample.map_images(activations, inputs)


class Contributions(ChannelFunction):
    """Contributions of channels of earlier layers to channels of a layer, in one trace for all.

    An image goes through the network once. The gradients of the channels then go back through the
    layers in between, one after the other. Each sample has its own channels of the layer,
    `(samples, channels)`. The results are `(samples, channels, channels of the earlier layer)`.
    """

    @classmethod
    def of(cls, inputs: ModelInputs, layer: Target, earlier: Sequence[Target]) -> "Contributions":
        """The contributions of earlier layers of a graph to a layer."""
        graph = inputs.graph
        # The earlier layers keep their softmax: the layer is computed with it.
        taps = (LayerTap.of(graph, e)._replace(before_softmax=False) for e in earlier)
        return cls._cached(inputs, LayerTap.of(graph, layer), *taps)

    def _evaluate(self, run: Callable, inputs: list[Any], channels: list[Any]) -> list[Any]:
        layer_channels, *earlier_channels = channels

        def contributions(layer_channels: Any, *inputs: Any) -> list[Any]:
            output, *earlier = self._layer_outputs(run, inputs)
            axis, *axes = (tap.axis for tap in self._taps)
            maps = _select_channels(output, axis, tf.range(output.shape[axis]))
            scores = _over_positions(tf.reduce_mean, maps)

            def contributions_to(channel: Any) -> list[Any]:
                # All samples at once: they do not depend on each other.
                grads = self._gradients(scores * tf.one_hot(channel, output.shape[axis]), earlier)
                per_layer = zip(earlier, grads, axes, earlier_channels, strict=True)
                return [
                    _over_positions(
                        tf.reduce_sum,
                        _select_channels(value, axis, c) * _select_channels(grad, axis, c),
                    )
                    for value, grad, axis, c in per_layer
                ]

            per_channel = tf.map_fn(
                contributions_to,
                tf.transpose(layer_channels),
                parallel_iterations=1,
                fn_output_signature=[tf.float32 for _ in earlier],
            )
            return [tf.transpose(values, [1, 0, 2]) for values in per_channel]

        return per_sample.map_images(contributions, [layer_channels, *inputs])

    def _gradients(self, scores: Any, earlier: list[Any]) -> list[Any]:
        grads = gradients(scores, earlier)
        for tap, grad in zip(self._taps[1:], grads, strict=True):
            if grad is None:
                layer, name = (t.ref.operation().name for t in (self._taps[0], tap))
                raise ValueError(
                    f"No gradient flows from layer '{layer}' back to '{name}'. Choose a layer "
                    "before the other, with only differentiable operations in between. "
                    f"Received: the layers '{layer}' and '{name}'"
                )
        return grads


def _error_message(reason: str, inputs: Sequence[Any], *_: Any) -> str:
    return (
        f"`images` must have a size and values that the model accepts ({reason}). "
        f"Received: images of shape {tuple(inputs[0].shape[1:])}"
    )


def _input_specs(inputs: Sequence[Any], channels: Sequence[Any]) -> tuple:
    """The specs of a trace for any number of samples and of channels."""
    specs = [tf.TensorSpec([None, *values.shape[1:]], values.dtype) for values in inputs]
    return specs, [tf.TensorSpec([None] * len(c.shape), c.dtype) for c in channels]


def _needs_own_pass(graph: Graph, tap: LayerTap, taps: Sequence[LayerTap]) -> bool:
    """Whether a layer is read before its softmax while others are computed with it."""
    own = tap.ref.operation()
    return tap.before_softmax and any(
        id(own) in graph.upstream(other.ref.operation())
        for other in taps
        if other.ref.operation() is not own
    )


def _select_channels(value: Any, axis: int, channels: Any) -> Any:
    """Channels of a layer's output as `(samples, channels, positions...)`, in float32."""
    selected = tf.cast(tf.gather(value, channels, axis=axis), tf.float32)
    positions = [i for i in range(1, len(value.shape)) if i != axis]
    return tf.transpose(selected, [0, axis, *positions])


def _over_positions(reduce: Callable, value: Any) -> Any:
    """The mean or sum over all positions of `(samples, channels, positions...)`."""
    return reduce(value, axis=list(range(2, len(value.shape))))

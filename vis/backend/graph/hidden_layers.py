"""Hidden layers: those that run inside the `call` of another layer, and have no node in a graph.

During a trace their own `call` is wrapped, so that their outputs are recorded.
"""

import contextlib
import functools
import operator
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops, tree

from vis.backend.layers import call_in_inference, layer_variants, plain_call
from vis.backend.private import get_keras_mask, layers_inside, with_layers_inside
from vis.utils.validation import expect, require

_lock = threading.RLock()


@dataclass(eq=False)
class CallRecorder:
    """The recorded outputs of some layers."""

    outputs: dict[keras.Layer, list[list[Any]]]  # One list for each call of a layer.
    order: list[keras.Layer] = field(default_factory=list)  # The layers in order of execution.
    # The names of the outputs of each call.
    names: dict[keras.Layer, list[list[str]]] = field(default_factory=lambda: defaultdict(list))
    # Numbers of frames of the `TimeDistributed` layers that are running, outermost first.
    frames: list[int] = field(default_factory=list)

    def value(self, layer: keras.Layer, call: int, output: int) -> Any:
        """One output of one call of a layer."""
        calls = self.outputs[layer]
        expected = f"be below {len(calls)}, the number of calls of the layer '{layer.name}'"
        require(call < len(calls), "call", expected, call)
        value = calls[call][output]
        is_reachable = value.graph is tf.compat.v1.get_default_graph()
        expected = "not run in a loop inside another layer. Use the layer around it"
        expect(is_reachable, "layer", expected, f"layer '{layer.name}'")
        return value


class _Specs(NamedTuple):
    outputs: list[list[keras.KerasTensor]]  # One list for each call of the layer.
    names: list[list[str]]  # The names of these outputs.
    rank: int  # Number of layers that run before it.


_specs: weakref.WeakKeyDictionary[keras.Layer, _Specs] = weakref.WeakKeyDictionary()
# For layers that return the output of a hidden layer: that layer.
_last_inside: weakref.WeakKeyDictionary[keras.Layer, weakref.ref] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def record_calls(
    layers: Iterable[keras.Layer], enclosing: Iterable[Any], without_softmax: Sequence[Any] = ()
) -> Iterator[CallRecorder]:
    """Records the outputs of hidden layers, which run in the `call` of enclosing operations."""
    recorder = CallRecorder({layer: [] for layer in layers})
    if not recorder.outputs:
        yield recorder
        return
    with _lock:
        # A `TimeDistributed` layer would run its layer in a loop.
        calls = {
            layer: _call_with_merged_frames(layer, recorder)
            for operation in enclosing
            for layer in with_layers_inside(operation)
            if isinstance(layer, keras.layers.TimeDistributed)
            and not recorder.outputs.keys().isdisjoint(layers_inside(layer))
        }
        for layer in recorder.outputs:
            is_linear = layer in without_softmax
            variant = layer_variants.without_softmax(layer) if is_linear else layer
            calls[layer] = _recorded_call(layer, calls.get(layer) or plain_call(variant), recorder)
        with _replaced_calls(calls):
            yield recorder


@contextlib.contextmanager
def _replaced_calls(calls: dict[keras.Layer, Callable]) -> Iterator[None]:
    originals = {layer: vars(layer).get("call") for layer in calls}
    for layer, call in calls.items():
        vars(layer)["call"] = call
    try:
        yield
    finally:
        for layer, original in originals.items():
            # In one operation, because other threads may run the layer.
            if original is None:
                del vars(layer)["call"]
            else:
                vars(layer)["call"] = original


def _recorded_call(layer: keras.Layer, call: Callable, recorder: CallRecorder) -> Callable:
    """A layer's `call` that also records its outputs."""

    @functools.wraps(call)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        if recorder.frames:
            outputs = _split_frames(outputs, recorder.frames)
        # Some layers return None among their outputs, such as attention without its scores.
        values = [output for output in tree.flatten(outputs) if output is not None]
        recorder.outputs[layer].append(values)
        recorder.names[layer].append(names_in(outputs))
        recorder.order.append(layer)
        # Later layers must depend on the recorded values, so that these have a gradient.
        return _merge_frames(outputs, len(recorder.frames)) if recorder.frames else outputs

    return recorded


def _call_with_merged_frames(
    wrapper: keras.layers.TimeDistributed, recorder: CallRecorder
) -> Callable:
    """A `call` that runs the wrapped layer on all frames at once, as samples, if possible."""
    original = wrapper.call

    @functools.wraps(original)
    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        frames = inputs.shape[1]
        if frames is None or mask is not None or get_keras_mask(inputs) is not None:
            return original(inputs, training=training, mask=mask)
        recorder.frames.append(frames)
        try:
            outputs = call_in_inference(wrapper.layer, (_merge_frames(inputs, 1),), {})
        finally:
            recorder.frames.pop()
        return _split_frames(outputs, [frames])

    return call


def _split_frames(outputs: Any, frames: list[int]) -> Any:
    """Splits the batch axis into samples and frames, which become axes of their own."""
    return tree.map_structure(
        lambda v: None if v is None else ops.reshape(v, (-1, *frames, *v.shape[1:])), outputs
    )


def _merge_frames(outputs: Any, axes: int) -> Any:
    """Merges the axes of frames, which follow the batch axis, into the batch axis."""
    return tree.map_structure(
        lambda v: None if v is None else ops.reshape(v, (-1, *v.shape[1 + axes :])), outputs
    )


def store_specs(recorder: CallRecorder, samples: int) -> None:
    """Keeps the shapes and dtypes of recorded outputs as long as the layers live.

    The batch axis is None if it has the given number of samples.
    """

    def spec(value: Any) -> keras.KerasTensor:
        shape = [None if i == 0 and n == samples else n for i, n in enumerate(value.shape)]
        return keras.KerasTensor(shape, value.dtype.name)

    for layer, calls in recorder.outputs.items():
        if calls:
            outputs = tree.map_structure(spec, calls)
            _specs[layer] = _Specs(outputs, recorder.names[layer], recorder.order.index(layer))
        for inner in layers_inside(layer) if calls else ():
            own = recorder.outputs.get(inner)
            if own and len(own) == len(calls) == 1 and _are_same(own[0], calls[0]):
                _last_inside[layer] = weakref.ref(inner)


def _are_same(outputs: Sequence[Any], others: Sequence[Any]) -> bool:
    return len(outputs) == len(others) and all(map(operator.is_, outputs, others))


def last_inside(layer: keras.Layer) -> keras.Layer:
    """The innermost hidden layer whose output a layer returns, or the layer itself."""
    while (last := _last_inside.get(layer)) is not None and last() is not None:
        layer = last()
    return layer


def has_specs(layer: keras.Layer) -> bool:
    """Whether the outputs of a hidden layer are known."""
    return layer in _specs


def output_specs(layer: keras.Layer) -> list[list[keras.KerasTensor]]:
    """Shapes and dtypes of a hidden layer's outputs, one list for each of its calls."""
    expected = (
        "be part of a built model. Find a layer inside a custom layer or a subclassed model with "
        "`vis.visualization.find_layer(model, layer)` first"
    )
    expect(has_specs(layer), "layer", expected, f"layer '{layer.name}'")
    return _specs[layer].outputs


def output_names(layer: keras.Layer) -> list[list[str]]:
    """The names of a hidden layer's outputs, one list for each of its calls."""
    return _specs[layer].names


def names_in(outputs: Any) -> list[str]:
    """The names of nested outputs: keys, or positions in a list, joined by slashes."""
    if outputs is None or not isinstance(outputs, (Mapping, list, tuple)):
        return [] if outputs is None else [""]
    # In the order of `tree.flatten`; Keras 3.6 has no `tree.flatten_with_path`.
    items = sorted(outputs.items()) if isinstance(outputs, Mapping) else enumerate(outputs)
    return [f"{key}/{name}".rstrip("/") for key, value in items for name in names_in(value)]


def execution_order(operation: Any) -> list[keras.Layer]:
    """The hidden layers that run inside an operation, in order of execution."""
    layers = [x for x in layers_inside(operation) if has_specs(x) and _specs[x].outputs[0]]
    return sorted(layers, key=lambda layer: _specs[layer].rank)


def up_to(layer: keras.Layer, operation: Any) -> list[keras.Layer]:
    """The hidden layers that run inside an operation, from the first up to `layer`."""
    output_specs(layer)
    layers = execution_order(operation)
    return layers[: 1 + layers.index(layer)]

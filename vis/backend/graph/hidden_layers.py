"""What layers return that run inside the `call` of another layer, where no graph shows them.

A layer's `call` is wrapped for the length of a trace, and what it returns is written down. This
works for subclassed models and custom layers as well as for wrappers, and gradients flow through.
"""

import contextlib
import functools
import math
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops, tree

from vis.backend.layers import in_inference, without_softmax
from vis.backend.private import get_keras_mask, layers_inside, with_layers_inside

if TYPE_CHECKING:
    from vis.backend.graph.tensor_refs import TensorRef

_lock = threading.RLock()


@dataclass(eq=False)
class CallRecorder:
    """What some layers have returned."""

    outputs: dict[keras.Layer, list[list[Any]]]  # One list for each time that a layer ran.
    order: list[keras.Layer] = field(default_factory=list)  # In which order they were done.
    # The numbers of frames of the `TimeDistributed` layers that are running.
    frames: list[int] = field(default_factory=list)

    def value(self, place: "TensorRef") -> Any:
        """The output at a place, unless the layer did not run so often, or in a loop of its own."""
        layer, call = place.operation(), place.call
        record = self.outputs[layer]
        if call >= len(record):
            raise ValueError(
                f"The layer '{layer.name}' must run more than {call} times for this call to be "
                f"looked at. Received: call={call}, where it runs {len(record)} times"
            )
        value = record[call][place.output]
        if value.graph is not tf.compat.v1.get_default_graph():
            raise ValueError(
                f"The layer '{layer.name}' cannot be looked at on its own, as it runs in a loop of "
                "the layer around it. Look at the layer around it instead. "
                f"Received: layer '{layer.name}'"
            )
        return value


class Known(NamedTuple):
    """What is known of a layer that runs inside another."""

    outputs: list[list[keras.KerasTensor]]  # Shapes and types, one list for each time that it runs.
    rank: int  # How many layers are done before it.


_known: weakref.WeakKeyDictionary[keras.Layer, Known] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def recorded(
    layers: Iterable[keras.Layer], owners: Iterable[Any], linear: Collection[int] = ()
) -> Iterator[CallRecorder]:
    """Inside this, what layers return is written down.

    `owners` are the operations of the graph that run them, and `linear` has the `id` of those that
    are run without their softmax.
    """
    records = CallRecorder({layer: [] for layer in layers})
    if not records.outputs:
        yield records
        return
    with _lock:
        # So that what is inside them is run once, and not in a loop.
        calls = {
            layer: _on_all_frames(layer, records)
            for owner in owners
            for layer in with_layers_inside(owner)
            if isinstance(layer, keras.layers.TimeDistributed)
            and not records.outputs.keys().isdisjoint(layers_inside(layer))
        }
        for layer in records.outputs:
            shown = without_softmax(layer) if id(layer) in linear else layer
            calls[layer] = _recording(layer, calls.get(layer, shown.call), records)
        own = {layer: vars(layer).get("call") for layer in calls}
        for layer, call in calls.items():
            vars(layer)["call"] = call
        try:
            yield records
        finally:
            for layer, before in own.items():
                # In one step, as other threads may run the layer.
                if before is None:
                    del vars(layer)["call"]
                else:
                    vars(layer)["call"] = before


def _recording(layer: keras.Layer, call: Callable, records: CallRecorder) -> Callable:
    """A layer's `call` that writes down what it returns."""

    @functools.wraps(call)
    def recording(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        if records.frames:
            outputs = tree.map_structure(lambda o: _apart(o, records.frames), outputs)
        # Some return None among their outputs, as attention does in the place of its scores.
        values = [output for output in tree.flatten(outputs) if output is not None]
        records.outputs[layer].append(values)
        records.order.append(layer)
        if records.frames:
            outputs = tree.map_structure(lambda o: _together(o, len(records.frames)), outputs)
        return outputs

    return recording


def _on_all_frames(wrapper: keras.layers.TimeDistributed, records: CallRecorder) -> Callable:
    """A `call` that shows a wrapper's layer all frames at once, as so many samples, if it can."""
    own = wrapper.call

    @functools.wraps(own)
    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        frames = inputs.shape[1]
        if frames is None or mask is not None or get_keras_mask(inputs) is not None:
            return own(inputs, training=training, mask=mask)
        records.frames.append(frames)
        try:
            outputs = in_inference(wrapper.layer, (_together(inputs, 1),), {})
        finally:
            records.frames.pop()
        return tree.map_structure(lambda output: _apart(output, [frames]), outputs)

    return call


def _together(values: Any, axes: int) -> Any:
    """Values with some axes behind the samples' as parts of these."""
    if values is None:
        return None
    return ops.reshape(values, (-1, *values.shape[1 + axes :]))


def _apart(values: Any, frames: list[int]) -> Any:
    """Values with frames on axes of their own again."""
    if values is None:
        return None
    samples = values.shape[0]
    return ops.reshape(
        values, (samples // math.prod(frames) if samples else -1, *frames, *values.shape[1:])
    )


def remember(records: CallRecorder) -> None:
    """Keeps the shapes and types of recorded outputs for as long as their layers live."""
    for layer, runs in records.outputs.items():
        if runs:
            outputs = tree.map_structure(
                lambda v: keras.KerasTensor(v.shape.as_list(), v.dtype.name), runs
            )
            _known[layer] = Known(outputs, records.order.index(layer))


def known_outputs(layer: keras.Layer) -> list[list[keras.KerasTensor]]:
    """Shapes and types of a layer's outputs, for each time that it runs."""
    if not is_known(layer):
        raise ValueError(
            "`layer` must be part of a model that has been built. One inside a custom layer or a "
            "subclassed model is known once `vis.visualization.find_layer(model, layer)` has "
            f"returned it. Received: layer '{layer.name}' of type {type(layer).__name__}"
        )
    return _known[layer].outputs


def is_known(layer: keras.Layer) -> bool:
    """Whether something has looked into what is around a layer that runs inside another."""
    return layer in _known


def in_order(outer: Any) -> list[keras.Layer]:
    """The layers that run inside a custom layer or a subclassed model, in their order."""
    shown = [x for x in layers_inside(outer) if is_known(x) and _known[x].outputs[0]]
    return sorted(shown, key=lambda layer: _known[layer].rank)

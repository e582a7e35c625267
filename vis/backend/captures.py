"""What layers return that run inside the `call` of another layer, where no graph shows them.

A layer's `call` is wrapped for the length of a trace, and what it returns is written down. This
works for subclassed models and custom layers as well as for wrappers, and gradients flow through.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from vis.backend.softmax import without_softmax

_lock = threading.RLock()


class Records:
    """What some layers have returned.

    Attributes:
        outputs: For the `id` of each layer its outputs, one list for each time that it ran.
        order: `id` of the layers in the order in which they were done.
    """

    def __init__(self, layers: Sequence[keras.Layer]) -> None:
        self.outputs: dict[int, list[list[Any]]] = {id(layer): [] for layer in layers}
        self.order: list[int] = []


class Known(NamedTuple):
    """What is known of a layer that runs inside another.

    Attributes:
        outputs: Shapes and types of its outputs, one list for each time that it runs.
        rank: How many layers are done before it.
    """

    outputs: list[list[keras.KerasTensor]]
    rank: int


_known: weakref.WeakKeyDictionary[keras.Layer, Known] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def recorded(layers: Sequence[keras.Layer], linear: Collection[int] = ()) -> Iterator[Records]:
    """Inside this, what layers return is written down.

    Args:
        layers: The layers.
        linear: `id` of those that are run without their softmax.

    Yields:
        The `Records`.
    """
    records = Records(layers)
    if not layers:
        yield records
        return
    unique = {id(layer): layer for layer in layers}.values()
    with _lock:
        own = {id(layer): vars(layer).get("call") for layer in unique}
        for layer in unique:
            call = without_softmax(layer).call if id(layer) in linear else layer.call
            vars(layer)["call"] = _recording(call, records, id(layer))
        try:
            yield records
        finally:
            for layer in unique:
                if own[id(layer)] is None:
                    del vars(layer)["call"]
                else:
                    vars(layer)["call"] = own[id(layer)]


def _recording(call: Any, records: Records, key: int) -> Any:
    @functools.wraps(call)
    def recording(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        records.outputs[key].append(keras.tree.flatten(outputs))
        records.order.append(key)
        return outputs

    return recording


def recorded_value(records: Records, layer: keras.Layer, call: int, output: int) -> Any:
    """One of the outputs of one of the times that a layer ran.

    Raises:
        ValueError: If it did not run so often, or ran in a loop of its own.
    """
    record = records.outputs[id(layer)]
    if call >= len(record):
        raise ValueError(
            f"The layer '{layer.name}' must run more than {call} times for this call to be "
            f"looked at. Received: call={call}, where it runs {len(record)} times"
        )
    value = record[call][output]
    if value.graph is not tf.compat.v1.get_default_graph():
        raise ValueError(
            f"The layer '{layer.name}' cannot be looked at on its own, as it runs in a loop of the "
            "layer around it. Look at the layer around it instead. "
            f"Received: layer '{layer.name}'"
        )
    return value


def remember(layers: Sequence[keras.Layer], records: Records) -> None:
    """Keeps the shapes and types of recorded outputs for as long as their layers live."""
    for layer in layers:
        if records.outputs[id(layer)]:
            outputs = [
                [keras.KerasTensor(value.shape.as_list(), value.dtype.name) for value in values]
                for values in records.outputs[id(layer)]
            ]
            _known[layer] = Known(outputs, records.order.index(id(layer)))


def known_outputs(layer: keras.Layer) -> list[list[keras.KerasTensor]]:
    """Shapes and types of a layer's outputs, for each time that it runs.

    Raises:
        ValueError: If nothing has looked into what is around the layer yet.
    """
    if layer not in _known:
        raise ValueError(
            "`layer` must be part of a model that has been built. One inside a custom layer or a "
            "subclassed model is known once `vis.visualization.find_layer(model, layer)` has "
            f"returned it. Received: layer '{layer.name}' of type {type(layer).__name__}"
        )
    return _known[layer].outputs


def rank_of(layer: keras.Layer) -> int | None:
    """How many layers are done before a layer that runs inside another, or None if not known."""
    return _known[layer].rank if layer in _known else None

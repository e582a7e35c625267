"""Layers as they are run to be looked at: in inference, without a softmax, in another precision."""

import contextlib
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from vis.backend.private import DTYPE_POLICY, losses_added_by, with_layers_inside
from vis.utils.validation import require


def in_inference(operation: Any, args: tuple, kwargs: dict) -> Any:
    """What an operation returns in inference, where it remembers nothing of earlier calls."""
    if "training" in inspect.signature(operation.call).parameters:
        kwargs = {**kwargs, "training": False}
    return _without_memory(operation)(*args, **kwargs)


@contextlib.contextmanager
def layer_losses_restored(operations: Iterable[Any]) -> Iterator[None]:
    """Inside this, layers forget what they add to the losses of their model.

    Regularizers of activations leave a tensor of the graph there each time that they run.
    """
    outer = [operation for operation in operations if isinstance(operation, keras.Layer)]
    added = [losses_added_by(layer) for o in outer for layer in with_layers_inside(o)]
    before = [(losses[:], set(identities)) for losses, identities in added]
    try:
        yield
    finally:
        for (losses, identities), (own, known) in zip(added, before, strict=True):
            losses[:] = own
            identities.clear()
            identities.update(known)


def has_softmax(layer: Any) -> bool:
    """Whether a layer ends in a softmax."""
    activation = getattr(layer, "activation", None)
    return isinstance(layer, keras.layers.Softmax) or activation is keras.activations.softmax


class _Passing(keras.layers.Layer):
    """Takes what a `Softmax` is called with, and lets it pass."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs


def without_softmax(layer: Any) -> Any:
    """A stand-in for a layer that has its variables and a linear activation."""
    if isinstance(layer, keras.layers.Softmax):
        # Without a name of its own it would begin with an underscore, as no scope at a root may.
        return _Passing(name=layer.name)
    return _copy_with(layer, activation=keras.activations.linear)


def check_precision(precision: Any) -> str | None:
    """Returns `precision` as it is, or raises a `ValueError` unless layers can compute in it."""
    is_known = precision is None or (isinstance(precision, str) and precision == "bfloat16")
    require(is_known, "precision", "be None, for the model's own, or 'bfloat16'", precision)
    return precision


def in_precision(layer: keras.Layer, precision: str) -> keras.Layer:
    """A stand-in for a layer that has its variables and computes in another type."""
    return _copy_with(layer, **{DTYPE_POLICY: keras.DTypePolicy(f"mixed_{precision}")})


def _without_memory(operation: Any) -> Any:
    """A stand-in for a stateful recurrent layer that begins anew, or any other operation itself."""
    if isinstance(operation, keras.layers.Bidirectional) and operation.stateful:
        both = ("forward_layer", "backward_layer")
        inner = {name: _without_memory(getattr(operation, name)) for name in both}
        return _copy_with(operation, stateful=False, **inner)
    if isinstance(operation, keras.layers.RNN) and operation.stateful:
        return _copy_with(operation, stateful=False)
    return operation


def _copy_with(layer: keras.Layer, **attributes: Any) -> keras.Layer:
    """A layer that has the variables of another, and all its attributes but some."""
    placeholder = object.__new__(type(layer))
    vars(placeholder).update(vars(layer), **attributes)
    return placeholder

"""Variants of layers: in inference mode, without a softmax, in another precision."""

import contextlib
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from vis.backend.private import (
    DTYPE_POLICY,
    losses_added_by,
    operation_class,
    with_layers_inside,
)
from vis.utils.validation import require

# A layer, and the operation of `keras.ops.softmax`.
_SOFTMAX: Any = (keras.layers.Softmax, operation_class(keras.ops.softmax, (2,)))


def call_in_inference(operation: Any, args: tuple, kwargs: dict) -> Any:
    """Calls an operation in inference mode, without state from earlier calls."""
    if "training" in inspect.signature(operation.call).parameters:
        kwargs = {**kwargs, "training": False}
    return _stateless(operation)(*args, **kwargs)


def returns_integers(operation: Any, inputs: Iterable[keras.KerasTensor]) -> bool:
    """Whether a layer called on integer pixels rounds what it interpolates."""
    is_resizing = isinstance(operation, keras.layers.Resizing)
    return is_resizing and not any(keras.backend.is_float_dtype(t.dtype) for t in inputs)


def rounded(values: Any) -> Any:
    """Values rounded to integers, with the gradient of the values themselves."""
    return values + keras.ops.stop_gradient(keras.ops.round(values) - values)


@contextlib.contextmanager
def restore_layer_losses(operations: Iterable[Any]) -> Iterator[None]:
    """A context that removes the losses that layers add to their model.

    Activity regularizers leave a tensor of the graph there at each call.
    """
    outer = [operation for operation in operations if isinstance(operation, keras.Layer)]
    added = [losses_added_by(layer) for o in outer for layer in with_layers_inside(o)]
    before = [(losses[:], set(ids)) for losses, ids in added]
    try:
        yield
    finally:
        for (losses, ids), (losses_before, ids_before) in zip(added, before, strict=True):
            losses[:] = losses_before
            ids.clear()
            ids.update(ids_before)


def has_softmax(layer: Any) -> bool:
    """Whether a layer ends in a softmax."""
    activation = getattr(layer, "activation", None)
    return isinstance(layer, _SOFTMAX) or activation is keras.activations.softmax


class _Identity(keras.layers.Layer):
    """Returns its inputs, and accepts the arguments of a `Softmax`."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs


def without_softmax(layer: Any) -> Any:
    """A copy of a layer, with the same variables and a linear activation."""
    if isinstance(layer, _SOFTMAX):
        # The default name begins with an underscore, which TensorFlow's root scopes may not.
        return _Identity(name=layer.name)
    return _copy_with(layer, activation=keras.activations.linear)


def check_precision(precision: Any) -> str | None:
    """Returns `precision`, or raises a `ValueError` unless layers can compute in it."""
    is_known = precision is None or (isinstance(precision, str) and precision == "bfloat16")
    require(is_known, "precision", "be 'bfloat16', or None for the model's own", precision)
    return precision


def with_precision(layer: keras.Layer, precision: str) -> keras.Layer:
    """A copy of a layer, with the same variables, that computes in another dtype."""
    name = precision if precision == "float32" else f"mixed_{precision}"
    return _copy_with(layer, **{DTYPE_POLICY: keras.DTypePolicy(name)})


def safe_precision(operations: Iterable[Any]) -> str | None:
    """float32 for models that compute in float16, in which gradients underflow; else None."""
    dtypes = {getattr(operation, "compute_dtype", None) for operation in operations}
    return "float32" if "float16" in dtypes else None


def _stateless(operation: Any) -> Any:
    """A stateless copy of a stateful recurrent layer; any other operation is returned as it is."""
    if isinstance(operation, keras.layers.Bidirectional) and operation.stateful:
        both = ("forward_layer", "backward_layer")
        inner = {name: _stateless(getattr(operation, name)) for name in both}
        return _copy_with(operation, stateful=False, **inner)
    if isinstance(operation, keras.layers.RNN) and operation.stateful:
        return _copy_with(operation, stateful=False)
    return operation


def _copy_with(layer: keras.Layer, **attributes: Any) -> keras.Layer:
    """A copy of a layer, with the same variables, in which some attributes are replaced."""
    copy = object.__new__(type(layer))
    vars(copy).update(vars(layer), **attributes)
    return copy

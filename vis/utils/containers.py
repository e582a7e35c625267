"""Models whose own graph says what they compute: Functional and Sequential ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras.src.models.functional import Functional


def is_container(operation: Any) -> bool:
    """Whether an operation is a model whose own graph can be walked in place of its `call`."""
    if type(operation).call is Functional.call:
        return True
    # A Sequential model that was not built has no such attribute.
    is_sequential = type(operation).call is keras.Sequential.call
    return is_sequential and bool(getattr(operation, "inputs", None))


def cloned(model: keras.Model, clone_function: Callable | None = None) -> keras.Model:
    """A copy of such a model, not compiled, whose inputs are named as the model's.

    Args:
        model: A Functional or Sequential model.
        clone_function: From a layer to its copy, or None for Keras's own way.
    """
    # Keras would compile the copy as well, which fails where losses are a user's own.
    view = object.__new__(type(model))
    vars(view).update(vars(model), compiled=False)
    arguments = {} if clone_function is None else {"clone_function": clone_function}
    return keras.models.clone_model(view, _fresh_inputs(model), **arguments)


def _fresh_inputs(model: keras.Model) -> Any:
    """Inputs for a copy of a Functional model, named as its input layers; else None.

    Left to itself, `keras.models.clone_model` names input layers after their tensors.
    """
    if not isinstance(model, Functional):
        return None
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            name=tensor._keras_history.operation.name,
        ),
        model.input,
    )

"""Models whose own graph says what they compute: Functional and Sequential ones."""

from __future__ import annotations

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


def fresh_inputs(model: keras.Model) -> Any:
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

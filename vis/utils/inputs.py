"""Values for the inputs of a model, by position or by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from vis.utils.validation import close_matches


def names_of(tensor: keras.KerasTensor) -> tuple[str, ...]:
    """The names that an input goes by: its layer's and its tensor's."""
    return tuple(dict.fromkeys((tensor._keras_history.operation.name, tensor.name)))


def by_layer_names(values: Any, inputs: Any) -> Any:
    """Values by the keys of a dict of inputs, by the names of the input layers instead.

    Args:
        values: A dict; anything else stays as it is.
        inputs: A model's `input`. Unless it is a dict, values stay as they are.

    Example:
        >>> by_layer_names({"image": 1}, {"image": keras.Input((2,), name="pixels")})
        {'pixels': 1}
    """
    if not (isinstance(values, Mapping) and isinstance(inputs, Mapping)):
        return values
    names = {
        key: names_of(tensor)[0]
        for key, tensor in inputs.items()
        if isinstance(tensor, keras.KerasTensor)
    }
    return {names.get(key, key): value for key, value in values.items()}


def arranged(name: str, values: Any, tensors: Sequence[keras.KerasTensor]) -> list[Any]:
    """One value for each input, None where there is none.

    Args:
        name: The argument's name, for messages.
        values: A dict by the inputs' names, a list in their order, or None; for a model with one
            input the value alone.
        tensors: The inputs.

    Raises:
        TypeError: If there are several inputs, and `values` is none of these.
        ValueError: If a name is not that of an input, or their number is another.

    Example:
        >>> inputs = [keras.Input((2,), name="a"), keras.Input((3,), name="b")]
        >>> arranged("seed_input", {"b": 1}, inputs), arranged("seed_input", [5, None], inputs)
        ([None, 1], [5, None])
    """
    if values is None:
        return [None] * len(tensors)
    if isinstance(values, Mapping):
        return _by_name(name, values, tensors)
    if len(tensors) == 1:
        return [values]
    if not isinstance(values, (list, tuple)):
        raise TypeError(
            f"`{name}` must be a list with a value for each of the inputs {_listed(tensors)}, or "
            f"a dict by their names. Received: {name} of type {type(values).__name__}"
        )
    if len(values) != len(tensors):
        raise ValueError(
            f"`{name}` must have a value for each of the inputs {_listed(tensors)}. "
            f"Received: {name} with {len(values)} values"
        )
    return list(values)


def _by_name(name: str, values: Mapping, tensors: Sequence[keras.KerasTensor]) -> list[Any]:
    known = [names_of(tensor) for tensor in tensors]
    for key in values:
        if not any(key in names for names in known):
            matches = close_matches(str(key), [n for names in known for n in names])
            hint = f"; did you mean {matches[0]!r}?" if matches else "."
            raise ValueError(
                f"`{name}` must be given by the names of the inputs, {_listed(tensors)}{hint} "
                f"Received: {name} with the name {key!r}"
            )
    return [next((values[n] for n in names if n in values), None) for names in known]


def like(inputs: Any, tensors: Sequence[keras.KerasTensor], values: Sequence[Any]) -> Any:
    """Values of some inputs: alone, by name where the inputs are a dict, or a list.

    Args:
        inputs: A model's inputs as the user has given them.
        tensors: Those of them that the values belong to.
        values: The values.
    """
    if len(values) == 1:
        return values[0]
    if isinstance(inputs, Mapping):
        keys = {id(tensor): key for key, tensor in inputs.items()}
        return {keys[id(t)]: value for t, value in zip(tensors, values, strict=True)}
    return list(values)


def _listed(tensors: Sequence[keras.KerasTensor]) -> str:
    return ", ".join(repr(names_of(tensor)[0]) for tensor in tensors)

"""The inputs of a model, and which of a user's values belongs to which of them.

Subclassed models have no input tensors, and are given stand-ins.
"""

from __future__ import annotations

import contextlib
import inspect
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import tree

from vis.backend.graph.walk import is_container
from vis.backend.layers import in_inference
from vis.backend.private import operation_of, shapes_built_with
from vis.utils.validation import close_matches

_stand_ins: weakref.WeakKeyDictionary[keras.Model, Any] = weakref.WeakKeyDictionary()
_roots: weakref.WeakKeyDictionary[Any, weakref.ref] = weakref.WeakKeyDictionary()


def structure_of(model: keras.Model) -> Any:
    """The inputs of a model as it takes them: a tensor, or a list or dict of several.

    Those of a subclassed model live as long as the model, and leave no trace on it.

    Raises:
        ValueError: If the shape of its input is not known yet, or if it has a graph and computes
            something else.
    """
    if own_inputs(model):
        if not is_container(model):
            raise ValueError(
                "`model` must not have a graph and a `call` of its own as well, which may do "
                "something else. With it inside another model its `call` counts: `inputs = "
                "keras.Input(shape); model = keras.Model(inputs, model(inputs))`. "
                f"Received: model '{model.name}' of type {type(model).__name__}"
            )
        return getattr(model, "input", model.inputs)
    if model not in _stand_ins:
        _stand_ins[model] = _made_up(model)
        for tensor in tree.flatten(_stand_ins[model]):
            _roots[operation_of(tensor)] = weakref.ref(model)
    return _stand_ins[model]


def own_inputs(model: keras.Model) -> list[keras.KerasTensor]:
    """The symbolic inputs of a model; an empty list where it has none."""
    with contextlib.suppress(AttributeError, ValueError):
        return list(model.inputs or [])
    return []


def _made_up(model: keras.Model) -> Any:
    needed = [
        name
        for name, parameter in inspect.signature(model.call).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if len(needed) > 1:
        # Keras remembers the shape of the first alone.
        raise ValueError(
            "`model` must take its inputs as one argument; make another of it that does: `inputs "
            "= [keras.Input(shape), ...]; keras.Model(inputs, model(*inputs))`. Received: model "
            f"'{model.name}', whose `call` needs {', '.join(f'`{name}`' for name in needed)}"
        )
    shapes = shapes_built_with(model)
    if len(shapes) != 1:
        raise ValueError(
            "`model` must have been built, so that the shape of its input is known: call it once "
            f"on data, as in `model(images)`. Received: model '{model.name}' of type "
            f"{type(model).__name__}"
        )

    def stand_in(shape: tuple, name: str | None = None) -> keras.KerasTensor:
        return keras.Input(shape[1:], dtype=model.variable_dtype, name=name)

    if isinstance(shapes[0], dict) and all(isinstance(key, str) for key in shapes[0]):
        with contextlib.suppress(ValueError):
            return {key: stand_in(shape, key) for key, shape in shapes[0].items()}
    return tree.map_shape_structure(stand_in, shapes[0])


def root_of(input_tensor: keras.KerasTensor) -> keras.Model | None:
    """The model that an input stands in for, or None where the input has a graph."""
    root = _roots.get(operation_of(input_tensor))
    return None if root is None else root()


def call_root(model: keras.Model, values: Mapping[int, Any]) -> Any:
    """What a model without a graph returns, in inference mode, for values of its inputs."""
    arguments = tree.map_structure(lambda tensor: values[id(tensor)], _stand_ins[model])
    return in_inference(model, (arguments,), {})


def names_of(tensor: keras.KerasTensor) -> tuple[str, ...]:
    """The names that an input goes by: its layer's and its tensor's."""
    return tuple(dict.fromkeys((operation_of(tensor).name, tensor.name)))


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
    listed = ", ".join(repr(names_of(tensor)[0]) for tensor in tensors)
    if isinstance(values, Mapping):
        return _by_name(name, values, tensors, listed)
    if len(tensors) == 1:
        return [values]
    if not isinstance(values, (list, tuple)):
        raise TypeError(
            f"`{name}` must be a list with a value for each of the inputs {listed}, or "
            f"a dict by their names. Received: {name} of type {type(values).__name__}"
        )
    if len(values) != len(tensors):
        raise ValueError(
            f"`{name}` must have a value for each of the inputs {listed}. "
            f"Received: {name} with {len(values)} values"
        )
    return list(values)


def _by_name(
    name: str, values: Mapping, tensors: Sequence[keras.KerasTensor], listed: str
) -> list[Any]:
    known = [names_of(tensor) for tensor in tensors]
    for key in values:
        if not any(key in names for names in known):
            matches = close_matches(str(key), [n for names in known for n in names])
            hint = f"; did you mean {matches[0]!r}?" if matches else "."
            raise ValueError(
                f"`{name}` must be given by the names of the inputs, {listed}{hint} "
                f"Received: {name} with the name {key!r}"
            )
    return [next((values[n] for n in names if n in values), None) for names in known]

"""The inputs of a model, or stand-ins for them, and which of a user's values belongs to which."""

import contextlib
import inspect
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import tree

from vis.backend.graph.nodes import is_container
from vis.backend.layers import in_inference
from vis.backend.private import operation_of, shapes_built_with
from vis.utils.validation import close_matches, expect

_placeholders: weakref.WeakKeyDictionary[keras.Model, Any] = weakref.WeakKeyDictionary()
_roots: weakref.WeakKeyDictionary[Any, weakref.ref] = weakref.WeakKeyDictionary()


def structure_of(model: keras.Model) -> Any:
    """The inputs of a model as it takes them, or stand-ins that live as long as the model."""
    if own_inputs(model):
        if not is_container(model):
            raise ValueError(
                "`model` must not have a graph and a `call` of its own as well, which may do "
                "something else. With it inside another model its `call` counts: `inputs = "
                "keras.Input(shape); model = keras.Model(inputs, model(inputs))`. "
                f"Received: model '{model.name}' of type {type(model).__name__}"
            )
        return getattr(model, "input", model.inputs)
    if model not in _placeholders:
        _placeholders[model] = _made_up(model)
        for tensor in tree.flatten(_placeholders[model]):
            _roots[operation_of(tensor)] = weakref.ref(model)
    return _placeholders[model]


def own_inputs(model: Any) -> list[keras.KerasTensor]:
    """The symbolic inputs of a model; an empty list where it is None or has none."""
    with contextlib.suppress(AttributeError, ValueError):
        return list(model.inputs or [])
    return []


def own_outputs(model: Any) -> list[keras.KerasTensor]:
    """The symbolic outputs of a model; an empty list where it is None or has none."""
    return tree.flatten(getattr(model, "outputs", None) or [])


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

    def placeholder(shape: tuple, name: str | None = None) -> keras.KerasTensor:
        return keras.Input(shape[1:], dtype=model.variable_dtype, name=name)

    if isinstance(shapes[0], dict) and all(isinstance(key, str) for key in shapes[0]):
        with contextlib.suppress(ValueError):
            return {key: placeholder(shape, key) for key, shape in shapes[0].items()}
    return tree.map_shape_structure(placeholder, shapes[0])


def subclassed_model_of(input_tensor: keras.KerasTensor) -> keras.Model | None:
    """The model that an input stands in for, or None where the input has a graph."""
    root = _roots.get(operation_of(input_tensor))
    return root() if root else None


def call_subclassed_model(model: keras.Model, values: Mapping[int, Any]) -> Any:
    """What a model without a graph returns, in inference mode, for values of its inputs."""
    arguments = tree.map_structure(lambda tensor: values[id(tensor)], _placeholders[model])
    return in_inference(model, (arguments,), {})


def names_of(tensor: keras.KerasTensor) -> tuple[str, ...]:
    """The names that a tensor goes by: its layer's and its own."""
    return operation_of(tensor).name, tensor.name


def input_names(structure: Any, tensors: Sequence[keras.KerasTensor]) -> list[tuple[str, ...]]:
    """The names that each input goes by: its key in a dict of inputs, its layer's, its own."""
    items = structure.items() if isinstance(structure, Mapping) else ()
    keys = {key: tensor for key, tensor in items if isinstance(tensor, keras.KerasTensor)}
    own = {id(tensor): key for key, tensor in keys.items()}
    return [
        tuple(n for n in (own.get(id(t)), *names_of(t)) if n is not None and keys.get(n, t) is t)
        or names_of(t)
        for t in tensors
    ]


def match_to_inputs(name: str, values: Any, names: Sequence[tuple[str, ...]]) -> list[Any]:
    """One value for each input, None where there is none.

    `values` is a dict by the `names` that each input goes by, a list in their order, or None; for
    one input the value alone. `name` is the argument's, for messages.
    """
    if values is None:
        return [None] * len(names)
    listed = ", ".join(repr(each[0]) for each in names)
    if isinstance(values, Mapping):
        known = [known for each in names for known in each]
        for key in values:
            if key not in known:
                matches = close_matches(str(key), known)
                hint = f"; did you mean {matches[0]!r}?" if matches else "."
                raise ValueError(
                    f"`{name}` must be given by the names of the inputs, {listed}{hint} "
                    f"Received: {name} with the name {key!r}"
                )
        return [next((values[n] for n in each if n in values), None) for each in names]
    if len(names) == 1:
        return [values]
    wanted = f"a value for each of the inputs {listed}"
    expected = f"be a list with {wanted}, or a dict by their names"
    received = f"{name} of type {type(values).__name__}"
    expect(isinstance(values, (list, tuple)), name, expected, received, TypeError)
    received = f"{name} with {len(values)} values"
    expect(len(values) == len(names), name, f"have {wanted}", received)
    return list(values)

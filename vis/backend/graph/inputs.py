"""Symbolic inputs of models, placeholders for them, and matching of values to inputs by name."""

import contextlib
import inspect
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import tree

from vis.backend.graph.nodes import is_container
from vis.backend.layers import call_in_inference
from vis.backend.private import layers_inside, operation_of
from vis.utils.validation import close_matches, expect

# The placeholders of each model without a graph, by the shapes of its inputs.
_placeholders: weakref.WeakKeyDictionary[keras.Model, dict[str, Any]] = weakref.WeakKeyDictionary()
# The model of each placeholder, by the placeholder's operation.
_subclassed_models: weakref.WeakKeyDictionary[Any, weakref.ref] = weakref.WeakKeyDictionary()


def input_structure_of(model: keras.Model) -> Any:
    """The symbolic inputs of a model in its own structure, or None if it has no graph."""
    if not own_inputs(model):
        return None
    expected = (
        "not have both a graph and a `call` of its own. Wrap it in another model to use its "
        "`call`: `inputs = keras.Input(shape); model = keras.Model(inputs, model(inputs))`"
    )
    received = f"model '{model.name}' of type {type(model).__name__}"
    expect(is_container(model), "model", expected, received)
    return getattr(model, "input", model.inputs)


def own_inputs(model: Any) -> list[keras.KerasTensor]:
    """The symbolic inputs of a model; empty for None and for a model without a graph."""
    with contextlib.suppress(AttributeError, ValueError):
        return list(model.inputs or [])
    return []


def own_outputs(model: Any) -> list[keras.KerasTensor]:
    """The symbolic outputs of a model; empty for None and for a model without a graph."""
    return tree.flatten(getattr(model, "outputs", None) or [])


def placeholders_of(model: keras.Model, shapes: Any) -> Any:
    """Symbolic inputs of a model without a graph, for some shapes; the same ones in each call."""
    by_shapes = _placeholders.setdefault(model, {})
    structure = by_shapes.pop(str(shapes), None)
    if structure is None:
        structure = _new_placeholders(model, shapes)
        for tensor in tree.flatten(structure):
            _subclassed_models[operation_of(tensor)] = weakref.ref(model)
    by_shapes[str(shapes)] = structure
    return structure


def latest_placeholders(model: keras.Model) -> Any:
    """The placeholders of the last shapes that were in use, or None."""
    return next(reversed(_placeholders.get(model, {}).values()), None)


def has_placeholders(model: keras.Model, shapes: Any) -> bool:
    """Whether a model without a graph has accepted inputs of some shapes."""
    return str(shapes) in _placeholders.get(model, {})


def drop_placeholders(model: keras.Model, shapes: Any) -> None:
    """Forgets the placeholders of shapes that a model does not accept."""
    _placeholders[model].pop(str(shapes), None)


def check_takes_one_argument(model: keras.Model) -> None:
    """Raises a `ValueError` if a model without a graph needs several arguments."""
    required = [
        name
        for name, parameter in inspect.signature(model.call).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    # Keras keeps the shape of the first argument only.
    expected = (
        "take its inputs as one argument. Wrap it in another model: `inputs = [keras.Input(shape), "
        "...]; keras.Model(inputs, model(*inputs))`"
    )
    received = f"model '{model.name}', whose `call` needs {', '.join(f'`{n}`' for n in required)}"
    expect(len(required) < 2, "model", expected, received)


def check_has_weights(model: keras.Model) -> None:
    """Raises a `ValueError` unless a model without a graph has weights."""
    inner = layers_inside(model)
    is_built = model.built and (not inner or any(layer.built for layer in inner))
    received = f"model '{model.name}' of type {type(model).__name__}"
    expect(
        is_built, "model", "have been built. Call it once on data, as in `model(images)`", received
    )


def _new_placeholders(model: keras.Model, shapes: Any) -> Any:
    def placeholder(shape: tuple, name: str | None = None) -> keras.KerasTensor:
        return keras.Input(shape[1:], dtype=model.variable_dtype, name=name)

    if isinstance(shapes, dict) and all(isinstance(key, str) for key in shapes):
        with contextlib.suppress(ValueError):
            return {key: placeholder(shape, key) for key, shape in shapes.items()}
    return tree.map_shape_structure(placeholder, shapes)


def subclassed_model_of(input_tensor: keras.KerasTensor) -> keras.Model | None:
    """The model without a graph that a placeholder belongs to, or None for any other tensor."""
    model = _subclassed_models.get(operation_of(input_tensor))
    return model() if model else None


def placeholder_index(model: keras.Model, tensor: keras.KerasTensor) -> int | None:
    """The position of a tensor among the placeholders of a model, of any shape, or None."""
    for structure in _placeholders.get(model, {}).values():
        for index, placeholder in enumerate(tree.flatten(structure)):
            if placeholder is tensor:
                return index
    return None


def call_subclassed_model(model: keras.Model, values: Mapping[int, Any]) -> Any:
    """The outputs of a model without a graph, for the values of its placeholders by `id`."""
    structure = next(
        own
        for own in _placeholders[model].values()
        if all(id(tensor) in values for tensor in tree.flatten(own))
    )
    inputs = tree.map_structure(lambda tensor: values[id(tensor)], structure)
    return call_in_inference(model, (inputs,), {})


def names_of(tensor: keras.KerasTensor) -> tuple[str, ...]:
    """The names of a tensor: its layer's and its own."""
    return operation_of(tensor).name, tensor.name


def input_names(structure: Any, tensors: Sequence[keras.KerasTensor]) -> list[tuple[str, ...]]:
    """The names of each input: its key in a dict of inputs, its layer's and its own."""
    items = structure.items() if isinstance(structure, Mapping) else ()
    keys = {key: tensor for key, tensor in items if isinstance(tensor, keras.KerasTensor)}
    own = {id(tensor): key for key, tensor in keys.items()}
    return [
        tuple(n for n in (own.get(id(t)), *names_of(t)) if n is not None and keys.get(n, t) is t)
        or names_of(t)
        for t in tensors
    ]


def absent_inputs(
    structure: Any, tensors: Sequence[keras.KerasTensor], values: Sequence[Any]
) -> tuple[keras.KerasTensor, ...]:
    """The optional inputs to which no value is given: they are None.

    Each of `values` is a dict by the names of the inputs, a list in their order, or anything else.
    """
    is_optional = [getattr(operation_of(tensor), "optional", False) for tensor in tensors]
    if not any(is_optional) or all(is_optional):
        return ()
    names = input_names(structure, tensors)

    def is_given(i: int) -> bool:
        for value in values:
            if isinstance(value, Mapping):
                own = [value.get(name) for name in names[i]]
            else:
                is_list = isinstance(value, (list, tuple)) and len(value) == len(tensors)
                own = [value[i]] if is_list else []
            if any(v is not None for v in own):
                return True
        return False

    return tuple(t for i, t in enumerate(tensors) if is_optional[i] and not is_given(i))


def without_absent(
    structure: Any, tensors: Sequence[keras.KerasTensor], absent: Sequence[Any], values: Any
) -> Any:
    """Values of all inputs without those of absent ones, which are None."""
    is_absent = [any(tensor is other for other in absent) for tensor in tensors]
    if not any(is_absent):
        return values
    if isinstance(values, Mapping):
        pairs = zip(is_absent, input_names(structure, tensors), strict=True)
        names = {name for is_own, own in pairs if is_own for name in own}
        return {k: v for k, v in values.items() if k not in names or v is not None}
    if not isinstance(values, (list, tuple)) or len(values) != len(tensors):
        return values
    present = [value for value, own in zip(values, is_absent, strict=True) if not own]
    return present[0] if len(present) == 1 else present


def match_to_inputs(name: str, values: Any, names: Sequence[tuple[str, ...]]) -> list[Any]:
    """One value for each input, or None for an input without a value.

    `values`, the argument of that name, are a dict by the names of the inputs, a list in their
    order, or None; for one input its value.
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
                    f"`{name}` must have keys among the names of the inputs, {listed}{hint} "
                    f"Received: {name} with the key {key!r}"
                )
        return [next((values[n] for n in each if n in values), None) for each in names]
    if len(names) == 1:
        return [values]
    all_values = f"a value for each of the inputs {listed}"
    expected = f"be a list with {all_values}, or a dict by their names"
    received = f"{name} of type {type(values).__name__}"
    expect(isinstance(values, (list, tuple)), name, expected, received, TypeError)
    received = f"{name} with {len(values)} values"
    expect(len(values) == len(names), name, f"have {all_values}", received)
    return list(values)

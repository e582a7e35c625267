"""The inputs of models; those without any, subclassed ones, are given stand-ins."""

from __future__ import annotations

import contextlib
import inspect
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from vis.utils.containers import is_container
from vis.utils.model import model_inputs
from vis.utils.validation import check_model

_inputs: weakref.WeakKeyDictionary[keras.Model, Any] = weakref.WeakKeyDictionary()
_roots: weakref.WeakKeyDictionary[Any, weakref.ref] = weakref.WeakKeyDictionary()


class Inputs(list):
    """Input tensors that know whose they are, as those of a model may be another's, too.

    Args:
        tensors: The tensors.
        model: The model, or None where everything counts that hangs from the tensors.
    """

    def __init__(
        self, tensors: Iterable[keras.KerasTensor], model: keras.Model | None = None
    ) -> None:
        super().__init__(tensors)
        self.model = model

    def beginning_with(self, *tensors: keras.KerasTensor) -> Inputs:
        """Some tensors, and then the others."""
        first = {id(tensor) for tensor in tensors}
        return Inputs([*tensors, *(t for t in self if id(t) not in first)], self.model)


def inputs_of(model: keras.Model) -> Inputs:
    """The symbolic inputs of a model, or stand-ins for them where the model has no graph.

    Stand-ins live as long as the model, and leave no trace on it.

    Args:
        model: Any Keras model that has been built.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the shape of its input is not known yet, or if it has a graph and computes
            something else.
    """
    check_model(model)
    inputs = model_inputs(model)
    if inputs is not None:
        if not is_container(model):
            raise ValueError(
                "`model` must not have a graph and a `call` of its own as well, which may do "
                "something else. With it inside another model its `call` counts: `inputs = "
                "keras.Input(shape); model = keras.Model(inputs, model(inputs))`. "
                f"Received: model '{model.name}' of type {type(model).__name__}"
            )
        return Inputs(inputs, model)
    if model not in _inputs:
        _inputs[model] = _stand_ins(model)
        for tensor in keras.tree.flatten(_inputs[model]):
            _roots[tensor._keras_history.operation] = weakref.ref(model)
    return Inputs(keras.tree.flatten(_inputs[model]), model)


def structure_of(model: keras.Model) -> Any:
    """The inputs of a model as it takes them: a tensor, or a list or dict of several.

    Args:
        model: A model whose `inputs_of` are known.
    """
    return _inputs[model] if model in _inputs else getattr(model, "input", model.inputs)


def _stand_ins(model: keras.Model) -> Any:
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
    shapes = list((getattr(model, "_build_shapes_dict", None) or {}).values())
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
    return keras.tree.map_shape_structure(stand_in, shapes[0])


def root_of(input_tensor: keras.KerasTensor) -> keras.Model | None:
    """The model that an input stands in for, or None where the input has a graph."""
    root = _roots.get(input_tensor._keras_history.operation)
    return None if root is None else root()


def call_root(model: keras.Model, values: Mapping[int, Any]) -> Any:
    """What a model without a graph returns, in inference mode, for values of its inputs."""
    arguments = keras.tree.map_structure(lambda tensor: values[id(tensor)], _inputs[model])
    inference = (
        {"training": False} if "training" in inspect.signature(model.call).parameters else {}
    )
    return model(arguments, **inference)

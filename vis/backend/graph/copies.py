"""Copies of models and layers: from their configuration, or attribute by attribute without one."""

import contextlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras

from vis.backend.graph.layer_paths import LayerOutput, Target, check_tensor
from vis.backend.graph.nodes import is_container
from vis.backend.private import (
    Functional,
    Variable,
    attributes_to_copy,
    calls_of,
    layers_inside,
    operation_of,
    ref_of,
    with_layers_inside,
    without_compilation,
)
from vis.utils.validation import check_model, expect, require


class Copier:
    """Copies layers, each once, so that what is shared in a model is shared in its copy."""

    def __init__(self, shares_variables: bool = True) -> None:
        self._copied: dict[int, Any] = {}
        # Otherwise the copies have variables of their own, of the same values.
        self._shares_variables = shares_variables

    def layer(self, layer: Any) -> Any:
        """The copy of a layer, a nested model or another operation."""
        if id(layer) not in self._copied:
            self._copied[id(layer)] = (
                cloned(layer, self.layer) if is_container(layer) else self.by_attributes(layer)
            )
        return self._copied[id(layer)]

    def by_attributes(self, layer: Any) -> Any:
        """The copy of a layer without a graph of its own."""
        copy = object.__new__(type(layer))
        self._copied[id(layer)] = copy
        for name, value in attributes_to_copy(layer).items():
            vars(copy)[name] = self._inside(value)
        return copy

    def _inside(self, value: Any) -> Any:
        """An attribute's value with the layers and variables in it copied."""
        if isinstance(value, keras.Layer):
            return self.layer(value)
        if isinstance(value, Variable):
            if self._shares_variables:
                return value
            if id(value) not in self._copied:
                self._copied[id(value)] = Variable(
                    keras.ops.convert_to_numpy(value.value),
                    dtype=value.dtype,
                    trainable=value.trainable,
                    name=value.name,
                )
            return self._copied[id(value)]
        if not _holds_ours(value):
            return value
        if isinstance(value, dict):
            return {key: self._inside(v) for key, v in value.items()}
        kind = tuple if isinstance(value, tuple) else list
        return kind(self._inside(v) for v in value)


def _holds_ours(value: Any) -> bool:
    """Whether a value is a layer or a variable, or a container that has one in it."""
    if isinstance(value, (keras.Layer, Variable)):
        return True
    # Not by `keras.tree`, which sorts the keys of a dict: some have no order.
    parts = value.values() if isinstance(value, dict) else value
    return isinstance(value, (dict, list, tuple)) and any(map(_holds_ours, parts))


class _Rebuilder(Copier):
    """Rebuilds layers from their configuration where that says all, and copies the others."""

    def __init__(self) -> None:
        super().__init__()
        self._others = Copier(shares_variables=False)
        # What one of the two has copied is the same in the copies of the other.
        self._others._copied = self._copied

    def by_attributes(self, layer: Any) -> Any:
        kinds = (keras.Model, keras.layers.Lambda, keras.layers.TFSMLayer)
        if not isinstance(layer, kinds) and not knows_more(layer):
            # A configuration may fail in any way that its author has not thought of.
            with contextlib.suppress(Exception):
                return type(layer).from_config(layer.get_config())
        return self._others.by_attributes(layer)


def knows_more(layer: Any) -> bool:
    """Whether a layer knows what is neither configuration nor weights, as a vocabulary."""
    return any(hasattr(inner, "save_assets") for inner in with_layers_inside(layer))


def take_weights(copy: keras.Model, model: keras.Model) -> None:
    """Gives a copy the weights of a model, and what its layers have made of these."""
    copy.set_weights(model.get_weights())
    for layer in with_layers_inside(copy):
        # Preprocessing layers such as `Normalization` compute with constants made of weights.
        if layer.built and callable(finalize := getattr(layer, "finalize_state", None)):
            finalize()


def cloned(model: keras.Model, clone_function: Callable | None = None) -> keras.Model:
    """A copy of a model of its own graph, not compiled, whose inputs are named as the model's."""
    # Keras would compile the copy as well, which fails where losses are a user's own.
    view = object.__new__(type(model))
    vars(view).update(vars(model), compiled=False)
    inputs = None
    if isinstance(model, Functional):
        # Left to itself, Keras names input layers after their tensors.
        inputs = keras.tree.map_structure(
            lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=operation_of(t).name),
            model.input,
        )
    return keras.models.clone_model(view, inputs, clone_function)


def layer_in_copy(layer: Target, model: keras.Model, copy: keras.Model) -> Target:
    """The layer of a rebuilt model that stands where `layer` stands in the original."""
    if isinstance(layer, LayerOutput):
        return layer._replace(layer=layer_in_copy(layer.layer, model, copy))
    for old, new in zip(with_layers_inside(model), with_layers_inside(copy), strict=True):
        if old is layer:
            return new
    raise ValueError(f"`layer` must be part of the model '{model.name}'. Received: {layer!r}")


def tensor_in_copy(
    tensor: keras.KerasTensor | None, model: keras.Model, copy: keras.Model
) -> keras.KerasTensor | None:
    """The symbolic tensor of a rebuilt model that stands where `tensor` stands in the original."""
    if copy is model or tensor is None:
        return tensor
    check_tensor(tensor)
    for old, new in zip(model.inputs, copy.inputs, strict=True):
        if old is tensor:
            return new
    operation, call, index = ref_of(tensor)
    calls = calls_of(layer_in_copy(operation, model, copy))
    # What the original layer does in other models, its copy does not.
    return calls[call if len(calls) == len(calls_of(operation)) else 0].outputs[index]


def apply_modifications(
    model: keras.Model, custom_objects: Mapping[str, Any] | None = None
) -> keras.Model:
    """Rebuilds a model so that what was changed on its layers takes effect.

    Args:
        model: A Keras model whose layers' attributes, activations for instance, may have been
            changed. It is left as it is.
        custom_objects: Names and the classes or functions that they stand for, where the model
            holds objects that Keras does not know.

    Returns:
        A new model with the same weights. It is compiled as the old one was, with a fresh
        optimizer; where that cannot be made, a warning says so.

    Raises:
        TypeError: If `model` is not a Keras 3 model, or `custom_objects` is no dict.
        ValueError: If the model has no layers.

    Example:
        >>> from vis.utils.utils import apply_modifications
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")])
        >>> model.layers[-1].activation = keras.activations.linear
        >>> apply_modifications(model).layers[-1].get_config()["activation"]
        'linear'
    """
    check_model(model)
    expect(layers_inside(model), "model", "have layers", f"the model '{model.name}'")
    is_dict = isinstance(custom_objects, (Mapping, type(None)))
    expected = "be a dict of names and what they stand for"
    require(is_dict, "custom_objects", expected, custom_objects, TypeError)
    with keras.saving.custom_object_scope(dict(custom_objects or {})):
        new = _anew(model)
        if not model.compiled:
            return new
        # A configuration may fail in any way that the author of a loss has not thought of.
        try:
            new.compile_from_config(model.get_compile_config())
        except Exception as error:
            reason = str(error).splitlines()[0]
            warnings.warn(
                f"The copy of the model '{model.name}' is not compiled, as its losses, metrics or "
                "optimizer cannot be made anew; `custom_objects` helps Keras to find them: "
                f"{reason}",
                stacklevel=2,
            )
    return new


def _anew(model: keras.Model) -> keras.Model:
    """A copy of a model with its weights, not compiled, that shares nothing with it."""
    if is_container(model) and not knows_more(model):
        # Where all layers can be rebuilt from their configuration, Keras's own way is best.
        with contextlib.suppress(TypeError, ValueError, NotImplementedError, AttributeError):
            clone = cloned(model)
            take_weights(clone, model)
            return clone
    copy = _Rebuilder().layer(model)
    if not is_container(model):
        without_compilation(copy)
        return copy
    if len(copy.weights) != len(model.weights):
        # Layers whose configuration brings a layer along that another one has, too.
        copy = Copier(shares_variables=False).layer(model)
    take_weights(copy, model)
    return copy

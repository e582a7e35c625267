"""Copies of models and layers, from their configuration or by copying attributes."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from vis.backend.graph.layer_paths import LayerOutput, Target, check_tensor
from vis.backend.graph.nodes import is_container, nodes_of
from vis.backend.private import (
    Functional,
    Variable,
    attributes_to_copy,
    calls_of,
    history_of,
    layers_inside,
    operation_of,
    with_layers_inside,
    without_compilation,
)
from vis.utils.validation import check_model, expect, require, warn


class Copier:
    """Copies layers, each once, so that shared layers are shared in the copy too."""

    def __init__(self, shares_variables: bool = True) -> None:
        self._copies: dict[int, Any] = {}
        # Otherwise the copies have their own variables with the same values.
        self._shares_variables = shares_variables

    def copy(self, layer: Any) -> Any:
        """The copy of a layer, a nested model or another operation."""
        if id(layer) not in self._copies:
            self._copies[id(layer)] = (
                clone(layer, self.copy) if is_container(layer) else self.copy_attributes(layer)
            )
        return self._copies[id(layer)]

    def copy_attributes(self, layer: Any) -> Any:
        """The copy of a layer without a graph of its own."""
        copy = object.__new__(type(layer))
        self._copies[id(layer)] = copy
        for name, value in attributes_to_copy(layer).items():
            vars(copy)[name] = self._copy_value(value)
        return copy

    def _copy_value(self, value: Any) -> Any:
        """An attribute's value, with copies of the layers and variables in it."""
        if isinstance(value, keras.Layer):
            return self.copy(value)
        if isinstance(value, Variable):
            return value if self._shares_variables else self._copy_variable(value)
        if not _has_layers_or_variables(value):
            return value
        if isinstance(value, dict):
            return {key: self._copy_value(v) for key, v in value.items()}
        kind = tuple if isinstance(value, tuple) else list
        return kind(self._copy_value(v) for v in value)

    def _copy_variable(self, variable: Any) -> Any:
        if id(variable) not in self._copies:
            self._copies[id(variable)] = Variable(
                keras.ops.convert_to_numpy(variable.value),
                dtype=variable.dtype,
                trainable=variable.trainable,
                name=variable.name,
            )
        return self._copies[id(variable)]


def _has_layers_or_variables(value: Any) -> bool:
    """Whether a value is or contains a layer or a variable."""
    if isinstance(value, (keras.Layer, Variable)):
        return True
    # Not with `keras.tree`, which sorts the keys of a dict: some cannot be compared.
    parts = value.values() if isinstance(value, dict) else value
    return isinstance(value, (dict, list, tuple)) and any(map(_has_layers_or_variables, parts))


class _Rebuilder(Copier):
    """Rebuilds layers from their configuration if it is complete, and copies the others."""

    def __init__(self) -> None:
        super().__init__()
        self._others = Copier(shares_variables=False)
        # Both use the same copies.
        self._others._copies = self._copies

    def copy_attributes(self, layer: Any) -> Any:
        kinds = (keras.Model, keras.layers.Lambda, keras.layers.TFSMLayer)
        if not isinstance(layer, kinds) and not has_assets(layer):
            # The `from_config` of a custom layer may raise any error.
            with contextlib.suppress(Exception):
                return type(layer).from_config(layer.get_config())
        return self._others.copy_attributes(layer)


def has_assets(layer: Any) -> bool:
    """Whether a layer has state beside its configuration and weights, such as a vocabulary."""
    return any(hasattr(inner, "save_assets") for inner in with_layers_inside(layer))


def copy_weights(copy: keras.Model, model: keras.Model) -> None:
    """Copies the weights of a model, and updates constants that layers compute from them."""
    copy.set_weights(model.get_weights())
    for layer in with_layers_inside(copy):
        # Preprocessing layers such as `Normalization` have such constants.
        if layer.built and callable(finalize := getattr(layer, "finalize_state", None)):
            finalize()


def clone(model: keras.Model, clone_function: Callable | None = None) -> keras.Model:
    """`keras.models.clone_model` without compilation, with the same names of the inputs."""
    # Keras would compile the clone too, which fails with custom losses.
    view = object.__new__(type(model))
    vars(view).update(vars(model), compiled=False)
    inputs = None
    if isinstance(model, Functional):
        # By default Keras names input layers after their tensors.
        inputs = keras.tree.map_structure(_input_like, model.input)
    return keras.models.clone_model(view, inputs, clone_function)


def _input_like(tensor: keras.KerasTensor) -> keras.KerasTensor:
    own = operation_of(tensor)
    # Early versions of Keras have no optional inputs.
    optional = {"optional": True} if getattr(own, "optional", False) else {}
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=own.name, **optional)


def layer_in_copy(layer: Target, model: keras.Model, copy: keras.Model) -> Target:
    """The layer of a copied model at the position of `layer` in the original."""
    if isinstance(layer, LayerOutput):
        return layer._replace(layer=layer_in_copy(layer.layer, model, copy))
    for old, new in _pairs(model, copy):
        if old is layer:
            return new
    raise ValueError(f"`layer` must be part of the model '{model.name}'. Received: {layer!r}")


def _pairs(layer: Any, copy: Any) -> Iterator[tuple[Any, Any]]:
    """The operations inside a layer or model, and their counterparts in its copy."""
    yield layer, copy
    if is_container(layer) and is_container(copy):
        # A task of KerasHub lists its layers in another order than the copy, which has fewer.
        for old, new in zip(nodes_of(layer), nodes_of(copy), strict=True):
            yield from _pairs(old.operation, new.operation)
    elif isinstance(layer, keras.Layer):
        yield from zip(with_layers_inside(layer), with_layers_inside(copy), strict=True)


def tensor_in_copy(
    tensor: keras.KerasTensor | None, model: keras.Model, copy: keras.Model
) -> keras.KerasTensor | None:
    """The symbolic tensor of a copied model at the position of `tensor` in the original."""
    if copy is model or tensor is None:
        return tensor
    check_tensor(tensor)
    for old, new in zip(model.inputs, copy.inputs, strict=True):
        if old is tensor:
            return new
    operation, node_index, tensor_index = history_of(tensor)
    calls = calls_of(layer_in_copy(operation, model, copy))
    # The copy has no nodes in other models.
    node = calls[node_index if len(calls) == len(calls_of(operation)) else 0]
    return node.outputs[tensor_index]


def apply_modifications(
    model: keras.Model, custom_objects: Mapping[str, Any] | None = None
) -> keras.Model:
    """Rebuilds a model so that changed attributes of its layers take effect.

    Args:
        model: A Keras model whose layers have changed attributes, such as activations. The model
            itself is not changed.
        custom_objects: Dict of names to custom classes or functions in the model.

    Returns:
        A new model with the same weights. It is compiled like the old one, with a new optimizer;
        a warning says if that is not possible.

    Raises:
        TypeError: If `model` is not a Keras 3 model, or `custom_objects` is not a dict.
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
    expected = "be a dict of names to custom classes or functions"
    require(is_dict, "custom_objects", expected, custom_objects, TypeError)
    with keras.saving.custom_object_scope(dict(custom_objects or {})):
        new = _rebuild(model)
        if not model.compiled:
            return new
        # The configuration of a custom loss may raise any error.
        try:
            new.compile_from_config(model.get_compile_config())
        except Exception as error:
            reason = str(error).splitlines()[0]
            warn(
                f"The copy of the model '{model.name}' is not compiled, because its losses, "
                "metrics or optimizer cannot be rebuilt. Pass custom ones in `custom_objects`. "
                f"Received: {reason}"
            )
    return new


def _rebuild(model: keras.Model) -> keras.Model:
    """An uncompiled copy of a model with its own weights of the same values."""
    if is_container(model) and not has_assets(model):
        # Use Keras's own way if all layers can be rebuilt from their configuration.
        with contextlib.suppress(TypeError, ValueError, NotImplementedError, AttributeError):
            copy = clone(model)
            copy_weights(copy, model)
            return copy
    copy = _Rebuilder().copy(model)
    if not is_container(model):
        without_compilation(copy)
        return copy
    if len(copy.weights) != len(model.weights):
        # The configuration of a layer contains another layer of the model, which was rebuilt twice.
        copy = Copier(shares_variables=False).copy(model)
    copy_weights(copy, model)
    return copy

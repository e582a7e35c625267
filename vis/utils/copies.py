"""Copies of models and layers, attribute by attribute, which need no configuration."""

from __future__ import annotations

import contextlib
from typing import Any

import keras

from vis.utils.containers import cloned, is_container

# The wrappers that Keras puts around these are bound to the original, and keep it alive.
_BOUND = ("build", "quantize")
# What Keras has compiled of a model is of the original; it makes these anew.
_COMPILED = ("train_function", "test_function", "predict_function")


class Copier:
    """Copies layers, each once, so that what is shared in a model is shared in its copy.

    The copies have the variables of the originals: only the Python objects around them are new.
    A subclass may say otherwise.
    """

    def __init__(self) -> None:
        self._copied: dict[int, Any] = {}

    def layer(self, layer: Any) -> Any:
        """The copy of a layer, a nested model or another operation."""
        if id(layer) not in self._copied:
            copy_of = self._model if is_container(layer) else self.by_attributes
            self._copied[id(layer)] = copy_of(layer)
        return self._copied[id(layer)]

    def variable(self, variable: keras.Variable) -> keras.Variable:
        """What takes a variable's place in a copy."""
        return variable

    def finish(self, copy: Any) -> None:
        """Changes a copy that has just been made."""

    def _model(self, model: keras.Model) -> keras.Model:
        return cloned(model, self.layer)

    def by_attributes(self, layer: Any) -> Any:
        """The copy of a layer without a graph of its own."""
        copy = object.__new__(type(layer))
        self._copied[id(layer)] = copy
        attributes = {
            name: self._inside(value) for name, value in vars(layer).items() if name not in _BOUND
        }
        attributes.update(_inbound_nodes=[], _outbound_nodes=[])
        attributes.update((name, None) for name in _COMPILED if name in attributes)
        vars(copy).update(attributes)
        self.finish(copy)
        return copy

    def _inside(self, value: Any) -> Any:
        """An attribute's value with the layers and variables in it copied."""
        if isinstance(value, keras.Layer):
            return self.layer(value)
        if isinstance(value, keras.Variable):
            if id(value) not in self._copied:
                self._copied[id(value)] = self.variable(value)
            return self._copied[id(value)]
        if isinstance(value, (list, tuple)) and _holds_ours(value):
            kind = tuple if isinstance(value, tuple) else list
            return kind(self._inside(v) for v in value)
        if isinstance(value, dict) and _holds_ours(value):
            return {key: self._inside(v) for key, v in value.items()}
        return value


def _holds_ours(value: Any) -> bool:
    """Whether a value is a layer or a variable, or a container that has one in it."""
    if isinstance(value, (keras.Layer, keras.Variable)):
        return True
    # Not by `keras.tree`, which sorts the keys of a dict: some have no order.
    parts = value.values() if isinstance(value, dict) else value
    return isinstance(value, (dict, list, tuple)) and any(map(_holds_ours, parts))


class _IndependentCopier(Copier):
    """A `Copier` whose copies have variables of their own, of the same values."""

    def variable(self, variable: keras.Variable) -> keras.Variable:
        return keras.Variable(
            keras.ops.convert_to_numpy(variable.value),
            dtype=variable.dtype,
            trainable=variable.trainable,
            name=variable.name,
        )


class _Rebuilder(Copier):
    """Rebuilds layers from their configuration where they have one, and copies the others.

    Layers of `lambda` functions, and custom layers without a configuration, are such others, and
    those that know what is in no configuration.
    """

    def __init__(self) -> None:
        super().__init__()
        self._others = _IndependentCopier()
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
    return any(hasattr(inner, "save_assets") for inner in layer._flatten_layers())


def rebuilt(model: keras.Model) -> keras.Model:
    """A model of the same structure and with the same weights that shares nothing with another.

    Args:
        model: A Keras model, whose layers need not have a configuration.
    """
    copy = _Rebuilder().layer(model)
    if not is_container(model):
        vars(copy).update(_compile_config=None, compiled=False, optimizer=None)
        return copy
    if len(copy.weights) != len(model.weights):
        # Layers whose configuration brings a layer along that another one has, too.
        copy = _IndependentCopier().layer(model)
    take_weights(copy, model)
    return copy


def take_weights(copy: keras.Model, model: keras.Model) -> None:
    """Gives a copy the weights of a model, and what its layers have made of these."""
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        # Preprocessing layers such as `Normalization` compute with constants made of weights.
        if layer.built and callable(finalize := getattr(layer, "finalize_state", None)):
            finalize()

"""Layers without the softmax that they end in."""

from __future__ import annotations

from typing import Any

import keras

from vis.utils.model import LayerOutput


def has_softmax(target: Any) -> bool:
    """Whether a layer, or the layer that an output belongs to, ends in a softmax."""
    layer = LayerOutput.of(target).layer
    if isinstance(layer, keras.layers.Softmax):
        return True
    return getattr(layer, "activation", None) is keras.activations.softmax


class _Passing(keras.layers.Layer):
    """Takes what a `Softmax` is called with, and lets it pass."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs


def without_softmax(layer: Any) -> Any:
    """A stand-in for a layer that has its variables and a linear activation."""
    if isinstance(layer, keras.layers.Softmax):
        return _Passing()
    stand_in = object.__new__(type(layer))
    vars(stand_in).update(vars(layer), activation=keras.activations.linear)
    return stand_in

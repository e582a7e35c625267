"""Finds layers, those included that run where no graph shows them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from vis.backend import captures, roots
from vis.backend.folding import Folder
from vis.backend.network import Network
from vis.backend.weights import Inline
from vis.utils.model import LayerOutput, resolve_layer


def find_layer(
    model: keras.Model, layer_idx: Any, name: str = "layer_idx"
) -> keras.Layer | LayerOutput:
    """The layer of a model that an index, a name or a path stands for.

    Args:
        model: A Keras model: Functional, Sequential, or a subclassed one that has been built.
        layer_idx: Index in `model.layers`, negative from the end; a layer's name, or a path such
            as `"outer/inner"` into nested models, wrappers and custom layers; a layer; or a
            `LayerOutput`, which says which of several calls or outputs of a layer is meant.
        name: The argument's name, for messages.

    Returns:
        The layer, or the `LayerOutput`.

    Raises:
        TypeError: If `layer_idx` is none of these.
        ValueError: If the model has no such layer.

    Example:
        >>> base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="inner")])
        >>> base.name = "base"
        >>> model = keras.Sequential([keras.Input((4,)), base, keras.layers.Dense(2)])
        >>> find_layer(model, "base/inner").name
        'inner'
    """
    target = resolve_layer(model, layer_idx, name)
    layer = LayerOutput.of(target).layer
    network = Network(roots.inputs_of(model))
    if not network.in_graph(layer) and captures.rank_of(layer) is None:
        _survey(network)
    return target


def look_inside(model: keras.Model) -> None:
    """Finds out what runs inside the custom layers of a model, and in which order."""
    network = Network(roots.inputs_of(model))
    inside = [
        inner
        for operation in network.opaque()
        if not type(operation).__module__.startswith("keras.")
        for inner in operation._flatten_layers(include_self=False)
    ]
    if inside and all(captures.rank_of(inner) is None for inner in inside):
        _survey(network)


def _survey(network: Network) -> None:
    """Runs a network once, symbolically, for the shapes of what is inside its layers."""
    layers = [
        inner
        for operation in network.opaque()
        for inner in operation._flatten_layers(include_self=False)
    ]

    @tf.function(autograph=False)
    def run(*feeds: Any) -> None:
        with captures.recorded(layers) as records:
            network.run_opaque(feeds, Folder(Inline()))
        captures.remember(layers, records)

    run.get_concrete_function(*(tf.TensorSpec(t.shape, t.dtype) for t in network.inputs))

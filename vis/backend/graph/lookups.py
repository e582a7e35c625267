"""Public functions that find the inputs and layers of a model."""

from typing import Any

import keras

from vis.backend.graph.graph import Graph, Inputs
from vis.backend.graph.layer_paths import Target


def inputs_of(model: keras.Model, images: Any = None) -> Inputs:
    """The symbolic inputs of a model, or placeholders for them if the model has no graph.

    Args:
        model: Any Keras model that has been built.
        images: Images or other inputs of the shape to use, for a subclassed model that accepts
            several shapes; by default that of the first call.

    Returns:
        A list of symbolic tensors. Losses on it are computed in this model, even if other models
        share the inputs.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the shape of the input is not known yet, or if the model has both a graph
            and a `call` of its own.
    """
    graph = Graph.of(model, images)
    return Inputs(graph.inputs, graph)


def find_layer(model: keras.Model, layer_idx: Any, name: str = "layer_idx") -> Target:
    """Finds a layer of a model by index, name or path.

    Args:
        model: Any Keras model that has been built.
        layer_idx: Index in `model.layers`, negative from the end; a layer's name, or a path of
            names or attributes, such as `"outer/inner"` or `"blocks/0/conv"`, into nested models,
            wrappers and custom layers; a layer; or a `LayerOutput` for one of several calls or
            outputs of a layer.
        name: The argument's name in error messages.

    Returns:
        The layer, or the `LayerOutput`.

    Raises:
        TypeError: If `layer_idx` has another type.
        ValueError: If the model has no such layer.

    Example:
        >>> base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="inner")])
        >>> base.name = "base"
        >>> model = keras.Sequential([keras.Input((4,)), base, keras.layers.Dense(2)])
        >>> find_layer(model, "base/inner").name
        'inner'
    """
    return Graph.of(model).find(layer_idx, name)

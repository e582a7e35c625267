"""Where gradients enter a model: its inputs, or what embeddings make of words."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from vis.backend.attribution import value_of
from vis.backend.cache import WeakCache
from vis.backend.channels_first import computed_channels_last
from vis.backend.network import nodes_of
from vis.utils.containers import is_container

_passages = WeakCache()


def entry_of(
    input_tensor: keras.KerasTensor, model: keras.Model | None = None
) -> keras.KerasTensor:
    """The input itself, or the first tensor behind it that a gradient flows into.

    Words and categories are looked up, which has no gradient. What a model's embedding makes of
    them has. Pixels have one in whatever type they come.

    Args:
        input_tensor: A model's symbolic input.
        model: The model, whose input may be that of others, too.

    Raises:
        ValueError: If there is no such tensor, or several.

    Example:
        >>> inputs = keras.Input((5,), dtype="int32")
        >>> embedded = keras.layers.Embedding(100, 8)(inputs)
        >>> entry_of(inputs) is embedded
        True
    """
    return _followed(input_tensor, model, takes_gradients)


def as_numbers(
    input_tensor: keras.KerasTensor, values: Any, model: keras.Model | None = None
) -> tuple[keras.KerasTensor, Any]:
    """An input and values for it; where it holds text, the numbers that the model makes of it.

    Args:
        input_tensor: A model's symbolic input.
        values: One value or a batch, or None, which stays None.
        model: The model, whose input may be that of others, too.

    Raises:
        ValueError: If text leads to no numbers, or to several.
    """
    if input_tensor.dtype != "string":
        return input_tensor, values
    numbers = _followed(input_tensor, model, lambda tensor, _: tensor.dtype != "string")
    if values is None:
        return numbers, None
    texts = np.asarray(values, object)
    texts = texts[None] if texts.ndim < len(input_tensor.shape) else texts
    return numbers, value_of(input_tensor, numbers, texts)


def takes_gradients(tensor: keras.KerasTensor, model: keras.Model | None = None) -> bool:
    """Whether a gradient flows into a tensor, through one of the operations that take it."""
    if tensor.dtype in ("string", "bool"):
        return False
    nodes = _readers(tensor, model)
    return not nodes or any(_passes(node, tensor) for node in nodes)


def _followed(
    input_tensor: keras.KerasTensor, model: keras.Model | None, arrived: Callable
) -> keras.KerasTensor:
    tensor = input_tensor
    while not arrived(tensor, model):
        nodes = _readers(tensor, model)
        if len(nodes) != 1 or len(nodes[0].outputs) != 1:
            raise ValueError(
                f"The input '{input_tensor.name}' of type {input_tensor.dtype} must lead to one "
                "embedding, as no gradient flows into what is looked up. "
                f"Received: an input that {len(nodes)} layers take"
            )
        (node,) = nodes
        if is_container(node.operation):
            # What is looked up inside a nested model has its entry there.
            model = node.operation
            tensor = model.inputs[_position(node, tensor)]
        else:
            tensor = node.outputs[0]
    return tensor


def _readers(tensor: keras.KerasTensor, model: keras.Model | None) -> list[Any]:
    """The nodes that a tensor goes into, but for those that make masks of it."""
    known = model is not None and is_container(model)
    nodes = nodes_of(model) if known else tensor._keras_history.operation._outbound_nodes
    return [
        node
        for node in nodes
        if any(t is tensor for t in node.input_tensors) and node.outputs[0].dtype != "bool"
    ]


def _position(node: Any, tensor: keras.KerasTensor) -> int:
    return next(i for i, t in enumerate(node.input_tensors) if t is tensor)


def _passes(node: Any, tensor: keras.KerasTensor) -> bool:
    """Whether gradients flow through one call of an operation to one of its arguments."""
    operation, position = node.operation, _position(node, tensor)
    if is_container(operation):
        return takes_gradients(operation.inputs[position], operation)
    call = next(i for i, n in enumerate(operation._inbound_nodes) if n is node)
    reference = weakref.ref(operation)
    return _passages.get(operation, (call, position), lambda: _traced(reference(), call, position))


def _traced(operation: Any, call: int, position: int) -> bool:
    node = operation._inbound_nodes[call]
    looked_at = node.input_tensors[position]
    is_float = keras.backend.is_float_dtype(looked_at.dtype)
    # A tensor may be several arguments at once.
    tensors = {id(tensor): tensor for tensor in node.input_tensors}

    @tf.function(autograph=False)
    def passes(values: dict[int, Any]) -> Any:
        args, kwargs = node.arguments.fill_in(values)
        if "training" in inspect.signature(operation.call).parameters:
            kwargs = {**kwargs, "training": False}
        outputs = tree.flatten(operation(*args, **kwargs))
        grads = tf.gradients([o for o in outputs if o.dtype.is_floating], values[id(looked_at)])
        return tf.constant(grads[0] is not None)

    specs = {
        key: tf.TensorSpec(t.shape, "float32" if t is looked_at and not is_float else t.dtype)
        for key, t in tensors.items()
    }
    try:
        with computed_channels_last():
            concrete = passes.get_concrete_function(specs)
    except Exception:
        # What takes floats and fails will say so when it is run; what does not, looks things up.
        return is_float
    return bool(tf.get_static_value(concrete.outputs[0]))

"""Where gradients enter a model: its inputs, or what embeddings make of words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from vis.backend.attribution import value_of
from vis.backend.cache import WeakCache
from vis.backend.channels_first import computed_channels_last
from vis.backend.network import Network, losses_kept
from vis.backend.roots import call_root, inputs_of
from vis.utils.containers import is_container

_passages = WeakCache()


def entry_of(input_tensor: keras.KerasTensor, network: Network) -> keras.KerasTensor:
    """The input itself, or the first tensor behind it that a gradient flows into.

    Words and categories are looked up, which has no gradient. What a model's embedding makes of
    them has. Pixels have one in whatever type they come.

    Args:
        input_tensor: One of the network's inputs, or the numbers that it makes of text.
        network: The network.

    Raises:
        ValueError: If there is no such tensor, or several.

    Example:
        >>> inputs = keras.Input((5,), dtype="int32")
        >>> embedded = keras.layers.Embedding(100, 8)(inputs)
        >>> entry_of(inputs, Network([inputs])) is embedded
        True
    """
    known: dict[tuple[int, int], bool] = {}
    return _followed(input_tensor, network, lambda *place: _flows_into(*place, network, known))


def as_numbers(
    name: str, input_tensor: keras.KerasTensor, values: Any, network: Network
) -> tuple[keras.KerasTensor, Any]:
    """An input and values for it; where it holds text, the numbers that the model makes of it.

    Args:
        name: The name of the argument that gives the values.
        input_tensor: One of the network's inputs.
        values: One value or a batch, or None, which stays None.
        network: The network.

    Raises:
        TypeError: If the values of an input of text are no text.
        ValueError: If they are of another shape, or if text leads to no numbers, or to several.
    """
    if input_tensor.dtype != "string":
        return input_tensor, values
    numbers = _followed(input_tensor, network, lambda tensor, _: tensor.dtype != "string")
    inside = network.level_of(numbers)
    if inside is not None:
        raise ValueError(
            f"The nested model '{inside.name}' must not take text, unless all that it does is to "
            "make numbers of it. Look at that model itself, or call its layers one by one. "
            f"Received: a model with the input '{input_tensor.name}' of text"
        )
    if values is None:
        return numbers, None
    texts = _checked_texts(name, values, input_tensor.shape)
    return numbers, embedded(input_tensor, numbers, texts, network)


def embedded(
    input_tensor: keras.KerasTensor, entry: keras.KerasTensor, values: Any, network: Network
) -> Any:
    """What a model makes of the values of an input.

    Args:
        input_tensor: One of the network's inputs, or the numbers that it makes of text.
        entry: The tensor behind it.
        values: `(samples, ...)`.
        network: The network.
    """
    return value_of(network.inputs.beginning_with(input_tensor), entry, values)


def _checked_texts(name: str, values: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    texts = np.asarray(values, object)
    if not all(isinstance(text, (str, bytes)) for text in texts.flat):
        raise TypeError(f"`{name}` must hold text for an input of text. Received: {values!r}")
    if not texts.ndim:
        texts = texts.reshape((1,) * len(shape))
    for arranged in (texts, texts[None], texts[..., None]):
        if arranged.ndim == len(shape) and all(
            wanted in (None, size) for size, wanted in zip(arranged.shape, shape, strict=True)
        ):
            return arranged
    raise ValueError(
        f"`{name}` must be text of shape {tuple(shape[1:])}, or {tuple(shape)} with the batch "
        f"axis. Received: text of shape {texts.shape}"
    )


def takes_gradients(tensor: keras.KerasTensor, network: Network) -> bool:
    """Whether a gradient flows into a tensor, from weights or from what a model returns."""
    return _flows_into(tensor, network.level_of(tensor), network, {})


def _flows_into(
    tensor: keras.KerasTensor,
    container: Any,
    network: Network,
    known: dict[tuple[int, int], bool],
) -> bool:
    """Whether one does into a tensor on the level of a nested model, or on the outermost, None."""
    if tensor.dtype in ("string", "bool"):
        return False
    key = id(tensor), id(container)
    if key not in known:
        nodes = _readers(tensor, container, network)
        if network.root is not None and not nodes:
            known[key] = _passes_root(tensor, network)
            return known[key]
        flows = (
            _passes(node, tensor, network, known) and _flows_out_of(node, container, network, known)
            for node in nodes
        )
        # Integers that are looked up are words, whatever else is done with them.
        every = any if keras.backend.is_float_dtype(tensor.dtype) else all
        known[key] = not nodes or every(flows)
    return known[key]


def _flows_out_of(node: Any, container: Any, network: Network, known: dict) -> bool:
    """Whether a gradient comes back to an operation that has none of its own to give."""
    if getattr(node.operation, "weights", None):
        return True
    return any(_flows_into(output, container, network, known) for output in node.outputs)


def _followed(
    input_tensor: keras.KerasTensor, network: Network, arrived: Callable
) -> keras.KerasTensor:
    tensor, container = input_tensor, network.level_of(input_tensor)
    while not arrived(tensor, container):
        nodes = _readers(tensor, container, network)
        if network.root is not None or any(_does_all(node, network) for node in nodes):
            raise ValueError(
                f"The input '{input_tensor.name}' must be looked up by a layer of a model's graph, "
                "as no gradient flows into words or categories, but into what is made of them. "
                "Build the model by `keras.Model(inputs, outputs)` of its layers, or give the "
                "input a value in `fixed_inputs`. Received: a model that looks it up inside the "
                "`call` of its own or of its last layer"
            )
        if len(nodes) != 1 or len(nodes[0].outputs) != 1 or not _is_alone(nodes[0], tensor):
            raise ValueError(
                f"The input '{input_tensor.name}' of type {input_tensor.dtype} must lead to one "
                "embedding, as no gradient flows into what is looked up; `fixed_inputs` gives "
                f"inputs such as masks a value. Received: an input that {len(nodes)} layers take"
            )
        (node,) = nodes
        if is_container(node.operation) and not _only_prepares(node.operation):
            # What is looked up inside a nested model has its entry there.
            container = node.operation
            tensor = container.inputs[_position(node, tensor)]
        else:
            tensor = node.outputs[0]
    return tensor


def _readers(tensor: keras.KerasTensor, container: Any, network: Network) -> list[Any]:
    """The nodes that take a tensor, but for those that make masks of it."""
    nodes = network.readers(tensor, container)
    return [node for node in nodes if node.outputs[0].dtype != "bool"]


def _is_alone(node: Any, tensor: keras.KerasTensor) -> bool:
    """Whether an operation makes something of a tensor alone, as one that looks up does."""
    return is_container(node.operation) or all(t is tensor for t in node.input_tensors)


def _only_prepares(model: keras.Model) -> bool:
    """Whether a nested model makes numbers of text, and nothing else of these."""
    texts = any(tensor.dtype == "string" for tensor in model.inputs)
    return texts and not any(
        isinstance(layer, keras.layers.Embedding) or layer.trainable_weights
        for layer in model._flatten_layers(include_self=False)
    )


def _does_all(node: Any, network: Network) -> bool:
    """Whether a layer that holds others makes the output of the whole model."""
    outputs = getattr(network.inputs.model, "outputs", None) or []
    makes_output = any(made is output for made in node.outputs for output in outputs)
    return makes_output and any(node.operation is layer for layer in network.opaque())


def _position(node: Any, tensor: keras.KerasTensor) -> int:
    return next(i for i, t in enumerate(node.input_tensors) if t is tensor)


def _passes(node: Any, tensor: keras.KerasTensor, network: Network, known: dict) -> bool:
    """Whether gradients flow through one call of an operation to one of its arguments."""
    operation, position = node.operation, _position(node, tensor)
    if is_container(operation):
        return _flows_into(operation.inputs[position], operation, network, known)
    call = next(i for i, n in enumerate(operation._inbound_nodes) if n is node)

    def run(values: dict[int, Any]) -> Any:
        args, kwargs = node.arguments.fill_in(values)
        if "training" in inspect.signature(operation.call).parameters:
            kwargs = {**kwargs, "training": False}
        return operation(*args, **kwargs)

    return _passages.get(
        operation,
        (call, position),
        lambda: _traced(operation, node.input_tensors, position, run),
    )


def _passes_root(tensor: keras.KerasTensor, network: Network) -> bool:
    """Whether gradients flow back to an input of a model without a graph."""
    inputs = inputs_of(network.root)
    position = next(i for i, t in enumerate(inputs) if t is tensor)

    def run(values: dict[int, Any]) -> Any:
        return call_root(network.root, values)

    return _passages.get(
        network.root, position, lambda: _traced(network.root, inputs, position, run)
    )


def _traced(
    operation: Any, inputs: Sequence[keras.KerasTensor], position: int, run: Callable
) -> bool:
    """Whether gradients flow through an operation to one of its inputs."""
    looked_at = inputs[position]
    is_float = keras.backend.is_float_dtype(looked_at.dtype)

    @tf.function(autograph=False)
    def passes(values: dict[int, Any]) -> Any:
        outputs = [o for o in tree.flatten(run(values)) if o.dtype.is_floating]
        grads = tf.gradients(outputs, values[id(looked_at)])
        return tf.constant(grads[0] is not None)

    # A tensor may be several arguments at once.
    specs = {
        id(t): tf.TensorSpec(t.shape, "float32" if t is looked_at and not is_float else t.dtype)
        for t in inputs
    }
    try:
        with computed_channels_last(), losses_kept([operation]):
            concrete = passes.get_concrete_function(specs)
    except Exception:
        # What takes floats and fails will say so when it is run; what does not, looks things up.
        return is_float
    return bool(tf.get_static_value(concrete.outputs[0]))

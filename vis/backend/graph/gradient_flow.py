"""Where gradients enter a model: its inputs, or what embeddings make of words."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras import tree

from vis.backend.cache import WeakCache
from vis.backend.graph.inputs import call_subclassed_model
from vis.backend.graph.nodes import call_of, is_container, position_of
from vis.backend.layers import computed_channels_last, in_inference, layer_losses_restored
from vis.backend.private import layers_inside

if TYPE_CHECKING:
    from vis.backend.graph.graph import Graph

# Whether gradients flow through the calls of operations to their inputs, each tried once.
_passages = WeakCache()


class GradientFlow:
    """Which tensors of a graph gradients flow into, found out layer by layer."""

    def __init__(self, graph: "Graph") -> None:
        self._graph = graph
        self._known: dict[tuple[int, int], bool] = {}

    def has_gradient(self, tensor: keras.KerasTensor) -> bool:
        """Whether a gradient flows into a tensor, from weights or from what a model returns."""
        return self._flows_into(tensor, self._graph.level_of(tensor))

    def entry_of(self, input_tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The input itself, or the first tensor behind it that a gradient flows into.

        Words and categories are looked up, which has no gradient. What a model's embedding makes
        of them has. Pixels have one in whatever type they come. The input may also be the numbers
        that are made of one of text. A `ValueError` says that there is no such tensor, or several.
        """
        return self._followed(input_tensor, self._flows_into)

    def has_entry(self, input_tensor: keras.KerasTensor) -> bool:
        """Whether there is such a tensor."""
        try:
            self.entry_of(input_tensor)
        except ValueError:
            return False
        return True

    def encoded(self, input_tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The numbers that a model makes of an input of text; any other input itself."""
        numbers = self._followed(input_tensor, lambda tensor, _: tensor.dtype != "string")
        inside = self._graph.level_of(numbers)
        if numbers is not input_tensor and inside is not None:
            raise ValueError(
                f"The nested model '{inside.name}' must not take text, unless all that it does is "
                "to make numbers of it. Look at that model itself, or call its layers one by one. "
                f"Received: a model with the input '{input_tensor.name}' of text"
            )
        return numbers

    def after_masking(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """What a `Masking` layer makes of a tensor, where such a layer is all that takes it."""
        nodes = self._graph.consumers(tensor, self._graph.level_of(tensor))
        only_masks = len(nodes) == 1 and isinstance(nodes[0].operation, keras.layers.Masking)
        return nodes[0].outputs[0] if only_masks else tensor

    def _flows_into(self, tensor: keras.KerasTensor, level: Any) -> bool:
        """Whether one does into a tensor on the level of a nested model, or on the outermost."""
        if tensor.dtype in ("string", "bool"):
            return False
        key = id(tensor), id(level)
        if key not in self._known:
            nodes = self._graph.consumers(tensor, level)
            flows = (self._passes(n, tensor) and self._flows_out_of(n, level) for n in nodes)
            # Integers that are looked up are words, whatever else is done with them.
            every = any if keras.backend.is_float_dtype(tensor.dtype) else all
            self._known[key] = every(flows) if nodes else self._passes_root(tensor)
        return self._known[key]

    def _flows_out_of(self, node: Any, level: Any) -> bool:
        """Whether a gradient comes back to an operation that has none of its own to give."""
        if getattr(node.operation, "weights", None):
            return True
        return any(self._flows_into(output, level) for output in node.outputs)

    def _followed(self, input_tensor: keras.KerasTensor, arrived: Callable) -> keras.KerasTensor:
        tensor, level = input_tensor, self._graph.level_of(input_tensor)
        while not arrived(tensor, level):
            nodes = self._graph.consumers(tensor, level)
            # A layer that holds others may make the output of the whole model.
            made = {id(t) for n in nodes if n.operation in self._graph.opaque for t in n.outputs}
            if self._graph.subclassed_model is not None or not made.isdisjoint(
                map(id, self._graph.outputs)
            ):
                raise ValueError(
                    f"The input '{input_tensor.name}' must be looked up by a layer of a model's "
                    "graph, as no gradient flows into words or categories, but into what is made "
                    "of them. Build the model by `keras.Model(inputs, outputs)` of its layers, or "
                    "give the input a value in `fixed_inputs`. Received: a model that looks it up "
                    "inside the `call` of its own or of its last layer"
                )
            if len(nodes) != 1 or not _is_alone(nodes[0], tensor):
                raise ValueError(
                    f"The input '{input_tensor.name}' of type {input_tensor.dtype} must lead to "
                    "one embedding, as no gradient flows into what is looked up; `fixed_inputs` "
                    "gives inputs such as masks a value. "
                    f"Received: an input that {len(nodes)} layers take"
                )
            (node,) = nodes
            if is_container(node.operation) and not _only_prepares(node.operation):
                # What is looked up inside a nested model has its entry there.
                level = node.operation
                tensor = level.inputs[position_of(tensor, node.input_tensors)]
            else:
                tensor = node.outputs[0]
        return tensor

    def _passes(self, node: Any, tensor: keras.KerasTensor) -> bool:
        """Whether gradients flow through one call of an operation to one of its arguments."""
        operation, inputs = node.operation, node.input_tensors
        position = position_of(tensor, inputs)
        if is_container(operation):
            return self._flows_into(operation.inputs[position], operation)

        def run(values: dict[int, Any]) -> Any:
            return in_inference(operation, *node.arguments.fill_in(values))

        key = call_of(node), position
        return _passages.get(operation, key, lambda: _traced(operation, inputs, tensor, run))

    def _passes_root(self, tensor: keras.KerasTensor) -> bool:
        """Whether gradients flow to what no node takes: an output, or an input without a graph."""
        root, inputs = self._graph.subclassed_model, self._graph.inputs
        if root is None:
            return True
        key = None, position_of(tensor, inputs)
        run = functools.partial(call_subclassed_model, root)
        return _passages.get(root, key, lambda: _traced(root, inputs, tensor, run))


def _is_alone(node: Any, tensor: keras.KerasTensor) -> bool:
    """Whether an operation makes one thing of a tensor alone, as one that looks up does."""
    if is_container(node.operation):
        return len(node.outputs) == 1 or not _only_prepares(node.operation)
    return len(node.outputs) == 1 and all(t is tensor for t in node.input_tensors)


def _only_prepares(model: keras.Model) -> bool:
    """Whether a nested model makes numbers of text, and nothing else of these."""
    texts = any(tensor.dtype == "string" for tensor in model.inputs)
    return texts and not any(
        isinstance(layer, keras.layers.Embedding) or layer.trainable_weights
        for layer in layers_inside(model)
    )


def _traced(
    operation: Any, inputs: Sequence[keras.KerasTensor], looked_at: keras.KerasTensor, run: Callable
) -> bool:
    is_float = keras.backend.is_float_dtype(looked_at.dtype)

    @tf.function(autograph=False)
    def passes(values: dict[int, Any]) -> Any:
        outputs = [o for o in tree.flatten(run(values)) if o is not None and o.dtype.is_floating]
        grads = tf.gradients(outputs, values[id(looked_at)])
        return tf.constant(grads[0] is not None)

    # A tensor may be several arguments at once.
    specs = {
        id(t): tf.TensorSpec(t.shape, "float32" if t is looked_at and not is_float else t.dtype)
        for t in inputs
    }
    try:
        with computed_channels_last(), layer_losses_restored([operation]):
            concrete = passes.get_concrete_function(specs)
    except Exception:
        # What takes floats and fails will say so when it is run; what does not, looks things up.
        return is_float
    return bool(tf.get_static_value(concrete.outputs[0]))

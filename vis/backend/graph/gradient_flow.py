"""Gradient flow: which tensors of a graph have a gradient, and the entries of gradients.

The entry is an input, or the output of its embedding, because a look-up has no gradient.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from vis.backend.cache import WeakCache
from vis.backend.graph.axes import spatial_axes
from vis.backend.graph.geometry_rules import KERNELS, POOLINGS, TRANSPOSED_KERNELS
from vis.backend.graph.inputs import call_subclassed_model
from vis.backend.graph.nodes import is_container, node_index_of, position_of
from vis.backend.graph.structure import GraphStructure
from vis.backend.layers import call_in_inference, channels_last_convolutions, restore_layer_losses
from vis.backend.private import layers_inside, operation_of

# Whether calls of operations are differentiable by one of their inputs; each is traced once.
_differentiable = WeakCache()
# Layers that need no trace, unless their activation is a function of the user.
_DIFFERENTIABLE = {*KERNELS, *POOLINGS, *TRANSPOSED_KERNELS, keras.layers.Dense}


class GradientFlow:
    """The gradient flow of a graph, found by differentiating each layer by itself."""

    def __init__(self, graph: GraphStructure) -> None:
        self._graph = graph
        self._known: dict[tuple[int, int], bool] = {}

    def has_gradient(self, tensor: keras.KerasTensor) -> bool:
        """Whether a gradient of the outputs, or of any layer with weights, flows into a tensor."""
        return self._has_gradient(tensor, self._graph.level_of(tensor))

    def entry_of(self, input_tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The first tensor that a gradient flows into: the input, or the output of an embedding.

        Integer pixels have a gradient, because the graph runs on them as floats.
        """
        return self._follow(input_tensor, self._has_gradient)

    def explained_at(self, input_tensor: keras.KerasTensor) -> keras.KerasTensor:
        """Where an input is explained: at the output of an embedding, or where it is.

        Methods such as occlusion explain images through operations without a gradient.
        """
        is_image = input_tensor.dtype != "string" and bool(spatial_axes(input_tensor))
        if is_image and (self.has_gradient(input_tensor) or not self.has_entry(input_tensor)):
            return input_tensor
        entry = self.entry_of(input_tensor)
        is_embedded = isinstance(operation_of(entry), keras.layers.Embedding)
        return entry if is_embedded or not is_image else input_tensor

    def has_entry(self, input_tensor: keras.KerasTensor) -> bool:
        """Whether `entry_of` returns a tensor."""
        try:
            self.entry_of(input_tensor)
        except ValueError:
            return False
        return True

    def encoded(self, input_tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The numbers that an input of text is encoded as, or any other input itself."""
        encoded = self._follow(input_tensor, lambda tensor, _: tensor.dtype != "string")
        model = self._graph.level_of(encoded)
        if encoded is not input_tensor and model is not None:
            raise ValueError(
                f"The nested model '{model.name}' must not take text, unless it only encodes the "
                "text as numbers. Visualize the nested model itself, or call its layers one by "
                f"one. Received: a model with the input '{input_tensor.name}' of text"
            )
        return encoded

    def is_encoded(self, input_tensor: keras.KerasTensor) -> bool:
        """Whether one layer encodes an input of text as numbers for all others."""
        try:
            self.encoded(input_tensor)
        except ValueError:
            return False
        return True

    def after_masking(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The output of a `Masking` layer if it is the only consumer, or the tensor itself."""
        nodes = self._graph.consumers(tensor, self._graph.level_of(tensor))
        only_masks = len(nodes) == 1 and isinstance(nodes[0].operation, keras.layers.Masking)
        return nodes[0].outputs[0] if only_masks else tensor

    def _has_gradient(self, tensor: keras.KerasTensor, level: Any) -> bool:
        """Whether a gradient flows into a tensor on one level of the graph."""
        if tensor.dtype in ("string", "bool"):
            return False
        key = id(tensor), id(level)
        if key not in self._known:
            nodes = self._graph.consumers(tensor, level)
            flows = (
                self._is_differentiable(node, tensor) and self._passes_gradient(node, level)
                for node in nodes
            )
            # Integers are tokens, not pixels, if any layer looks them up.
            combine = any if keras.backend.is_float_dtype(tensor.dtype) else all
            self._known[key] = combine(flows) if nodes else self._ends_in_gradient(tensor)
        return self._known[key]

    def _passes_gradient(self, node: Any, level: Any) -> bool:
        """Whether a node has weights, or a gradient flows into one of its outputs."""
        if getattr(node.operation, "weights", None):
            return True
        return any(self._has_gradient(output, level) for output in node.outputs)

    def _is_differentiable(self, node: Any, tensor: keras.KerasTensor) -> bool:
        """Whether a node has a gradient by one of its inputs."""
        operation, inputs = node.operation, node.input_tensors
        position = position_of(tensor, inputs)
        if is_container(operation):
            return self._has_gradient(operation.inputs[position], operation)
        activation = getattr(operation, "activation", keras.activations.linear)
        is_of_keras = getattr(activation, "__module__", "").startswith("keras.")
        if type(operation) in _DIFFERENTIABLE and is_of_keras:
            return True

        def trace() -> bool:
            def run(values: dict[int, Any]) -> Any:
                return call_in_inference(operation, *node.arguments.fill_in(values))

            return _trace_gradient(operation, inputs, tensor, run)

        return _differentiable.get(operation, (node_index_of(node), position), trace)

    def _ends_in_gradient(self, tensor: keras.KerasTensor) -> bool:
        """Whether gradients flow into an output, or into an input of a subclassed model."""
        model, inputs = self._graph.subclassed_model, self._graph.inputs
        if model is None:
            return True
        key = None, position_of(tensor, inputs)
        run = functools.partial(call_subclassed_model, model)
        return _differentiable.get(model, key, lambda: _trace_gradient(model, inputs, tensor, run))

    def _follow(
        self, input_tensor: keras.KerasTensor, is_end: Callable[[keras.KerasTensor, Any], bool]
    ) -> keras.KerasTensor:
        """The first tensor downstream of an input that is the end, as `is_end(tensor, level)`."""
        tensor, level = input_tensor, self._graph.level_of(input_tensor)
        while not is_end(tensor, level):
            node = self._next_node(input_tensor, tensor, level)
            if is_container(node.operation) and not _only_encodes_text(node.operation):
                # The embedding is inside the nested model.
                level = node.operation
                tensor = level.inputs[position_of(tensor, node.input_tensors)]
            else:
                tensor = node.outputs[0]
        return tensor

    def _next_node(
        self, input_tensor: keras.KerasTensor, tensor: keras.KerasTensor, level: Any
    ) -> Any:
        """The only consumer of a tensor that is reached from an input."""
        nodes = self._graph.consumers(tensor, level)
        hidden = {
            id(t) for n in nodes if n.operation in self._graph.opaque_layers for t in n.outputs
        }
        ends_hidden = not hidden.isdisjoint(map(id, self._graph.outputs))
        if self._graph.subclassed_model is not None or ends_hidden:
            raise ValueError(
                f"The input '{input_tensor.name}' must be looked up by a layer of the model's "
                "graph, because gradients flow into embeddings, not into words or categories. "
                "Build the model with `keras.Model(inputs, outputs)`, or give the input a value "
                "in `fixed_inputs`. Received: a model that looks it up in the `call` of the model "
                "or of its last layer"
            )
        if len(nodes) != 1 or not _has_one_input(nodes[0], tensor):
            raise ValueError(
                f"The input '{input_tensor.name}' of dtype {input_tensor.dtype} must lead to one "
                "embedding, because gradients flow into embeddings only; `fixed_inputs` gives "
                "inputs such as masks a value. "
                f"Received: an input that {len(nodes)} layers take"
            )
        return nodes[0]


def _has_one_input(node: Any, tensor: keras.KerasTensor) -> bool:
    """Whether a node computes one output from one tensor, as an embedding does."""
    if is_container(node.operation):
        return len(node.outputs) == 1 or not _only_encodes_text(node.operation)
    return len(node.outputs) == 1 and all(t is tensor for t in node.input_tensors)


def _only_encodes_text(model: keras.Model) -> bool:
    """Whether a nested model encodes text as numbers and has no embedding or weights to train."""
    takes_text = any(tensor.dtype == "string" for tensor in model.inputs)
    return takes_text and not any(
        isinstance(layer, keras.layers.Embedding) or layer.trainable_weights
        for layer in layers_inside(model)
    )


def _trace_gradient(
    operation: Any, inputs: Sequence[keras.KerasTensor], wrt: keras.KerasTensor, run: Callable
) -> bool:
    """Whether the outputs of `run`, for values of `inputs` by `id`, have a gradient by `wrt`."""
    is_float = keras.backend.is_float_dtype(wrt.dtype)

    @tf.function(autograph=False)
    def has_gradient(values: dict[int, Any]) -> Any:
        outputs = [o for o in tree.flatten(run(values)) if o is not None and o.dtype.is_floating]
        grads = tf.gradients(outputs, values[id(wrt)])
        return tf.constant(grads[0] is not None)

    # By `id`, because a tensor may be several arguments at once.
    specs = {
        id(t): tf.TensorSpec(t.shape, "float32" if t is wrt and not is_float else t.dtype)
        for t in inputs
    }
    try:
        with channels_last_convolutions(), restore_layer_losses([operation]):
            concrete = has_gradient.get_concrete_function(specs)
    except LookupError:
        # TensorFlow has no gradient of an operation; pixels are resized, for example. The run
        # raises an error that names it.
        return is_float or bool(spatial_axes(wrt))
    except Exception:
        # Layers of integers raise an error for floats because they look up their input. Any other
        # error is raised again in the run.
        return is_float
    return bool(tf.get_static_value(concrete.outputs[0]))

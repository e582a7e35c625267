"""A model, understood once: its inputs, its levels, its layers, and what lies before what."""

import functools
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from vis.backend.graph import hidden_layers
from vis.backend.graph.gradient_flow import GradientFlow
from vis.backend.graph.inputs import (
    input_names,
    own_inputs,
    own_outputs,
    structure_of,
    subclassed_model_of,
)
from vis.backend.graph.layer_paths import LayerOutput, Target, check_output, resolve_layer
from vis.backend.graph.nodes import call_of, downstream, is_container, nodes_of, ordered
from vis.backend.graph.run import Run
from vis.backend.graph.skip_erosion import Erosion
from vis.backend.graph.tensor_refs import TensorRef
from vis.backend.layers import LayerRunner, TracedWeights
from vis.backend.private import layers_inside, node_of, operation_of, with_layers_inside
from vis.utils.validation import check_model, expect, require

_remembered: weakref.WeakKeyDictionary[keras.Model, tuple] = weakref.WeakKeyDictionary()


class Inputs(list):
    """Input tensors that know their graph, as those of a model may be another's, too."""

    def __init__(self, tensors: Iterable[keras.KerasTensor], graph: "Graph") -> None:
        super().__init__(tensors)
        self.graph = graph


class Graph:
    """The graph of a model, or all that hangs from some input tensors.

    Layers of models nested in it are part of it: what runs it walks through the nested models, so
    that their inner tensors exist and gradients flow through them. A node may be on several levels,
    as a model may be built on the input of the one that it is nested in.

    `structure` is the inputs, a tensor or a list or dict of several; without a model everything
    counts that hangs from them. `root` is the model where it has no graph and is run as a whole.
    """

    def __init__(self, structure: Any, model: keras.Model | None = None) -> None:
        self.input_structure = structure
        self.inputs = own_inputs(model) or tree.flatten(structure)
        self.outputs = own_outputs(model)
        self.model = model
        self.subclassed_model = subclassed_model_of(self.inputs[0])
        # The nodes of each nested model, and of the outermost level, which is None.
        self._levels: dict[Any, dict[Any, None]] = {}
        # Where each node is found first, and by its `id` the first call of each operation.
        self._level: dict[Any, Any] = {}
        self._first_node: dict[int, Any] = {}
        if model is not None and is_container(model):
            self._add(None, [*map(node_of, model.inputs), *nodes_of(model)])
            return
        # An input inside a nested model is found in it; by itself the graph begins there. What it
        # is made of comes after it.
        outermost = [t for t in self.inputs if isinstance(operation_of(t), keras.layers.InputLayer)]
        for tensors in (outermost, *([tensor] for tensor in reversed(self.inputs))):
            if any(node_of(tensor) not in self._level for tensor in tensors):
                self._add(None, downstream(tensors))

    @classmethod
    def of(cls, model: keras.Model) -> "Graph":
        """The graph of a model, the same for all who ask while somebody has it."""
        check_model(model)
        structure = structure_of(model)
        # A Sequential model may have grown.
        ends = [id(tensor) for tensor in (*own_inputs(model), *own_outputs(model))]
        reference, known = _remembered.get(model, (None, None))
        graph = reference() if known == ends else None
        if graph is None:
            graph = cls(structure, model)
            _remembered[model] = weakref.ref(graph), ends
        return graph

    @classmethod
    def of_inputs(cls, input_tensor: Any) -> "Graph":
        """The graph that some input tensors know, or all that hangs from them."""
        if isinstance(input_tensor, Inputs):
            return input_tensor.graph
        tensors = tree.flatten(input_tensor)
        are_inputs = tensors and all(isinstance(tensor, keras.KerasTensor) for tensor in tensors)
        expected = "be the input of a model, `model.input`, or a list or dict of several"
        require(are_inputs, "input_tensor", expected, input_tensor, TypeError)
        are_distinct = len({id(tensor) for tensor in tensors}) == len(tensors)
        require(are_distinct, "input_tensor", "not hold an input twice", input_tensor)
        return cls(input_tensor)

    def _add(self, model: Any, nodes: Iterable[Any]) -> None:
        """Adds nodes to a level, and the models that they are calls of."""
        added = [(model, nodes)]
        for model, nodes in added:
            level = self._levels.setdefault(model, {})
            level.update(dict.fromkeys(nodes))
            first = {id(n.operation): n for n in sorted(level, key=call_of, reverse=True)}
            for node in level:
                operation = node.operation
                self._level.setdefault(node, model)
                self._first_node.setdefault(id(operation), first[id(operation)])
                if is_container(operation) and operation not in self._levels:
                    self._levels[operation] = {}
                    added.append((operation, nodes_of(operation)))

    @functools.cached_property
    def gradient_flow(self) -> GradientFlow:
        """Where gradients enter it."""
        # So that the graph goes when nobody has it any more, and not when circles are looked for.
        return GradientFlow(weakref.proxy(self))

    @functools.cached_property
    def names(self) -> list[tuple[str, ...]]:
        """The names that each input goes by."""
        return input_names(self.input_structure, self.inputs)

    @property
    def owner(self) -> Any:
        """What caches are kept for: the model, or its first input."""
        return operation_of(self.inputs[0]) if self.model is None else self.model

    @functools.cached_property
    def operations(self) -> list[Any]:
        """All operations, those of nested models included."""
        roots = [] if self.subclassed_model is None else [self.subclassed_model]
        return roots + [node.operation for node in self._first_node.values()]

    @functools.cached_property
    def opaque(self) -> list[Any]:
        """The layers that hold others, and that the graph does not look into."""
        return [layer for layer in self._run_as_a_whole() if layers_inside(layer)]

    def activations(self) -> tuple[Any, ...]:
        """Weak references to the activation functions in use, so that a change can be noticed."""
        return tuple(
            weakref.ref(activation)
            for outer in self._run_as_a_whole()
            for layer in with_layers_inside(outer)
            if (activation := getattr(layer, "activation", None))
        )

    def _run_as_a_whole(self) -> list[keras.Layer]:
        """The layers that are run by their `call`."""
        return [o for o in self.operations if isinstance(o, keras.Layer) and not is_container(o)]

    def find(self, layer_idx: Any, name: str = "layer_idx") -> Target:
        """The layer of the model that an index, a name or a path stands for."""
        target = resolve_layer(self.model, layer_idx, name)
        layer = LayerOutput.of(target).layer
        if not self.in_graph(layer) and not hidden_layers.is_known(layer):
            self._survey()
        return target

    def in_graph(self, operation: Any) -> bool:
        """Whether the graph itself has an operation, and does not only run it inside another."""
        return id(operation) in self._first_node

    def runner_of(self, layer: Any) -> Any:
        """The operation of the graph in whose `call` a layer runs: its own, or one around it."""
        if self.in_graph(layer):
            return layer
        return next((outer for outer in self.opaque if layer in layers_inside(outer)), None)

    def has(self, target: Target) -> bool:
        """Whether the graph has a layer, or runs it inside another."""
        return self.runner_of(LayerOutput.of(target).layer) is not None

    def check_has(self, name: str, target: Target) -> None:
        """Raises a `ValueError` that names an argument unless the inputs reach a layer."""
        inputs = ", ".join(f"'{tensor.name}'" for tensor in self.inputs)
        expected = f"be connected to the input {inputs}"
        expect(self.has(target), name, expected, f"layer '{target.name}'")

    def check_connected(self, tensor: keras.KerasTensor) -> None:
        """Raises a `ValueError` unless a tensor can be computed from the inputs."""
        given = {id(t) for t in self.inputs}
        nodes = ordered([tensor], given, lambda t: self.node_on_level(t, None))
        missing = [f"'{t.name}'" for node in nodes if node.is_input for t in node.outputs]
        if missing:
            raise ValueError(
                "`losses` and `wrt_tensor` must be computable from the input "
                f"{', '.join(repr(t.name) for t in self.inputs)} alone. "
                f"Received: {tensor}, which depends on {', '.join(missing)}"
            )

    def ref_of(self, target: Target) -> TensorRef:
        """Where the output of a layer is found: that of its first call, unless it says which."""
        layer, call, output = LayerOutput.of(target)
        for tensor in self.inputs:
            if operation_of(tensor) is layer:
                return TensorRef.of(tensor)
        if not self.in_graph(layer):
            outputs = hidden_layers.known_outputs(layer)
            check_output(layer, call, output, [len(o) for o in outputs])
            return TensorRef(weakref.ref(layer), call, output or 0, is_hidden=True)
        calls = self.calls(layer)
        check_output(layer, call, output, [len(node.outputs) for _, node in calls])
        path, node = calls[call]
        within = tuple((weakref.ref(n.operation), call_of(n)) for n in path) if call else ()
        return TensorRef(weakref.ref(layer), call_of(node), output or 0, within)

    def calls(self, operation: Any) -> list[tuple[tuple, Any]]:
        """All calls of an operation: the calls of nested models around it, and its node."""
        calls = []
        for model, nodes in self._levels.items():
            here = sorted((n for n in nodes if n.operation is operation), key=call_of)
            if here:
                around = [()] if model is None else [(*p, n) for p, n in self.calls(model)]
                calls += [(path, node) for path in around for node in here]
        return calls

    def level_of(self, tensor: keras.KerasTensor) -> Any:
        """The nested model in which a tensor is found first, or None for the outermost level."""
        return self._level.get(node_of(tensor))

    def consumers(self, tensor: keras.KerasTensor, level: Any) -> list[Any]:
        """The nodes that take a tensor on one level, but for those that make masks of it."""
        return [
            node
            for node in self._levels[level]
            if any(t is tensor for t in node.input_tensors) and node.outputs[0].dtype != "bool"
        ]

    def node_on_level(self, tensor: keras.KerasTensor, level: Any) -> Any:
        """The node of a level that makes a tensor, or calls the model in which it is made."""
        node, here = node_of(tensor), self._levels[level]
        while node not in here and (model := self._level.get(node)) is not None:
            node = self._first_node[id(model)]
        return node

    def layers(self) -> list[keras.Layer]:
        """The layers in order, in the place of nested models and custom layers those inside."""
        hidden = [
            inner
            for operation in self.opaque
            if not type(operation).__module__.startswith("keras.")
            or any(map(is_container, layers_inside(operation)))
            for inner in layers_inside(operation)
        ]
        if hidden and not any(map(hidden_layers.is_known, hidden)):
            self._survey()
        return list(_flattened(self.model))

    def upstream(self, layer: keras.Layer) -> set[int]:
        """`id` of all operations that a layer's output is computed with, itself included."""
        found: set[int] = set()
        runner = self.runner_of(layer)
        if runner is not layer:
            hidden_layers.known_outputs(layer)
            earlier = hidden_layers.in_order(runner)
            found.update(map(id, earlier[: 1 + earlier.index(layer)]))
            if runner is self.subclassed_model:
                return found
        around = [runner]
        while (model := self._level[self._first_node[id(around[-1])]]) is not None:
            around.append(model)
        stack = [self._first_node[id(operation)] for operation in around]
        while stack:
            node = stack.pop()
            operation = node.operation
            if id(operation) in found:
                continue
            found.add(id(operation))
            stack.extend(node.parent_nodes)
            if operation in around:
                continue
            if isinstance(operation, keras.Layer):
                found.update(map(id, hidden_layers.in_order(operation)))
            if is_container(operation):
                stack.extend(map(node_of, operation.outputs))
        return found

    def run(
        self,
        feeds: Sequence[tuple[keras.KerasTensor, Any]],
        targets: Sequence[TensorRef | keras.KerasTensor],
        runner: LayerRunner,
        without_softmax: Sequence[Any] = (),
        erosion: Erosion | None = None,
    ) -> list[Any]:
        """Values of places in this graph, in models nested in it and in layers, in inference mode.

        A target may also be an expression over tensors of the graph. `feeds` holds a value for each
        input, or for what is made of it. Layers among `without_softmax` are run without their softmax.
        """
        places = [t if isinstance(t, TensorRef) else TensorRef.of(t) for t in targets]
        layers = [place.operation() for place in places if place.is_hidden]
        owners = {id(o): o for o in map(self.runner_of, layers)}.values()
        linear = {id(layer) for layer in without_softmax}
        with hidden_layers.recorded(layers, owners, linear) as records:
            run = Run(self, feeds, runner, linear, erosion)
            found = iter(run.values([p for p in places if not p.is_hidden], owners))
            return [records.value(p) if p.is_hidden else next(found) for p in places]

    def _survey(self) -> None:
        """Runs the graph once, symbolically, for the shapes of what is inside its layers."""
        layers = [inner for operation in self.opaque for inner in layers_inside(operation)]

        @tf.function(autograph=False)
        def run(*feeds: Any) -> None:
            with hidden_layers.recorded(layers, self.opaque) as records:
                shown = list(zip(self.inputs, feeds, strict=True))
                Run(self, shown, LayerRunner(TracedWeights())).values([], self.opaque)
            hidden_layers.remember(records)

        run.get_concrete_function(*(tf.TensorSpec(t.shape, t.dtype) for t in self.inputs))


def _flattened(model: keras.Model) -> Iterator[keras.Layer]:
    has_graph = is_container(model)
    for layer in model.layers if has_graph else hidden_layers.in_order(model):
        if is_container(layer):
            yield from _flattened(layer)
        else:
            if has_graph:
                yield from hidden_layers.in_order(layer)
            yield layer


def inputs_of(model: keras.Model) -> Inputs:
    """The symbolic inputs of a model, or stand-ins for them where the model has no graph.

    Args:
        model: Any Keras model that has been built. Stand-ins live as long, and leave no trace on
            it.

    Returns:
        A list of tensors that knows its model, where several share an input.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the shape of its input is not known yet, or if it has a graph and computes
            something else.
    """
    graph = Graph.of(model)
    return Inputs(graph.inputs, graph)


def find_layer(model: keras.Model, layer_idx: Any, name: str = "layer_idx") -> Target:
    """The layer of a model that an index, a name or a path stands for.

    Args:
        model: Any Keras model that has been built.
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
    return Graph.of(model).find(layer_idx, name)

"""The structure of a graph: levels of nested models, the nodes of each, and their connections."""

import functools
import math
from collections.abc import Iterable
from typing import Any

import keras

from vis.backend.graph.inputs import own_outputs, subclassed_model_of
from vis.backend.graph.nodes import (
    downstream,
    execution_order,
    is_container,
    node_index_of,
    nodes_of,
)
from vis.backend.private import layers_inside, node_of, operation_of


class GraphStructure:
    """The nodes of a model, or all nodes downstream of some input tensors.

    Each nested model is a level of its own, and the outermost level is None. A node may be on
    several levels, because a model may be built on the input of the model that it is nested in.
    """

    def __init__(self, inputs: list[keras.KerasTensor], model: keras.Model | None) -> None:
        self.inputs = inputs
        self.outputs = own_outputs(model)
        self.model = model
        # The model if it has no graph, so that only its `call` can be run, or None.
        self.subclassed_model = subclassed_model_of(inputs[0])
        # The nodes of each level (the keys of a dict, in order), and the first level of each node.
        self._levels: dict[Any, dict[Any, None]] = {}
        self._level: dict[Any, Any] = {}
        self._ranks: dict[Any, dict[Any, int]] = {}
        # The first call of each operation, by the operation's `id`.
        self._first_node: dict[int, Any] = {}
        if model is not None and is_container(model):
            self._add(None, [*map(node_of, model.inputs), *nodes_of(model)])
        else:
            self._add_downstream()

    def _add_downstream(self) -> None:
        """Adds all nodes downstream of the inputs, of which some may be inside nested models."""
        outermost = [t for t in self.inputs if isinstance(operation_of(t), keras.layers.InputLayer)]
        for tensors in (outermost, *([tensor] for tensor in reversed(self.inputs))):
            if any(node_of(tensor) not in self._level for tensor in tensors):
                self._add(None, downstream(tensors))

    def _add(self, level: Any, nodes: Iterable[Any]) -> None:
        """Adds nodes to a level, and a level for each nested model that they call."""
        pending = [(level, nodes)]
        for level, nodes in pending:
            on_level = self._levels.setdefault(level, {})
            on_level.update(dict.fromkeys(nodes))
            first = {id(n.operation): n for n in sorted(on_level, key=node_index_of, reverse=True)}
            for node in on_level:
                operation = node.operation
                self._level.setdefault(node, level)
                self._first_node.setdefault(id(operation), first[id(operation)])
                if is_container(operation) and operation not in self._levels:
                    self._levels[operation] = {}
                    pending.append((operation, nodes_of(operation)))

    @functools.cached_property
    def operations(self) -> list[Any]:
        """All operations, including those of nested models."""
        subclassed = [] if self.subclassed_model is None else [self.subclassed_model]
        return subclassed + [node.operation for node in self._first_node.values()]

    def called_layers(self) -> list[keras.Layer]:
        """The layers that are run by their `call`: all but nested models with a graph."""
        return [o for o in self.operations if isinstance(o, keras.Layer) and not is_container(o)]

    @functools.cached_property
    def opaque_layers(self) -> list[Any]:
        """The layers that run other layers inside their `call`."""
        return [layer for layer in self.called_layers() if layers_inside(layer)]

    def in_graph(self, operation: Any) -> bool:
        """Whether an operation has a node in the graph; a hidden layer has none."""
        return id(operation) in self._first_node

    def enclosing_operation(self, layer: Any) -> Any:
        """The layer itself if it is in the graph, or the operation in whose `call` it runs."""
        if self.in_graph(layer) or layer is self.subclassed_model is not None:
            return layer
        return next((o for o in self.opaque_layers if layer in layers_inside(o)), None)

    def first_node(self, operation: Any) -> Any:
        """The node of the first call of an operation."""
        return self._first_node[id(operation)]

    def calls(self, operation: Any) -> list[tuple[tuple, Any]]:
        """All calls of an operation, in the order in which they run.

        Each has the nodes of the nested models around it, and its node.
        """
        calls = []
        for level, nodes in self._levels.items():
            own = [node for node in nodes if node.operation is operation]
            if own:
                paths = [()] if level is None else [(*p, n) for p, n in self.calls(level)]
                calls += [(path, node) for path in paths for node in own]
        return sorted(calls, key=self._time_of)

    def _time_of(self, call: tuple[tuple, Any]) -> list[float]:
        """A number for each level around a call, which are in the order of execution."""
        path, node = call
        levels = (None, *(outer.operation for outer in path))
        return [self.rank(n, level) for level, n in zip(levels, (*path, node), strict=True)]

    def rank(self, node: Any, level: Any) -> float:
        """The position of a node in the order in which a level runs; infinite if it is not there.

        The calls of an operation keep their order, whatever else is computed.
        """
        if level not in self._ranks:
            order = execution_order(
                self._levels[level], lambda tensor: self.node_on_level(tensor, level)
            )
            self._ranks[level] = {node: i for i, node in enumerate(order)}
        return self._ranks[level].get(node, math.inf)

    def level_of(self, tensor: keras.KerasTensor) -> Any:
        """The first level that has a tensor: a nested model, or None for the outermost level."""
        return self._level.get(node_of(tensor))

    def enclosing_models(self, operation: Any) -> list[Any]:
        """The nested models around the first call of an operation, innermost first."""
        models: list[Any] = []
        while (model := self._level[self.first_node(operation)]) is not None:
            models.append(model)
            operation = model
        return models

    def consumers(self, tensor: keras.KerasTensor, level: Any) -> list[Any]:
        """The nodes of a level that take a tensor, without those that compute masks."""
        return [
            node
            for node in self._levels[level]
            if any(t is tensor for t in node.input_tensors) and node.outputs[0].dtype != "bool"
        ]

    def node_on_level(self, tensor: keras.KerasTensor, level: Any) -> Any:
        """The node of a level that computes a tensor, or calls the nested model that does."""
        node, nodes = node_of(tensor), self._levels[level]
        while node not in nodes and (model := self._level.get(node)) is not None:
            node = self.first_node(model)
        return node

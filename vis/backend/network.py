"""Runs a Keras graph from its input tensors to any of its tensors, however deeply nested."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import keras
from keras import tree
from keras.src.models.functional import Functional

from vis.backend import channels_first, folding
from vis.backend.folding import Folder


class Handle(NamedTuple):
    """A weak handle on a symbolic tensor: compiled steps must not keep a model alive."""

    operation: weakref.ref
    node_index: int
    tensor_index: int

    @classmethod
    def of(cls, tensor: keras.KerasTensor) -> Handle:
        operation, node_index, tensor_index = tensor._keras_history
        return cls(weakref.ref(operation), node_index, tensor_index)

    @property
    def tensor(self) -> keras.KerasTensor:
        return self.operation()._inbound_nodes[self.node_index].outputs[self.tensor_index]


def _operation(tensor: keras.KerasTensor) -> Any:
    return tensor._keras_history.operation


def _node(tensor: keras.KerasTensor) -> Any:
    operation, node_index, _ = tensor._keras_history
    return operation._inbound_nodes[node_index]


def is_container(operation: Any) -> bool:
    """Whether an operation is a model whose own graph can be walked in place of its `call`."""
    if type(operation).call is Functional.call:
        return True
    # A Sequential model that was not built has no such attribute.
    is_sequential = type(operation).call is keras.Sequential.call
    return is_sequential and bool(getattr(operation, "inputs", None))


class Network:
    """The graph that hangs from some input tensors.

    Layers of models nested in it are part of it: running the graph walks through the nested
    models, so that their inner tensors exist and gradients flow through them, which
    `keras.Model(model.input, inner.output)` cannot do.

    Args:
        inputs: The input tensors, as in `model.inputs`.
        without_softmax: Layers that are run without their softmax.
    """

    def __init__(self, inputs: Sequence[keras.KerasTensor], without_softmax: Sequence[Any] = ()):
        self.inputs = list(inputs)
        self.without_softmax = {id(layer) for layer in without_softmax}
        self._first_node: dict[int, Any] = {}
        self._container: dict[int, Any] = {}
        self._discover()

    def _discover(self) -> None:
        # Layers may be part of other models too, whose nodes these inputs do not reach.
        reached = {id(tensor) for tensor in self.inputs}
        stack = [_operation(tensor) for tensor in self.inputs]
        containers = []
        seen = {id(operation) for operation in stack}
        walked = set()
        while stack:
            for node in stack.pop()._outbound_nodes:
                if id(node) in walked or reached.isdisjoint(map(id, node.input_tensors)):
                    continue
                walked.add(id(node))
                reached.update(map(id, node.outputs))
                operation = node.operation
                stack.append(operation)
                first = self._first_node.setdefault(id(operation), node)
                calls = operation._inbound_nodes
                if calls.index(node) < calls.index(first):
                    self._first_node[id(operation)] = node
                if id(operation) not in seen:
                    seen.add(id(operation))
                    if is_container(operation):
                        containers.append(operation)
        while containers:
            container = containers.pop()
            for node in _ordered(container.outputs, (), _node):
                operation = node.operation
                self._first_node.setdefault(id(operation), node)
                if id(operation) not in seen:
                    seen.add(id(operation))
                    self._container[id(operation)] = container
                    if is_container(operation):
                        containers.append(operation)

    def __contains__(self, operation: Any) -> bool:
        return id(operation) in self._first_node or any(
            operation is _operation(tensor) for tensor in self.inputs
        )

    def operations(self) -> list[Any]:
        """All operations, those of nested models included."""
        inputs = [_operation(tensor) for tensor in self.inputs]
        return inputs + [node.operation for node in self._first_node.values()]

    def activations(self) -> tuple[Any, ...]:
        """Weak references to the activation functions in use, so that a change can be noticed."""
        layers = [
            layer
            for operation in self.operations()
            if isinstance(operation, keras.Layer) and not is_container(operation)
            for layer in operation._flatten_layers()
        ]
        return tuple(weakref.ref(a) for a in (getattr(x, "activation", None) for x in layers) if a)

    def output_of(self, layer: Any) -> keras.KerasTensor:
        """The output of a layer's first call in this graph (a layer may serve several)."""
        for tensor in self.inputs:
            if _operation(tensor) is layer:
                return tensor
        outputs = self._first_node[id(layer)].outputs
        if len(outputs) != 1:
            raise ValueError(
                "`layer` must have one output to be looked at; pass one of its output tensors "
                f"instead. Received: layer '{layer.name}' with {len(outputs)} outputs"
            )
        return outputs[0]

    def check_connected(self, tensor: keras.KerasTensor) -> None:
        """Raises a `ValueError` unless `tensor` can be computed from this network's inputs."""
        given = {id(t) for t in self.inputs}
        if id(tensor) in given:
            return
        targets = [tensor]
        while (container := self._container.get(id(_operation(targets[0])))) is not None:
            targets = self._first_node[id(container)].outputs
        nodes = _ordered(targets, given, self._outermost_node)
        missing = [f"'{t.name}'" for node in nodes if node.is_input for t in node.outputs]
        if missing:
            raise ValueError(
                f"The tensor '{tensor.name}' must be computable from the input "
                f"{', '.join(repr(t.name) for t in self.inputs)} alone. "
                f"Received: {tensor}, which depends on {', '.join(missing)}"
            )

    def _outermost_node(self, tensor: keras.KerasTensor) -> Any:
        operation, node = _operation(tensor), _node(tensor)
        while (container := self._container.get(id(operation))) is not None:
            operation, node = container, self._first_node[id(container)]
        return node

    def run(
        self, feeds: Sequence[Any], targets: Sequence[keras.KerasTensor], folder: Folder
    ) -> list[Any]:
        """Values of `targets`, in inference mode, given the values of the inputs.

        Args:
            feeds: One backend tensor for each of the inputs.
            targets: Symbolic tensors of this graph, of models nested in it, or expressions over
                such tensors.
            folder: Runs layers together with the batch normalisation behind them.
        """
        values = {id(tensor): feed for tensor, feed in zip(self.inputs, feeds, strict=True)}
        with channels_first.computed_channels_last():
            _Run(self, values, folder).execute(targets, values, container=None)
        return [values[id(tensor)] for tensor in targets]


class _Run:
    """One run of a network, which remembers what is wanted from inside nested models."""

    def __init__(self, network: Network, values: dict, folder: Folder):
        self.network = network
        self.folder = folder
        self.outermost = values
        self.wanted_inside: dict[int, list[keras.KerasTensor]] = {}

    def execute(self, targets: Sequence, values: dict, container: Any) -> None:
        def node_of(tensor: keras.KerasTensor) -> Any:
            operation, node = _operation(tensor), _node(tensor)
            while (owner := self.network._container.get(id(operation))) is not container:
                if owner is None:
                    raise ValueError(
                        f"`{tensor.name}` is not connected to the network's inputs. "
                        f"Received: {tensor}"
                    )
                operation, node = owner, self.network._first_node[id(owner)]
                self.wanted_inside.setdefault(id(owner), []).append(tensor)
            return node

        nodes = _ordered(targets, values.keys(), node_of)
        looked_at = {id(t) for t in targets}
        folded = folding.plan(nodes, looked_at)
        skipped = {id(node) for node in folded.values()}
        for node in nodes:
            if node.is_input:
                names = ", ".join(f"'{t.name}'" for t in node.outputs)
                raise ValueError(f"The value of the input {names} is needed, and was not given.")
            if id(node) in skipped:
                continue
            if id(node) in folded:
                before = folded[id(node)]
                inputs = values[id(before.input_tensors[0])]
                outputs = self.folder(before.operation, node.operation, inputs)
            else:
                args, kwargs = node.arguments.fill_in(values)
                outputs = self.call(node.operation, args, kwargs)
            values.update(zip(map(id, node.outputs), tree.flatten(outputs), strict=True))

    def call(self, operation: Any, args: tuple, kwargs: dict) -> Any:
        if id(operation) in self.network.without_softmax:
            operation = _without_softmax(operation)
        if is_container(operation):
            feeds = _feeds(operation, args, kwargs)
            if feeds is not None:
                inner = dict(zip(map(id, operation.inputs), feeds, strict=True))
                wanted = self.wanted_inside.pop(id(operation), [])
                self.execute([*operation.outputs, *wanted], inner, operation)
                for key, value in inner.items():
                    # The first call of a shared model is the one that its layers stand for.
                    self.outermost.setdefault(key, value)
                return [inner[id(tensor)] for tensor in operation.outputs]
            if inside := self.wanted_inside.pop(id(operation), None):
                raise ValueError(
                    f"The layers inside the nested model '{operation.name}' cannot be looked at, "
                    "as it is called with a mask, or with inputs arranged otherwise than its own. "
                    f"Received: {', '.join(map(str, inside))}"
                )
        if "training" in inspect.signature(operation.call).parameters:
            kwargs = {**kwargs, "training": False}
        return operation(*args, **kwargs)


def _feeds(model: Any, args: tuple, kwargs: dict) -> list | None:
    """The values of a nested model's inputs, or None where only its `call` can place them."""
    masks = tree.flatten(kwargs.get("mask"))
    if len(args) != 1 or any(mask is not None for mask in masks):
        return None
    values = tree.flatten(args[0])
    same_kind = isinstance(args[0], dict) == isinstance(model.input, dict)
    if len(values) != len(model.inputs) or not same_kind:
        return None
    if any(len(v.shape) != len(t.shape) for v, t in zip(values, model.inputs, strict=True)):
        return None
    return [
        keras.ops.cast(value, tensor.dtype) if value.dtype != tensor.dtype else value
        for value, tensor in zip(values, model.inputs, strict=True)
    ]


def _ordered(targets: Sequence, known: Collection[int], node_of: Callable) -> list[Any]:
    """The nodes that compute `targets` from the tensors in `known`, each after its inputs."""
    done: dict[int, Any] = {}
    stack = [(node_of(t), False) for t in reversed(targets) if id(t) not in known]
    while stack:
        node, expanded = stack.pop()
        if id(node) in done:
            continue
        if expanded:
            done[id(node)] = node
        else:
            stack.append((node, True))
            for tensor in node.input_tensors:
                if id(tensor) not in known:
                    stack.append((node_of(tensor), False))
    return list(done.values())


def has_softmax(operation: Any) -> bool:
    """Whether an operation is a layer that ends in a softmax."""
    if isinstance(operation, keras.layers.Softmax):
        return True
    return getattr(operation, "activation", None) is keras.activations.softmax


def _without_softmax(layer: Any) -> Any:
    """A stand-in for a layer that has its variables and a linear activation."""
    if isinstance(layer, keras.layers.Softmax):
        return keras.layers.Identity()
    stand_in = object.__new__(type(layer))
    vars(stand_in).update(vars(layer), activation=keras.activations.linear)
    return stand_in

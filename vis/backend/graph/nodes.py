"""Nodes of Keras graphs (each is one call of an operation), and their order."""

import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import keras

from vis.backend.private import Functional, calls_of, consumers_of, node_of, operation_of


def is_container(operation: Any) -> bool:
    """Whether an operation is a model whose nodes can be run in place of its `call`."""
    call = type(operation).call
    # A Sequential model that was not built has no inputs.
    is_built = call is keras.Sequential.call and getattr(operation, "inputs", None)
    return call is Functional.call or bool(is_built)


def nodes_of(model: Any) -> list[Any]:
    """The nodes of a model with a graph, in topological order."""
    return topological_order(model.outputs, (), node_of)


def topological_order(
    targets: Sequence, known: Collection[int], producer_of: Callable[[Any], Any]
) -> list[Any]:
    """The nodes that compute some tensors, each after the nodes of its inputs.

    Tensors whose `id` is `known` need not be computed.
    """
    done: dict[Any, None] = {}
    stack = [(producer_of(t), False) for t in reversed(targets) if id(t) not in known]
    while stack:
        node, is_expanded = stack.pop()
        if is_expanded:
            done[node] = None
        elif node not in done:
            stack.append((node, True))
            inputs = (t for t in node.input_tensors if id(t) not in known)
            stack.extend((producer_of(tensor), False) for tensor in inputs)
    return list(done)


def execution_order(nodes: Collection[Any], producer_of: Callable[[Any], Any]) -> list[Any]:
    """Nodes in topological order, in which the calls of each operation are in their own order."""
    calls: dict[int, list[Any]] = defaultdict(list)
    for node in sorted(nodes, key=node_index_of):
        calls[id(node.operation)].append(node)
    before = {later: earlier for own in calls.values() for earlier, later in pairwise(own)}
    inputs = {n: [p for p in map(producer_of, n.input_tensors) if p in nodes] for n in nodes}
    for constraints in (before, {}):
        done: dict[Any, None] = {}
        entered: set[Any] = set()
        stack = list(reversed([*nodes]))
        while stack:
            node = stack[-1]
            waiting = [*inputs[node], *filter(None, [constraints.get(node)])]
            pending = [n for n in reversed(waiting) if n not in entered]
            if node in entered or not pending:
                done[stack.pop()] = None
            entered.add(node)
            stack.extend(pending)
        position = {node: i for i, node in enumerate(done)}
        if all(position[p] < position[n] for n in nodes for p in inputs[n]):
            break
    # A model that was rebuilt from its configuration may have calls in another order.
    return list(done)


def downstream(tensors: Sequence[keras.KerasTensor]) -> list[Any]:
    """The nodes of some tensors and all that depend on them, without those of nested models."""
    # The layers may belong to other models too, whose nodes do not depend on these tensors.
    reached = {id(tensor) for tensor in tensors}
    nodes: dict[Any, None] = {}
    stack = [operation_of(tensor) for tensor in tensors]
    while stack:
        for node in consumers_of(stack.pop()):
            if node not in nodes and not reached.isdisjoint(map(id, node.input_tensors)):
                nodes[node] = None
                reached.update(map(id, node.outputs))
                stack.append(node.operation)
    # An encoder that is called on its own input, as in many autoencoders, is a nested model.
    nested = {
        inner
        for node in nodes
        if is_container(node.operation)
        and all(map(operator.is_, node.input_tensors, node.operation.inputs))
        for inner in nodes_of(node.operation)
    }
    return [*map(node_of, tensors), *(node for node in nodes if node not in nested)]


def innermost(nodes: Iterable[Any]) -> Iterator[Any]:
    """Nodes, with each call of a nested model replaced by the model's own nodes."""
    for node in nodes:
        if is_container(node.operation):
            yield from innermost(nodes_of(node.operation))
        else:
            yield node


def node_index_of(node: Any) -> int:
    """Index of a node among the calls of its operation."""
    return calls_of(node.operation).index(node)


def position_of(tensor: keras.KerasTensor, tensors: Sequence[keras.KerasTensor]) -> int:
    """Index of a tensor among others, by identity because `==` makes another tensor."""
    return next(i for i, t in enumerate(tensors) if t is tensor)

"""The calls that a graph of Keras's is made of, and their order."""

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import keras

from vis.backend.private import Functional, calls_of, consumers_of, node_of, operation_of


def is_container(operation: Any) -> bool:
    """Whether an operation is a model whose own graph can be walked in place of its `call`."""
    call = type(operation).call
    # A Sequential model that was not built has no inputs.
    is_built = call is keras.Sequential.call and getattr(operation, "inputs", None)
    return call is Functional.call or bool(is_built)


def nodes_of(model: Any) -> list[Any]:
    """The nodes that compute what a model of its own graph returns, in order."""
    return ordered(model.outputs, (), node_of)


def ordered(targets: Sequence, known: Collection[int], maker_of: Callable) -> list[Any]:
    """The nodes that compute some tensors, each after its inputs.

    `known` has the `id` of tensors that need not be computed, and `maker_of` says which node makes
    a tensor.
    """
    done: dict[Any, None] = {}
    stack = [(maker_of(t), False) for t in reversed(targets) if id(t) not in known]
    while stack:
        node, expanded = stack.pop()
        if node in done:
            continue
        if expanded:
            done[node] = None
        else:
            stack.append((node, True))
            needed = (t for t in node.input_tensors if id(t) not in known)
            stack.extend((maker_of(tensor), False) for tensor in needed)
    return list(done)


def downstream(tensors: Sequence[keras.KerasTensor]) -> list[Any]:
    """The nodes of some tensors and those behind, but for those that are inside a nested model."""
    # Layers may be part of other models too, whose nodes these tensors do not reach.
    reached = {id(tensor) for tensor in tensors}
    found: dict[Any, None] = {}
    stack = [operation_of(tensor) for tensor in tensors]
    while stack:
        for node in consumers_of(stack.pop()):
            if node not in found and not reached.isdisjoint(map(id, node.input_tensors)):
                found[node] = None
                reached.update(map(id, node.outputs))
                stack.append(node.operation)
    # Those of a model that is called on its own input, as the encoder in an autoencoder.
    inside = {
        inner
        for node in found
        if is_container(node.operation)
        and all(map(operator.is_, node.input_tensors, node.operation.inputs))
        for inner in nodes_of(node.operation)
    }
    return [*map(node_of, tensors), *(node for node in found if node not in inside)]


def innermost(nodes: Iterable[Any]) -> Iterator[Any]:
    """Nodes, with those of a nested model in the place of its own."""
    for node in nodes:
        if is_container(node.operation):
            yield from innermost(nodes_of(node.operation))
        else:
            yield node


def call_of(node: Any) -> int:
    """Which of its operation's calls a node is."""
    return calls_of(node.operation).index(node)


def position_of(tensor: keras.KerasTensor, tensors: Sequence[keras.KerasTensor]) -> int:
    """Where a tensor stands among others; tensors are not compared by `==`."""
    return next(i for i, t in enumerate(tensors) if t is tensor)

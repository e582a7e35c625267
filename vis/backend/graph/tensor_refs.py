"""Weak references to the tensors of a graph. Compiled steps hold these, and no models."""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from vis.backend.graph import hidden_layers
from vis.backend.private import calls_of, history_of


class TensorRef(NamedTuple):
    """A weak reference to an output of an operation."""

    operation: Callable[[], Any]
    node_index: int  # Which of the operation's calls.
    tensor_index: int  # Which of the outputs of that call.
    # The calls of nested models around it, outermost first; empty for the first call of each.
    within: tuple[tuple[weakref.ref, int], ...] = ()
    is_hidden: bool = False  # Whether it is computed in the `call` of another layer.

    @classmethod
    def of(cls, tensor: keras.KerasTensor) -> "TensorRef":
        """The reference to a symbolic tensor."""
        operation, node_index, tensor_index = history_of(tensor)
        return cls(weakref.ref(operation), node_index, tensor_index)

    @property
    def tensor(self) -> keras.KerasTensor:
        """The symbolic tensor; for a hidden layer one of the same shape and dtype."""
        operation = self.operation()
        if self.is_hidden:
            return hidden_layers.output_specs(operation)[self.node_index][self.tensor_index]
        return calls_of(operation)[self.node_index].outputs[self.tensor_index]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of the tensor, with None for open axes."""
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> str:
        """Dtype of the tensor."""
        return self.tensor.dtype

"""Where a value is found in a graph. Compiled steps hold on to places, and not to models."""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from vis.backend.graph import hidden_layers
from vis.backend.private import calls_of, ref_of


class TensorRef(NamedTuple):
    """A weak handle on what an operation returns."""

    operation: Callable[[], Any]
    call: int  # Which of its calls.
    output: int  # Which of the outputs of that call.
    # The calls of nested models that it lies inside, the outermost first; empty for the first.
    within: tuple[tuple[weakref.ref, int], ...] = ()
    is_hidden: bool = False  # Whether it runs in the `call` of a layer, where no graph shows it.

    @classmethod
    def of(cls, tensor: keras.KerasTensor) -> "TensorRef":
        """The place of a symbolic tensor."""
        operation, call, output = ref_of(tensor)
        return cls(weakref.ref(operation), call, output)

    @property
    def tensor(self) -> keras.KerasTensor:
        """The symbolic tensor there; inside another layer one that only has its shape and type."""
        operation = self.operation()
        if self.is_hidden:
            return hidden_layers.known_outputs(operation)[self.call][self.output]
        return calls_of(operation)[self.call].outputs[self.output]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of the value, None where an axis is open."""
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> str:
        """Type of the value."""
        return self.tensor.dtype

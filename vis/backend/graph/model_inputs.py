"""Which inputs of a graph vary, which are fixed, and to what values."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from vis.backend.graph.graph import Graph
from vis.backend.graph.inputs import match_to_inputs, names_of


class ModelInputs(NamedTuple):
    """The tensors that a graph is run from: each one varies or has a fixed value.

    Token ids and categories are looked up, which has no gradient. The output of their embedding
    varies in their place, and they stay among the tensors, because masks are computed from them.
    """

    graph: Graph
    structure: Any  # The inputs as the user passes them: a tensor, or a list or dict of several.
    # One tensor for each input of the graph, followed by further tensors.
    tensors: tuple[keras.KerasTensor, ...]
    # The fixed value of each tensor, `(1 or samples, ...)`, or None if it varies.
    values: tuple[np.ndarray | None, ...]
    images: Any = None  # The values that are explained, `(samples, ...)`, if any are.

    @classmethod
    def with_zeros(cls, graph: Graph, tensor: keras.KerasTensor) -> "ModelInputs":
        """One tensor varies; all other inputs are zeros, or empty texts, of the smallest size."""
        others = [t for t in graph.inputs if t is not tensor]
        sizes = [(1, *(size or 1 for size in t.shape[1:])) for t in others]
        empty = ["" if t.dtype == "string" else 0 for t in others]
        zeros = [
            np.full(size, value, _dtype(t))
            for t, size, value in zip(others, sizes, empty, strict=True)
        ]
        return cls(graph, graph.input_structure, (tensor, *others), (None, *zeros))

    @property
    def varying(self) -> list[keras.KerasTensor]:
        """The tensors that are optimised, explained or computed from images."""
        return [t for t, value in zip(self.tensors, self.values, strict=True) if value is None]

    @property
    def fixed(self) -> list[np.ndarray]:
        """The values of all other tensors."""
        return [value for value in self.values if value is not None]

    @property
    def has_embeddings(self) -> bool:
        """Whether outputs of embeddings take the place of inputs."""
        return len(self.tensors) > len(self.graph.inputs)

    def complete(self, *varying: np.ndarray) -> list[np.ndarray]:
        """The value of every tensor, given those that vary, `(samples, ...)`."""
        given, samples = iter(varying), len(varying[0])
        return [
            np.asarray(next(given), _dtype(tensor))
            if value is None
            else np.broadcast_to(value, (samples, *value.shape[1:])).astype(_dtype(tensor))
            for tensor, value in zip(self.tensors, self.values, strict=True)
        ]

    def match(self, name: str, values: Any) -> list[Any]:
        """One value for each varying tensor, from values for these or for all inputs.

        Args:
            name: The argument's name, for messages.
            values: A list, a dict by input name, or a single value.
        """
        values = self.graph.without_absent(values)
        # The output of an embedding has the names of the input that it replaces, and its own.
        names = [
            own if tensor is original else (*own, *names_of(tensor))
            for own, tensor, original in zip(
                self.graph.names, self.tensors, self.graph.inputs, strict=False
            )
        ]
        varies = [value is None for value in self.values[: len(names)]]
        for_all = isinstance(values, (list, tuple)) and len(values) == len(names) > 1
        if for_all or isinstance(values, Mapping):
            return list(itertools.compress(match_to_inputs(name, values, names), varies))
        return match_to_inputs(name, values, list(itertools.compress(names, varies)))

    def like_structure(self, values: Sequence[Any]) -> Any:
        """One value per varying tensor as the user expects them: alone, a dict or a list."""
        if len(values) == 1:
            return values[0]
        is_named = isinstance(self.structure, Mapping)
        if not is_named or len(self.structure) < len(keras.tree.flatten(self.structure)):
            return list(values)
        pairs = zip(self.graph.names, self.values, strict=False)
        keys = [names[0] for names, value in pairs if value is None]
        return dict(zip(keys, values, strict=True))


def _dtype(tensor: keras.KerasTensor) -> Any:
    return object if tensor.dtype == "string" else tensor.dtype

"""What the inputs of a model are shown where images go through it, and nothing is optimised."""

from typing import Any, NamedTuple

import keras
import numpy as np

from vis.backend.graph import Graph, match_to_inputs
from vis.utils.validation import check_images


class Feeds(NamedTuple):
    """The input that takes images, and the values of all others."""

    graph: Graph
    tensor: keras.KerasTensor  # The input that takes the images.
    fixed: tuple[np.ndarray | None, ...]  # Each input's value, `(1, ...)`, or None for that one.

    @classmethod
    def of(cls, graph: Graph, fixed_inputs: Any) -> "Feeds":
        """Of the values of all inputs but one, by position or by name."""
        values = match_to_inputs("fixed_inputs", fixed_inputs, graph.names)
        left = [t for t, value in zip(graph.inputs, values, strict=True) if value is None]
        if len(left) != 1:
            raise ValueError(
                "`fixed_inputs` must give a value for each input but the one that takes the "
                f"images. Received: {len(left)} inputs without one"
            )
        fixed = tuple(
            None if v is None else check_images("fixed_inputs", v, tuple(t.shape[1:]))[:1]
            for v, t in zip(values, graph.inputs, strict=True)
        )
        return cls(graph, left[0], fixed)

    def shown(self, images: np.ndarray) -> list[np.ndarray]:
        """What each input is shown with some images."""
        values = [images if v is None else np.repeat(v, len(images), axis=0) for v in self.fixed]
        pairs = zip(values, self.graph.inputs, strict=True)
        return [np.asarray(value, tensor.dtype) for value, tensor in pairs]

"""Functions that are compiled once for each signature, and say what went wrong in their call."""

import contextlib
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from vis.backend.graph import Graph
from vis.backend.layers import CachedWeights, LayerRunner, TracedWeights, WeightCache

_ABOUT_THE_GRAPH = ("Graph execution error", "Detected at", "File ", "[[", "(", "Stack trace")


@dataclass(eq=False)
class CompiledFunction:
    """A function of tensors, traced when it is first called with those of some types and shapes."""

    # Called with what runs the graph, `Graph.run` with a `LayerRunner`, and the tensors.
    function: Callable[..., Any]
    # From the reason why a call failed, and its tensors, to the message of an error.
    refusal: Callable[..., str]
    # From the tensors to what one trace is to serve.
    specified: Callable[..., tuple] = lambda *tensors: tensors
    # What is entered for each call.
    turns: contextlib.AbstractContextManager = field(default_factory=contextlib.nullcontext)
    precision: str | None = None  # The type that the network computes in, or None for its own.

    def __post_init__(self) -> None:
        self._concrete: dict[tuple, tuple[Callable, tuple]] = {}
        self._lock = threading.Lock()

    def __call__(self, graph: Graph, weight_cache: WeightCache | None, *tensors: Any) -> Any:
        """What the function returns; without weights made ready it makes them in each call."""
        # Looked up here rather than by `tf.function`, which warns of many traces where many models
        # are looked at.
        specs = self.specified(*tensors)
        signature = tuple((t.dtype, *t.shape) for t in tf.nest.flatten(specs))
        with self._lock:
            if signature not in self._concrete:
                self._concrete[signature] = self._traced(graph, weight_cache, specs)
            compiled, recipes = self._concrete[signature]
        try:
            with self.turns:
                return compiled(weight_cache.packed(recipes) if weight_cache else {}, *tensors)
        except (tf.errors.InvalidArgumentError, tf.errors.AbortedError) as error:
            raise ValueError(self.refusal(reason_of(error), *tensors)) from None

    def _traced(
        self, graph: Graph, weight_cache: WeightCache | None, specs: tuple
    ) -> tuple[Callable, tuple]:
        recipes: tuple = ()

        def traced(packed: dict[str, Any], *tensors: Any) -> Any:
            nonlocal recipes
            ready = CachedWeights(packed, weight_cache) if weight_cache else TracedWeights()
            run = functools.partial(graph.run, runner=LayerRunner(ready, self.precision))
            outputs = self.function(run, *tensors)
            recipes = tuple(ready.recipes)
            return outputs

        packed = WeightCache.signature if weight_cache else {}
        return tf.function(traced, autograph=False).get_concrete_function(packed, *specs), recipes


def reason_of(error: tf.errors.OpError) -> str:
    r"""The sentence of an error's message that gives the reason, without where in the graph it is.

    Example:
        >>> text = "Graph execution error:\n\nDetected at node x\nindices = 9 [Op:Gather]"
        >>> reason_of(tf.errors.InvalidArgumentError(None, None, text))
        'indices = 9'
    """
    lines = [line.strip() for line in error.message.splitlines()]
    said = [line for line in lines if line and not line.startswith(_ABOUT_THE_GRAPH)]
    return said[-1].split(" [Op:")[0] if said else type(error).__name__

"""A function that is traced once per signature, and turns TensorFlow's errors into clear ones."""

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from vis.backend.graph import SAMPLES_ERROR, Graph
from vis.backend.layers import CachedWeights, LayerRunner, TracedWeights, WeightCache

# Lines of TensorFlow's messages that say where or how often an error occurred, and not why.
_NOT_REASONS = re.compile(
    r"Graph execution error|Detected at|File |\[\[|\((?!\d+\) )|Stack trace"
    r"|\d+ (root error|successful operation|derived error)"
)
# What precedes each of several errors.
_ERROR_NUMBER = re.compile(r"\(\d+\) [A-Z_ ]+: *")
# The message of an assertion.
_ASSERTED = re.compile(re.escape(SAMPLES_ERROR) + r"[^\]\n]*")


@dataclass(eq=False)
class CompiledFunction:
    """A function of tensors that is traced at the first call with each signature."""

    # Called with `run`, which is `Graph.run` with a `LayerRunner`, and the tensors.
    function: Callable[..., Any]
    # Makes an error message of the reason why a call failed, and of its tensors.
    error_message: Callable[..., str]
    # Makes of the tensors the specs that a trace is made for.
    input_specs: Callable[..., tuple] = lambda *tensors: tensors
    lock: contextlib.AbstractContextManager = field(default_factory=contextlib.nullcontext)
    precision: str | None = None  # The compute dtype, or None for the model's own.

    def __post_init__(self) -> None:
        self._traces: dict[tuple, tuple[Callable, tuple]] = {}
        self._tracing = threading.Lock()

    def __call__(self, graph: Graph, weight_cache: WeightCache | None, *tensors: Any) -> Any:
        """Calls the function. Without a `weight_cache`, each call computes derived weights."""
        # Not by `tf.function`, which warns of retracing if there are many models.
        specs = self.input_specs(*tensors)
        signature = tuple((t.dtype, *t.shape) for t in tf.nest.flatten(specs))
        with self._tracing:
            if signature not in self._traces:
                with _explained_batch_size(graph):
                    self._traces[signature] = self._trace(graph, weight_cache, specs)
            compiled, derived = self._traces[signature]
        try:
            with self.lock:
                return compiled(weight_cache.lists(derived) if weight_cache else {}, *tensors)
        except (tf.errors.InvalidArgumentError, tf.errors.AbortedError) as error:
            if asserted := _ASSERTED.search(error.message):
                raise ValueError(asserted[0].replace("\\'", "'")) from None
            with _explained_batch_size(graph):
                raise ValueError(self.error_message(reason_of(error), *tensors)) from None

    def _trace(
        self, graph: Graph, weight_cache: WeightCache | None, specs: tuple
    ) -> tuple[Callable, tuple]:
        """The concrete function, and the derived weights that it must be called with."""
        derived: tuple = ()

        def traced(lists: dict[str, Any], *tensors: Any) -> Any:
            nonlocal derived
            weights = CachedWeights(lists, weight_cache) if weight_cache else TracedWeights()
            run = functools.partial(graph.run, runner=LayerRunner(weights, self.precision))
            outputs = self.function(run, *tensors)
            derived = tuple(weights.used)
            return outputs

        lists = WeightCache.signature if weight_cache else {}
        return tf.function(traced, autograph=False).get_concrete_function(lists, *specs), derived


@contextlib.contextmanager
def _explained_batch_size(graph: Graph) -> Iterator[None]:
    """A context in which errors of a model that runs with its own batch size only say so."""
    try:
        yield
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        sizes = {tensor.shape[0] for tensor in graph.inputs} - {None}
        if not sizes or _runs_one_sample(graph):
            raise
        raise ValueError(
            "`model` must accept batches of any size. Build it again with `keras.Input(shape)`, "
            "without a batch size, and copy the weights with `set_weights`. "
            f"Received: model '{graph.owner.name}' for batches of {min(sizes)}"
        ) from error


def _runs_one_sample(graph: Graph) -> bool:
    """Whether the whole model runs with a batch of one."""
    nodes = map(graph.first_node, filter(graph.in_graph, graph.operations))
    targets = graph.outputs or [tensor for node in nodes for tensor in node.outputs]

    @tf.function(autograph=False)
    def run(*values: Any) -> list[Any]:
        feeds = list(zip(graph.inputs, values, strict=True))
        return graph.run(feeds, targets, LayerRunner(TracedWeights()))

    specs = [tf.TensorSpec((1, *t.shape[1:]), t.dtype) for t in graph.inputs]
    try:
        outputs = run.get_concrete_function(*specs).outputs
    # A layer may raise any error.
    except Exception:
        return False
    return all(value.shape.rank and value.shape[0] in (1, None) for value in outputs)


def reason_of(error: tf.errors.OpError) -> str:
    r"""The line of an error's message that gives the reason.

    Example:
        >>> text = "Graph execution error:\n\nDetected at node x\nindices = 9 [Op:Gather]"
        >>> reason_of(tf.errors.InvalidArgumentError(None, None, text))
        'indices = 9'
        >>> text = "2 root error(s) found.\n (0) NOT_FOUND: x = 9\n (1) NOT_FOUND: x = 9\n"
        >>> text += "0 successful operations.\n0 derived errors ignored."
        >>> reason_of(tf.errors.InvalidArgumentError(None, None, text))
        'x = 9'
    """
    lines = [line.strip() for line in error.message.splitlines()]
    reasons = [line for line in lines if line and not _NOT_REASONS.match(line)]
    if not reasons:
        return type(error).__name__
    return _ERROR_NUMBER.sub("", reasons[-1]).split(" [Op:")[0]

"""Losses that a user writes as symbolic expressions over the tensors of a graph."""

import re
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from vis.backend.graph.graph import Graph
from vis.backend.private import LEGACY_FUNCTIONS, consumers_of

# Or one thread would take the nodes that another is about to undo for the model's own.
_one_at_a_time = threading.RLock()


def symbolic_scalar(build: Callable[[], Any], graph: Graph, name: str) -> keras.KerasTensor:
    """Calls a loss's `build_loss` for a symbolic scalar, and undoes its traces on the model.

    Each operation on a layer's output adds a node to that layer; without the clean-up a loop over
    thousands of images would make the model grow without end.
    """
    with _one_at_a_time:
        expression = _built(build, graph, name)
    if not isinstance(expression, keras.KerasTensor):
        raise TypeError(
            f"`build_loss` of the loss '{name}' must return a symbolic scalar, an expression over "
            f"`layer.output` or `model.input`. Received: {expression!r}"
        )
    if any(size not in (1, None) for size in expression.shape):
        raise ValueError(
            f"`build_loss` of the loss '{name}' must return a scalar. "
            f"Received: an expression of shape {expression.shape}"
        )
    graph.check_connected(expression)
    return expression


def _built(build: Callable[[], Any], graph: Graph, name: str) -> Any:
    before = {operation: list(consumers_of(operation)) for operation in graph.operations}
    try:
        return build()
    except (AttributeError, TypeError, ValueError) as error:
        if not _is_about_symbolic_tensors(error):
            raise
        place = traceback.extract_tb(error.__traceback__)[1:2]
        where = f" at {place[0].filename}:{place[0].lineno} (`{place[0].line}`)" if place else ""
        raise TypeError(
            f"The loss '{name}' is written with functions that Keras 3 has not, or that do not "
            "take its symbolic tensors. Change one import line: in place of `from keras import "
            "backend as K`, or `from tensorflow.keras import backend as K`, write `from vis "
            "import backend as K`. New losses are best written with `keras.ops`. "
            f"Received: {type(error).__name__}: {error}{where}"
        ) from error
    finally:
        for operation, nodes in before.items():
            consumers_of(operation)[:] = nodes


def _is_about_symbolic_tensors(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    # What Keras has kept of its old functions fails in many ways.
    if Path(frames[-1].filename).parts[-3:] == LEGACY_FUNCTIONS:
        return True
    message = str(error)
    if isinstance(error, AttributeError):
        return bool(re.search(r"keras\.(api\.)?backend' has no attribute", message))
    return "KerasTensor" in message or "Keras tensor" in message

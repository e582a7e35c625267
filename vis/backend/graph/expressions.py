"""Custom losses written as symbolic expressions over the tensors of a graph."""

import re
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from vis.backend.graph.graph import Graph
from vis.backend.private import LEGACY_FUNCTIONS, consumers_of
from vis.utils.validation import expect

# Otherwise a thread could keep the nodes that another thread is about to remove.
_lock = threading.RLock()


def symbolic_scalar(build: Callable[[], Any], graph: Graph, name: str) -> keras.KerasTensor:
    """Calls a loss's `build_loss` for a symbolic scalar, and removes the new nodes from the model.

    Each operation on a layer's output adds a node to that layer. In a loop over thousands of
    images the model would grow without end.
    """
    with _lock:
        expression = _build(build, graph, name)
    expected = f"return a symbolic scalar for the loss '{name}', computed from `layer.output`"
    is_symbolic = isinstance(expression, keras.KerasTensor)
    expect(is_symbolic, "build_loss", expected, repr(expression), TypeError)
    is_scalar = all(size in (1, None) for size in expression.shape)
    expect(is_scalar, "build_loss", expected, f"an expression of shape {expression.shape}")
    graph.check_connected(expression)
    return expression


def _build(build: Callable[[], Any], graph: Graph, name: str) -> Any:
    before = {operation: list(consumers_of(operation)) for operation in graph.operations}
    try:
        return build()
    except (AttributeError, TypeError, ValueError) as error:
        if not _is_about_symbolic_tensors(error):
            raise
        frame = traceback.extract_tb(error.__traceback__)[1:2]
        position = f" at {frame[0].filename}:{frame[0].lineno} (`{frame[0].line}`)" if frame else ""
        raise TypeError(
            f"The loss '{name}' must use functions that take symbolic tensors of Keras 3. Replace "
            "the import `from keras import backend as K`, or `from tensorflow.keras import backend "
            "as K`, with `from vis import backend as K`, or write the loss with `keras.ops`. "
            f"Received: {type(error).__name__}: {error}{position}"
        ) from error
    finally:
        for operation, nodes in before.items():
            consumers_of(operation)[:] = nodes


def _is_about_symbolic_tensors(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    # The old backend functions that Keras has kept raise errors of many kinds.
    if Path(frames[-1].filename).parts[-3:] == LEGACY_FUNCTIONS:
        return True
    message = str(error)
    if isinstance(error, AttributeError):
        return bool(re.search(r"keras\.(api\.)?backend' has no attribute", message))
    return "KerasTensor" in message or "Keras tensor" in message

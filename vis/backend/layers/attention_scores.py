"""Attention scores of a trace: the probabilities by which queries attend to keys."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

_lock = threading.RLock()


@contextlib.contextmanager
def record_attention() -> Iterator[list[Any]]:
    """A context that lists the scores of attention, `(samples, heads, queries, keys)`.

    Keras's layers, its fused `dot_product_attention` and custom layers all compute them by
    TensorFlow's softmax, which is replaced, so that later values depend on the listed scores.
    """
    recorded: list[Any] = []
    with _lock:
        softmax = tf.nn.softmax

        def recording(logits: Any, axis: int | None = None, name: str | None = None) -> Any:
            scores = softmax(logits, axis=axis, name=name)
            if _is_attention(scores, axis):
                recorded.append(scores)
            return scores

        tf.nn.softmax = recording
        try:
            yield recorded
        finally:
            tf.nn.softmax = softmax


def _is_attention(scores: Any, axis: int | None) -> bool:
    """Whether a softmax is over the keys of several queries; without heads, of as many."""
    rank = scores.shape.rank
    if rank not in (3, 4) or axis not in (None, -1, rank - 1):
        return False
    queries, keys = scores.shape[-2:]
    return 1 not in (queries, keys) and (rank == 4 or None is not keys == queries)

"""What TensorFlow says went wrong, without where in its graph it did."""

from __future__ import annotations

import tensorflow as tf

_ABOUT_THE_GRAPH = ("Graph execution error", "Detected at", "File ", "[[", "(", "Stack trace")


def reason_of(error: tf.errors.OpError) -> str:
    r"""The sentence of an error's message that gives the reason.

    Example:
        >>> text = "Graph execution error:\n\nDetected at node x\nindices = 9 [Op:Gather]"
        >>> reason_of(tf.errors.InvalidArgumentError(None, None, text))
        'indices = 9'
    """
    lines = [line.strip() for line in error.message.splitlines()]
    said = [line for line in lines if line and not line.startswith(_ABOUT_THE_GRAPH)]
    return said[-1].split(" [Op:")[0] if said else type(error).__name__

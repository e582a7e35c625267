"""What a network says of images: the value of each loss, and what else is wanted on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from vis.backend.graph import Erosion, Graph, Place, fed
from vis.backend.layers import Folder
from vis.backend.step.problem import Expression, Formula, Term


def look(
    graph: Graph,
    shown: Sequence[tuple[Place, Any]],
    terms: Sequence[Term],
    parameters: Sequence[dict[str, Any]],
    places: Sequence[Place],
    folder: Folder,
    dtype: Any,
    erosion: Erosion | None = None,
) -> tuple[list[Any], list[Any]]:
    """Shows values to a network.

    Args:
        graph: The network.
        shown: What is fed, and the values.
        terms: The losses.
        parameters: For each of them the tensors that its formula is called with, by name.
        places: What else is wanted.
        folder: Runs layers together with the batch normalisation behind them.
        dtype: The type that losses are computed in.
        erosion: What happens to skip connections, if anything does.

    Returns:
        The values of the losses, each `(samples,)`, and those at the places.
    """
    formulas = [term for term in terms if isinstance(term, Formula)]
    found = graph.run(
        [(place.tensor, fed(value, place.dtype)) for place, value in shown],
        [*(term.target for term in terms), *places],
        folder,
        [term.target.operation() for term in formulas if term.before_softmax],
        erosion,
    )
    losses = []
    for term, value, names in zip(terms, found, parameters, strict=False):
        if isinstance(term, Formula):
            # Sums over many positions overflow, or lose their last digits, in half precision.
            value = tf.cast(value, dtype) if value.dtype.size < 4 else value
            value = term.function(value, **names, **dict(term.settings))
        losses.append(tf.reshape(tf.cast(value, dtype), [-1]))
    return losses, found[len(terms) :]


def couples_samples(terms: Sequence[Term]) -> bool:
    """Whether the loss of a sample may depend on the others that are shown with it."""
    return any(isinstance(term, Expression) or term.couples_samples for term in terms)


def named(terms: Sequence[Term]) -> str:
    """What to call some losses in messages, and which layers they look at."""
    return " and ".join(
        f"'{term.name}' of '{term.target.operation().name}'"
        if isinstance(term, Formula)
        else f"'{term.name}'"
        for term in terms
    )

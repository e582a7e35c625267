"""What a network says of images: the value of each loss, and what else is wanted on the way."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from vis.backend.graph import Erosion, Graph, TensorRef, as_input_dtype
from vis.backend.step.step_spec import Expression, Formula, Term


def evaluate_losses(
    run: Callable[..., list[Any]],
    shown: Sequence[tuple[TensorRef, Any]],
    terms: Sequence[Term],
    parameters: Sequence[dict[str, Any]],
    places: Sequence[TensorRef],
    dtype: Any,
    erosion: Erosion | None = None,
) -> tuple[list[Any], list[Any]]:
    """The values of some losses, each `(samples,)` of a type, and those at some places."""
    without_softmax = [
        term.target.operation()
        for term in terms
        if isinstance(term, Formula) and term.before_softmax
    ]
    found = run(
        [(place.tensor, as_input_dtype(value, place.dtype)) for place, value in shown],
        [*(term.target for term in terms), *places],
        without_softmax=without_softmax,
        erosion=erosion,
    )
    losses = []
    for term, value, names in zip(terms, found, parameters, strict=False):
        if isinstance(term, Formula):
            # Sums over many positions overflow, or lose their last digits, in half precision.
            value = tf.cast(value, dtype) if value.dtype.size < 4 else value
            value = term.function(value, **names, **dict(term.settings))
        losses.append(tf.reshape(tf.cast(value, dtype), [-1]))
    return losses, found[len(terms) :]


def of_sample(values: Any, i: int) -> Any:
    """Arrays for all samples, or for each, as those for one of them."""
    return tf.nest.map_structure(lambda v: v[i : i + 1] if v.shape[0] > 1 else v, values)


def split_for_scalar_losses(values: Any, samples: int, terms: Sequence[Term]) -> list[Any]:
    """Arrays for all samples as those that are shown at once.

    An expression is a scalar over the whole batch, so that samples are then shown one by one.
    """
    if not any(isinstance(term, Expression) for term in terms):
        return [values]
    return [of_sample(values, i) for i in range(samples)]


def feeds_of(
    graph: Graph, tensor: keras.KerasTensor, value: Any
) -> list[tuple[keras.KerasTensor, Any]]:
    """Feeds of one input, or of what is made of it; the others are zeros, or empty texts."""
    others = [
        (other, tf.zeros([value.shape[0], *(size or 1 for size in other.shape[1:])], other.dtype))
        for other in graph.inputs
        if other is not tensor
    ]
    return [(tensor, value), *others]


def named(terms: Sequence[Term]) -> str:
    """What to call some losses in messages, by their formulas and the layers they look at."""
    # Not by names that users give them, which would be part of what a trace depends on.
    return " and ".join(
        f"{term.function.__qualname__.split('.')[0]} of '{term.target.operation().name}'"
        if isinstance(term, Formula)
        else "a loss of your own"
        for term in terms
    )

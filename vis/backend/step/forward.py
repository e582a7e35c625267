"""The forward pass: values of losses and of other tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from vis.backend.graph import Erosion, TensorRef, as_input_dtype
from vis.backend.step.step_spec import Expression, Formula, Term


def evaluate_losses(
    run: Callable[..., list[Any]],
    feeds: Sequence[tuple[TensorRef, Any]],
    terms: Sequence[Term],
    parameters: Sequence[dict[str, Any]],
    refs: Sequence[TensorRef],
    dtype: Any,
    erosion: Erosion | None = None,
    of_one_image: Sequence[TensorRef] = (),
) -> tuple[list[Any], list[Any]]:
    """The values of losses, each `(samples,)` of type `dtype`, and of `refs`."""
    values = run(
        [(ref.tensor, as_input_dtype(value, ref.dtype)) for ref, value in feeds],
        [*(term.target for term in terms), *refs],
        without_softmax=[term.target.operation() for term in terms if term.before_softmax],
        erosion=erosion,
        of_one_image=of_one_image,
    )
    losses = []
    for term, value, arguments in zip(terms, values, parameters, strict=False):
        if isinstance(term, Formula):
            # In half precision, sums over many positions overflow or lose their last digits.
            value = tf.cast(value, dtype) if value.dtype.size < 4 else value
            value = term.function(value, **arguments, **dict(term.settings))
            if value.shape.rank and value.shape[0] is None:
                # Of more samples than images, for which `Graph.run` raises an error.
                value = value[: tf.shape(feeds[0][1])[0]]
        losses.append(tf.reshape(tf.cast(value, dtype), [-1]))
    return losses, values[len(terms) :]


def select_sample(values: Any, i: int) -> Any:
    """One sample of nested arrays `(samples, ...)`. Arrays `(1, ...)` are for all samples."""
    return tf.nest.map_structure(lambda v: v[i : i + 1] if v.shape[0] > 1 else v, values)


def split_for_scalar_losses(values: Any, samples: int, terms: Sequence[Term]) -> list[Any]:
    """Splits nested arrays into single samples if a loss is an `Expression`, a scalar."""
    if not any(isinstance(term, Expression) for term in terms):
        return [values]
    return [select_sample(values, i) for i in range(samples)]

"""The step of attribution: what a network says of images, and what it owes to which part."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, Target, TensorRef
from vis.backend.step.compiled import CompiledFunction
from vis.backend.step.forward import evaluate_losses, feeds_of, named
from vis.backend.step.step_spec import Term

# Those of questions without any `Expression`, which would keep the model alive.
compiled_scores = WeakCache()


class ScoreOutput(NamedTuple):
    """What a network has said."""

    overall: Any  # The weighted sum of the losses, (samples,).
    values: list[Any]  # The value at each place, (samples, ...).
    grads: list[Any]  # The gradient of `overall` by each, or nothing where they are not wanted.


class ScoreSpec(NamedTuple):
    """Everything that a trace depends on.

    One trace serves all single images, and a second all batches of several, of whatever size; an
    axis that is open in the model may have any size, too.
    """

    fed: tuple[TensorRef, ...]  # What is given values: the graph's inputs, or what is made of them.
    terms: tuple[Term, ...]
    places: tuple[TensorRef, ...]  # Where values are wanted.
    differentiate: bool  # Whether the gradients with respect to these are wanted too.
    activations: tuple[Any, ...]  # Weak references to those that the trace is made with.

    def compiled(self) -> CompiledFunction:
        """It, asked with `(samples, ...)` of what is fed, and parameters and weights of terms.

        Parameters are the tensors that formulas are called with, by name; their first axis is the
        samples', of length 1 where one value serves all. Weights are `(terms,)`.
        """
        return CompiledFunction(self._answer, _refusal, self._of_any_number)

    def _of_any_number(
        self, shown: list[Any], parameters: list[dict[str, Any]], weights: Any
    ) -> tuple:
        # With the number of samples known, a step takes a quarter less time.
        samples = 1 if len(shown[0]) == 1 else None
        specs = [
            tf.TensorSpec([samples, *place.shape[1:]], values.dtype)
            for place, values in zip(self.fed, shown, strict=True)
        ]
        others = tf.nest.map_structure(
            lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), (parameters, weights)
        )
        return specs, *others

    def _answer(
        self, run: Callable, shown: list[Any], parameters: list[dict[str, Any]], weights: Any
    ) -> ScoreOutput:
        pairs, dtype = list(zip(self.fed, shown, strict=True)), weights.dtype
        losses, values = evaluate_losses(run, pairs, self.terms, parameters, self.places, dtype)
        overall = tf.zeros(tf.shape(shown[0])[:1], dtype)
        for number, value in enumerate(losses):
            overall += weights[number] * value
        grads = tf.gradients(overall, values) if self.differentiate else []
        for place, grad in zip(self.places, grads, strict=False):
            if grad is None:
                name = place.operation().name
                raise ValueError(
                    f"No gradient flows from the losses {named(self.terms)} back to "
                    f"'{name}'. It must lie before what the losses look at, with nothing in "
                    "between that cannot be differentiated. "
                    f"Received: the output of '{name}', of shape {place.shape}"
                )
        # In types that NumPy has, as float16 and bfloat16 overflow or are not known.
        readable = tf.nest.map_structure(
            lambda v: tf.cast(v, tf.float32) if v.dtype.size < 4 else v, (values, grads)
        )
        return ScoreOutput(overall, *readable)


def _refusal(reason: str, shown: list[Any], *_: Any) -> str:
    # Sizes of open axes and numbers of words are only known to fit once they are seen.
    values = shown[0]
    return (
        f"`seed_input` must have a size and values that the model takes: {reason}. Received: "
        f"values of shape {values.shape}, from {np.min(values)} to {np.max(values)}"
    )


def value_of(
    graph: Graph,
    target: Target | keras.KerasTensor,
    images: Any,
    input_tensor: keras.KerasTensor | None = None,
) -> np.ndarray:
    """What a layer or tensor is for `(samples, ...)` in one input, the others as in `feeds_of`."""
    if isinstance(target, keras.KerasTensor):
        place = TensorRef.of(target)
    else:
        graph.check_has("layer", target)
        place = graph.ref_of(target)
    first = graph.inputs[0] if input_tensor is None else input_tensor
    images = np.asarray(images, object if first.dtype == "string" else first.dtype)
    fed, shown = zip(*feeds_of(graph, first, tf.convert_to_tensor(images)), strict=True)
    question = ScoreSpec(tuple(map(TensorRef.of, fed)), (), (place,), False, graph.activations())
    compiled = compiled_scores.get(graph.owner, question, question.compiled)
    return compiled(graph, None, list(shown), [], tf.zeros([0])).values[0].numpy()

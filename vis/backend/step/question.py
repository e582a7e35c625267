"""The step of attribution: what a network says of images, and what it owes to which part.

It is the step of activation maximization without the descent: weighted losses of the images, the
values of some tensors on the way, and the gradients of the losses with respect to these.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, Place, Target
from vis.backend.step.compiled import Compiled
from vis.backend.step.look import look, named, nothing
from vis.backend.step.problem import Term

# Those of questions without any `Expression`, which would keep the model alive.
inquiries = WeakCache()

_NO_WEIGHTS = np.zeros(0, "float32")


class Question(NamedTuple):
    """Everything that a trace depends on."""

    fed: tuple[Place, ...]  # What is given values: the graph's inputs, or what is made of them.
    terms: tuple[Term, ...]
    places: tuple[Place, ...]  # Where values are wanted.
    differentiate: bool  # Whether the gradients with respect to these are wanted too.
    activations: tuple[Any, ...]  # Weak references to those that the trace is made with.


class Answer(NamedTuple):
    """What a network has said."""

    overall: Any  # The weighted sum of the losses, (samples,).
    values: list[Any]  # The value at each place, (samples, ...).
    grads: list[Any]  # The gradient of `overall` by each, or nothing where they are not wanted.


class Inquiry:
    """A question, compiled when it is first asked.

    One trace serves all single images, and a second all batches of several, of whatever size; an
    axis that is open in the model may have any size, too.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._compiled = Compiled(self._answer, _refusal, self._of_any_number)

    def __call__(
        self,
        graph: Graph,
        shown: Sequence[Any],
        parameters: Sequence[dict[str, Any]] = (),
        weights: Any = _NO_WEIGHTS,
    ) -> Answer:
        """Asks it of a graph, with values `(samples, ...)` of what is fed.

        Each term has a weight, `(terms,)`, and the tensors that its formula is called with, by
        name; their first axis is the samples', of length 1 where one value serves all.
        """
        tensors = tf.nest.map_structure(
            tf.convert_to_tensor, (list(shown), list(parameters), weights)
        )
        return self._compiled(graph, None, *tensors)

    def _of_any_number(
        self, shown: list[Any], parameters: list[dict[str, Any]], weights: Any
    ) -> tuple:
        # With the number of samples known, a step takes a quarter less time.
        samples = 1 if len(shown[0]) == 1 else None
        specs = [
            tf.TensorSpec([samples, *place.shape[1:]], values.dtype)
            for place, values in zip(self._question.fed, shown, strict=True)
        ]
        others = tf.nest.map_structure(
            lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), (parameters, weights)
        )
        return specs, *others

    def _answer(
        self, run: Callable, shown: list[Any], parameters: list[dict[str, Any]], weights: Any
    ) -> Answer:
        (fed, terms, places, differentiate, _), dtype = self._question, weights.dtype
        pairs = list(zip(fed, shown, strict=True))
        losses, values = look(run, pairs, terms, parameters, places, dtype)
        overall = tf.zeros(tf.shape(shown[0])[:1], dtype)
        for number, value in enumerate(losses):
            overall += weights[number] * value
        grads = self._gradients(overall, values) if differentiate else []
        return Answer(overall, *([_readable(v) for v in some] for some in (values, grads)))

    def _gradients(self, overall: Any, values: list[Any]) -> list[Any]:
        grads = tf.gradients(overall, values)
        for place, grad in zip(self._question.places, grads, strict=True):
            if grad is None:
                name = place.operation().name
                raise ValueError(
                    f"No gradient flows from the losses {named(self._question.terms)} back to "
                    f"'{name}'. It must lie before what the losses look at, with nothing in "
                    "between that cannot be differentiated. "
                    f"Received: the output of '{name}', of shape {place.shape}"
                )
        return grads


def _refusal(reason: str, shown: list[Any], *_: Any) -> str:
    # Sizes of open axes and numbers of words are only known to fit once they are seen.
    values = shown[0]
    return (
        f"`seed_input` must have a size and values that the model takes: {reason}. Received: "
        f"values of shape {values.shape}, from {np.min(values)} to {np.max(values)}"
    )


def _readable(value: Any) -> Any:
    """A value in a type that NumPy has, as float16 and bfloat16 overflow or are not known."""
    return tf.cast(value, tf.float32) if value.dtype.size < 4 else value


def value_of(
    graph: Graph,
    target: Target | keras.KerasTensor,
    images: Any,
    input_tensor: keras.KerasTensor | None = None,
) -> np.ndarray:
    """The output of a layer, or a tensor of the graph, for some images `(samples, ...)`.

    The images are values of `input_tensor`, by default the first input; the other inputs are shown
    zeros and empty texts.
    """
    if isinstance(target, keras.KerasTensor):
        place = Place.of(target)
    else:
        graph.check_has("layer", target)
        place = graph.place_of(target)
    first = graph.inputs[0] if input_tensor is None else input_tensor
    others = [tensor for tensor in graph.inputs if tensor is not first]
    images = np.asarray(images, object if first.dtype == "string" else first.dtype)
    fed = tuple(map(Place.of, [first, *others]))
    question = Question(fed, (), (place,), False, graph.activations())
    inquiry = inquiries.get(graph.owner, question, lambda: Inquiry(question))
    shown = [images, *(nothing(tensor, len(images)) for tensor in others)]
    return inquiry(graph, shown).values[0].numpy()

"""The step of attribution: what a network says of images, and what it owes to which part.

It is the step of activation maximization without the descent: weighted losses of the images, the
values of some tensors on the way, and the gradients of the losses with respect to these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, Place, Target, position_of
from vis.backend.layers import Folder, Unprepared
from vis.backend.step.compiled import Compiled
from vis.backend.step.look import look, named
from vis.backend.step.problem import Term

# Those of questions without any `Expression`, which would keep the model alive.
inquiries = WeakCache()


class Question(NamedTuple):
    """Everything that a trace depends on.

    Attributes:
        fed: What is given values: the graph's inputs, or what is made of them.
        terms: The losses.
        places: Where values are wanted.
        differentiate: Whether the gradients with respect to these are wanted too.
        activations: Weak references to the activation functions that the trace is made with.
    """

    fed: tuple[Place, ...]
    terms: tuple[Term, ...]
    places: tuple[Place, ...]
    differentiate: bool
    activations: tuple[Any, ...]


class Answer(NamedTuple):
    """What a network has said.

    Attributes:
        overall: The weighted sum of the losses, `(samples,)`.
        values: The value at each place, `(samples, ...)`.
        grads: The gradient of `overall` with respect to each, `(samples, ...)`, or nothing where
            they are not wanted.
    """

    overall: Any
    values: list[Any]
    grads: list[Any]


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
        parameters: list[dict[str, Any]] | None = None,
        weights: Any = (),
    ) -> Answer:
        """Asks it.

        Args:
            graph: The graph that the question is about.
            shown: The values that are fed, `(samples, ...)`.
            parameters: For each term the tensors that its formula is called with, by name; their
                first axis is the samples', of length 1 where one value serves all.
            weights: The weight of each term, `(terms,)`.
        """
        weights = np.asarray(weights, "float32") if len(weights) == 0 else weights
        tensors = tf.nest.map_structure(
            tf.convert_to_tensor, (list(shown), parameters or [], weights)
        )
        return self._compiled(graph, Unprepared(), *tensors)

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
        self,
        graph: Graph,
        ready: Any,
        shown: list[Any],
        parameters: list[dict[str, Any]],
        weights: Any,
    ) -> Answer:
        question, folder, dtype = self._question, Folder(ready), weights.dtype
        pairs = list(zip(question.fed, shown, strict=True))
        losses, values = look(
            graph, pairs, question.terms, parameters, question.places, folder, dtype
        )
        overall = tf.zeros(tf.shape(shown[0])[:1], dtype)
        for number, value in enumerate(losses):
            overall += weights[number] * value
        grads = self._gradients(overall, values) if question.differentiate else []
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
    """The output of a layer for some images.

    Args:
        graph: The graph.
        target: The layer, or a tensor of the graph.
        images: `(samples, ...)`.
        input_tensor: What the images are values of, by default the first input; of the others
            zeros and empty texts are shown.

    Raises:
        ValueError: If the layer is not connected to the input.
    """
    if isinstance(target, keras.KerasTensor):
        place = Place.of(target)
    else:
        graph.check_has("layer", target)
        place = graph.place_of(target)
    fed = list(graph.inputs)
    first = fed[0] if input_tensor is None else input_tensor
    if any(first is tensor for tensor in fed):
        fed.insert(0, fed.pop(position_of(first, fed)))
    else:
        fed.insert(0, first)
    images = np.asarray(images, _array_type(first))
    nothing = [
        np.full(
            (len(images), *(size or 1 for size in t.shape[1:])),
            "" if t.dtype == "string" else 0,
            _array_type(t),
        )
        for t in fed[1:]
    ]
    question = Question(tuple(map(Place.of, fed)), (), (place,), False, graph.activations())
    inquiry = inquiries.get(graph.owner, question, lambda: Inquiry(question))
    return inquiry(graph, [images, *nothing]).values[0].numpy()


def _array_type(tensor: keras.KerasTensor) -> Any:
    return object if tensor.dtype == "string" else tensor.dtype

"""The compiled step of attribution: what a network says of images, and what it owes to which part.

It is the step of activation maximization without the descent: weighted losses of the images, the
values of some tensors on the way, and the gradients of the losses with respect to these.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.engine import Expression, Formula
from vis.backend.errors import reason_of
from vis.backend.folding import Folder
from vis.backend.network import Handle, Network, Place, Source, fed
from vis.backend.roots import Inputs
from vis.backend.weights import Inline
from vis.utils.model import LayerOutput


class Question(NamedTuple):
    """Everything that a trace depends on.

    Attributes:
        source: The network's inputs and model; images are fed to the first, the others are fixed.
        terms: The losses, each a `Formula` or an `Expression`.
        tensors: The places whose values are wanted.
        differentiate: Whether the gradients with respect to `tensors` are wanted too.
        activations: Weak references to the activation functions that the trace is made with.
    """

    source: Source
    terms: tuple[Formula | Expression, ...]
    tensors: tuple[Place, ...]
    differentiate: bool
    activations: tuple[Any, ...]


class Answer(NamedTuple):
    """What a network has said.

    Attributes:
        overall: The weighted sum of the losses, `(samples,)`.
        values: The value of each tensor, `(samples, ...)`.
        grads: The gradient of `overall` with respect to each tensor, `(samples, ...)`, or nothing
            where they are not wanted.
    """

    overall: Any
    values: list[Any]
    grads: list[Any]


class Inquiry:
    """A question, compiled when it is first asked.

    One trace serves all single images, and a second all batches of several, of whatever size; an
    axis that is open in the model may have any size, too.

    Attributes:
        traces: Number of traces made so far.
    """

    def __init__(self, question: Question) -> None:
        self.traces = 0
        self._compiled: dict[tuple, Callable] = {}
        self._lock = threading.Lock()
        self._question = question

    def __call__(
        self, images: Any, fixed: list[Any], parameters: list[dict[str, Any]], weights: Any
    ) -> Answer:
        """Asks it.

        Args:
            images: `(samples, ...)`.
            fixed: The values of the other inputs, `(samples, ...)`.
            parameters: For each term the tensors that its formula is called with, by name; their
                first axis is the samples', of length 1 where one value serves all.
            weights: The weight of each term, `(terms,)`.
        """
        args = tf.nest.map_structure(tf.convert_to_tensor, (images, fixed, parameters, weights))
        # With the number of samples known, a step takes a quarter less time.
        samples = 1 if len(images) == 1 else None
        shown = [
            tf.TensorSpec([samples, *handle.tensor.shape[1:]], values.dtype)
            for handle, values in zip(
                self._question.source.handles, (args[0], *args[1]), strict=True
            )
        ]
        specs = (
            shown[0],
            shown[1:],
            *tf.nest.map_structure(
                lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), args[2:]
            ),
        )
        key = tuple((spec.dtype, *spec.shape) for spec in tf.nest.flatten(specs))
        with self._lock:
            if key not in self._compiled:
                traced = tf.function(self._trace, autograph=False)
                self._compiled[key] = traced.get_concrete_function(*specs)
        try:
            return self._compiled[key](*args)
        except (tf.errors.InvalidArgumentError, tf.errors.AbortedError) as error:
            # Sizes of open axes and numbers of words are only known to fit once they are seen.
            raise ValueError(
                "`seed_input` must have a size and values that the model takes: "
                f"{reason_of(error)}. Received: values of shape {args[0].shape}, "
                f"from {np.min(args[0])} to {np.max(args[0])}"
            ) from None

    def _trace(
        self, images: Any, fixed: list[Any], parameters: list[dict[str, Any]], weights: Any
    ) -> Answer:
        self.traces += 1
        question = self._question
        network = Network(question.source.inputs)
        targets = [
            term.target if isinstance(term, Formula) else term.tensor for term in question.terms
        ]
        feeds = [
            fed(values, tensor.dtype)
            for values, tensor in zip((images, *fixed), network.inputs, strict=True)
        ]
        folder = Folder(Inline())
        found = network.run(feeds, [*targets, *question.tensors], folder)
        overall = tf.zeros(tf.shape(images)[:1], images.dtype)
        losses, values = found[: len(targets)], found[len(targets) :]
        for number, (term, value) in enumerate(zip(question.terms, losses, strict=True)):
            if isinstance(term, Formula):
                value = term.function(value, **parameters[number], **dict(term.settings))
            overall += weights[number] * tf.reshape(tf.cast(value, images.dtype), [-1])
        grads = _gradients(overall, values, question.tensors) if question.differentiate else []
        return Answer(overall, *([_readable(v) for v in some] for some in (values, grads)))


def _gradients(overall: Any, values: list[Any], places: Sequence[Place]) -> list[Any]:
    grads = tf.gradients(overall, values)
    for place, grad in zip(places, grads, strict=True):
        if grad is None:
            name = place.operation().name
            raise ValueError(
                f"No gradient flows from the losses back to '{name}'. It must lie before what the "
                "losses look at, with nothing in between that cannot be differentiated. "
                f"Received: the output of '{name}', of shape {place.shape}"
            )
    return grads


def _readable(value: Any) -> Any:
    """A value in a type that NumPy has, as float16 and bfloat16 overflow or are not known."""
    return tf.cast(value, tf.float32) if value.dtype.size < 4 else value


_inquiries = WeakCache()


def inquiry_for(question: Question) -> Inquiry:
    """The compiled question, shared by all who ask the same for as long as its model lives.

    Args:
        question: A question without any `Expression`, which would keep the model alive.
    """
    return _inquiries.get(question.source.owner, question, lambda: Inquiry(question))


def value_of(
    inputs: Inputs, target: keras.Layer | LayerOutput | keras.KerasTensor, images: Any
) -> np.ndarray:
    """The output of a layer for some images.

    Args:
        inputs: The inputs of the layer's model, that of the images first; of the others zeros and
            empty texts are shown.
        target: The layer, or a tensor of the model.
        images: `(samples, ...)`.

    Raises:
        ValueError: If the layer is not connected to the input.
    """
    network = Network(inputs)
    if isinstance(target, keras.KerasTensor):
        place: Place = Handle.of(target)
    else:
        network.check_has("layer", target)
        place = network.place_of(target)
    question = Question(Source.of(network.inputs), (), (place,), False, network.activations())
    shown, *others = network.inputs
    dtype = object if shown.dtype == "string" else shown.dtype
    images = np.asarray(images, dtype)
    nothing = [
        np.full((len(images), *(size or 1 for size in t.shape[1:])), "", object)
        if t.dtype == "string"
        else np.zeros((len(images), *(size or 1 for size in t.shape[1:])), t.dtype)
        for t in others
    ]
    answer = inquiry_for(question)(images, nothing, [], np.zeros(0, "float32"))
    return answer.values[0].numpy()

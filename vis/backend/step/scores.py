"""The compiled step of attribution: scores of images, and their gradients."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import ModelInputs, Target, TensorRef
from vis.backend.layers import record_attention
from vis.backend.private import gradients
from vis.backend.step.compiled import CompiledFunction
from vis.backend.step.forward import evaluate_losses
from vis.backend.step.step_spec import Formula, Term

# Compiled specs without an `Expression`, which would keep the model alive.
compiled_scores = WeakCache()
# Probabilities in half precision sum to 1 to within this.
_SUM_TOLERANCE = 1e-2


class ScoreOutput(NamedTuple):
    """Scores, and values and gradients of tensors."""

    scores: Any  # The weighted sum of the losses, (samples,).
    values: list[Any]  # The value of each tensor of `ScoreSpec.target_refs`, (samples, ...).
    grads: list[Any]  # The gradient of `scores` by each, or an empty list.
    # Of each term with channels: whether these are probabilities that sum to 1, (samples,).
    are_probabilities: list[Any]


class ScoreSpec(NamedTuple):
    """Everything that a trace depends on.

    One trace serves all single images, and a second one all larger batches. Axes that are None in
    the model may have any size.
    """

    input_refs: tuple[TensorRef, ...]  # The tensors that get values.
    terms: tuple[Term, ...]
    target_refs: tuple[TensorRef, ...]  # The tensors whose values are requested.
    differentiate: bool  # Whether gradients with respect to these are requested, too.
    activations: tuple[Any, ...]  # Weak references to the model's activation functions.
    precision: str | None = None  # The dtype that the model computes in; None for its own.
    # Whether the targets are the scores of all self-attention that the losses depend on.
    attention: bool = False

    def compile(self) -> CompiledFunction:
        """A function of inputs, parameters and weights that returns a `ScoreOutput`.

        Inputs are `(samples, ...)` for each of `input_refs`. Parameters are a dict of tensors for
        each term, `(samples, ...)`, or `(1, ...)` for all samples. Weights are `(terms,)`.
        """
        return CompiledFunction(
            self._evaluate, _error_message, self._input_specs, precision=self.precision
        )

    def _input_specs(
        self, inputs: list[Any], parameters: list[dict[str, Any]], weights: Any
    ) -> tuple:
        # With a known number of samples, a step takes a quarter less time.
        samples = 1 if len(inputs[0]) == 1 else None
        specs = [
            tf.TensorSpec([samples, *ref.shape[1:]], values.dtype)
            for ref, values in zip(self.input_refs, inputs, strict=True)
        ]
        others = tf.nest.map_structure(
            lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), (parameters, weights)
        )
        return specs, *others

    def _evaluate(
        self, run: Callable, inputs: list[Any], parameters: list[dict[str, Any]], weights: Any
    ) -> ScoreOutput:
        feeds, dtype = list(zip(self.input_refs, inputs, strict=True)), weights.dtype
        explained = [term for term in self.terms if isinstance(term, Formula)]
        refs = (*self.target_refs, *(term.target for term in explained))
        with record_attention() if self.attention else contextlib.nullcontext() as attention:
            losses, values = evaluate_losses(run, feeds, self.terms, parameters, refs, dtype)
        values, outputs = values[: len(self.target_refs)], values[len(self.target_refs) :]
        channels = [dict(term.settings).get("axis") for term in explained]
        are_probabilities = [
            _are_probabilities(output, axis)
            for output, axis in zip(outputs, channels, strict=True)
            if isinstance(axis, int) and axis < len(output.shape) and output.shape[axis] != 1
        ]
        scores = tf.zeros(tf.shape(inputs[0])[:1], dtype)
        for i, loss in enumerate(losses):
            scores += weights[i] * loss
        if attention is not None:
            # Those of a loop inside a layer cannot be reached.
            values = [v for v in attention if v.graph is scores.graph]
        grads = gradients(scores, values) if self.differentiate and values else []
        if attention is not None:
            on_path = [pair for pair in zip(values, grads, strict=True) if pair[1] is not None]
            values, grads = ([pair[i] for pair in on_path] for i in range(2))
        for ref, grad in zip(self.target_refs, grads, strict=False):
            if grad is None:
                name, names = ref.operation().name, " and ".join(t.name for t in self.terms)
                raise ValueError(
                    f"No gradient flows from the losses {names} back to '{name}'. Choose a layer "
                    "before those of the losses, with only differentiable operations in between. "
                    f"Received: the output of '{name}', of shape {ref.shape}"
                )
        # NumPy has no bfloat16, and float16 overflows in later sums.
        values, grads = tf.nest.map_structure(
            lambda v: tf.cast(v, tf.float32) if v.dtype.size < 4 else v, (values, grads)
        )
        return ScoreOutput(scores, values, grads, are_probabilities)


def _are_probabilities(output: Any, axis: int) -> Any:
    """Whether the channels of each sample are positive and sum to 1, (samples,)."""
    output = tf.cast(output, tf.float32)
    sums = tf.reduce_sum(output, axis=axis, keepdims=True)
    holds = (output > 0) & (tf.abs(sums - 1) < _SUM_TOLERANCE)
    return tf.reduce_all(holds, axis=list(range(1, len(output.shape))))


def _error_message(reason: str, inputs: list[Any], *_: Any) -> str:
    values = inputs[0]
    return (
        f"`seed_input` must have a size and values that the model accepts ({reason}). Received: "
        f"values of shape {values.shape}, from {np.min(values)} to {np.max(values)}"
    )


def evaluate_tensor(
    inputs: ModelInputs, target: Target | keras.KerasTensor, images: Any
) -> np.ndarray:
    """The value of a layer or tensor for images `(samples, ...)` in the input that varies."""
    graph = inputs.graph
    if isinstance(target, keras.KerasTensor):
        ref = TensorRef.of(target)
    else:
        graph.check_has("layer", target)
        ref = graph.ref_of(target)
    refs = tuple(map(TensorRef.of, inputs.tensors))
    spec = ScoreSpec(refs, (), (ref,), False, graph.activations())
    compiled = compiled_scores.get(graph.owner, spec, spec.compile)
    values = list(map(tf.convert_to_tensor, inputs.complete(images)))
    return compiled(graph, None, values, [], tf.zeros([0])).values[0].numpy()

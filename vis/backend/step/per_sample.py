"""Loops over the samples of a batch, so that a picture does not depend on the others.

On a CPU, kernels split up their sums by batch size, and over a hundred steps the rounding errors
grow into another picture. Single samples cost no more there. On a GPU batches stay whole.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from vis.backend import device
from vis.backend.private import map_function
from vis.backend.step.step_spec import State, StepInputs, StepOutput, StepSpec

# No limit, as an argument of TensorFlow's `MapDefun`.
_ALL_THREADS = 0
# Number of samples at a time per available thread. More evict each other from the CPU's caches.
_PER_THREAD = 2


def use_per_sample_loop(spec: StepSpec, samples: int) -> bool:
    """Whether each sample of a batch is optimised in a loop of its own."""
    if samples == 1 and spec.threads is None:
        return False
    couples_samples = any(term.couples_samples for term in spec.terms)
    return not (couples_samples or spec.is_stateful or device.has_gpu())


def run_in_chunks(
    loop: Callable, threads: int | None, state: State, step_inputs: StepInputs, steps: Any
) -> tuple[State, StepOutput, Any]:
    """Calls `loop` with the states and inputs of a few samples at a time."""
    available, samples = device.num_threads(), state.best_loss.shape[0]
    chunk_size = _PER_THREAD * max(1, available // (threads or available))
    parameters = tf.nest.map_structure(
        lambda p: tf.repeat(p, samples, axis=0) if p.shape[0] == 1 else p, step_inputs.parameters
    )
    step_inputs = step_inputs._replace(parameters=parameters)
    chunks = [slice(first, first + chunk_size) for first in range(0, samples, chunk_size)]
    parts = [
        loop(*_map_per_sample(operator.itemgetter(chunk), state, step_inputs), steps)
        for chunk in chunks
    ]
    joined, output, losses = tf.nest.map_structure(lambda *ts: tf.concat(ts, axis=0), *parts)
    # Scalars are shared by all samples. If one sample fails, all stop.
    joined = joined._replace(step=tf.reduce_min(joined.step), failed=tf.reduce_any(joined.failed))
    state = tf.nest.map_structure(
        lambda new, old: new if new.shape.rank == old.shape.rank else new[0], joined, state
    )
    output = output._replace(losses=tf.transpose(output.losses))
    return state, output, tf.transpose(losses, [1, 2, 0])


def loop_per_sample(
    loop: Callable, threads: int | None, state: State, step_inputs: StepInputs, steps: Any
) -> tuple[State, StepOutput, Any]:
    """Calls `loop` with each sample as a batch of one. All outputs have an axis of samples."""

    def loop_sample(*tensors: Any) -> tuple[State, StepOutput, Any]:
        remaining = iter(tensors)
        sample = _map_per_sample(lambda t: next(remaining), state, step_inputs)
        new_state, output, losses = loop(*sample, steps)
        output = output._replace(losses=tf.transpose(output.losses))
        return new_state, output, tf.transpose(losses, [2, 0, 1])

    tensors = [t for t in tf.nest.flatten(_per_sample(state, step_inputs)) if t.shape.rank]
    return map_samples(loop_sample, tensors, threads)


def map_images(function: Callable[..., list[Any]], tensors: Sequence[Any]) -> list[Any]:
    """Calls a function with a batch: on a CPU image by image, each with one thread.

    The last digits then depend neither on the size of the batch nor on the number of threads.
    """
    return function(*tensors) if device.has_gpu() else map_samples(function, tensors, threads=1)


def map_samples(function: Callable, tensors: Sequence[Any], threads: int | None) -> Any:
    """Calls a function with samples as batches of one, several at the same time.

    `threads` is the number of threads per sample, or None for all.
    """

    def call(*sample: Any) -> Any:
        outputs = function(*(values[None] for values in sample))
        return tf.nest.map_structure(
            lambda t: tf.squeeze(t, axis=0) if t.shape.rank else t, outputs
        )

    specs = [tf.TensorSpec(t.shape[1:], t.dtype) for t in tensors]
    traced = tf.function(call, autograph=False).get_concrete_function(*specs)
    outputs = map_function(
        arguments=list(tensors),
        captured_inputs=traced.captured_inputs,
        output_types=[t.dtype for t in traced.outputs],
        output_shapes=[t.shape for t in traced.outputs],
        f=traced,
        max_intra_op_parallelism=threads or _ALL_THREADS,
    )
    return tf.nest.pack_sequence_as(traced.structured_outputs, outputs)


def input_specs(state: State, step_inputs: StepInputs, steps: Any) -> tuple:
    """The specs of the inputs of `loop_per_sample` for any number of samples."""

    def spec(tensor: Any) -> tf.TensorSpec:
        return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)

    return *_map_per_sample(spec, state, step_inputs), steps


def _per_sample(state: State, step_inputs: StepInputs) -> tuple:
    """The tensors with an axis of samples; scalars among them are shared."""
    return state, step_inputs.parameters, step_inputs.seeds, step_inputs.fixed


def _map_per_sample(
    function: Callable, state: State, step_inputs: StepInputs
) -> tuple[State, StepInputs]:
    """Applies a function to all tensors with an axis of samples."""
    state, parameters, seeds, fixed = tf.nest.map_structure(
        lambda t: function(t) if t.shape.rank else t, _per_sample(state, step_inputs)
    )
    return state, step_inputs._replace(parameters=parameters, seeds=seeds, fixed=fixed)

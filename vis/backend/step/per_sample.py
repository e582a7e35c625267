"""Samples that descend each in a loop of its own, so that none depends on its neighbours.

How a processor's kernels split up their sums depends on the size of the batch, and over a hundred
steps the rounding grows into another picture. One by one, which on a processor costs nothing, a
picture does not depend on its neighbours at all. On a GPU it would cost too much.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from vis.backend import device
from vis.backend.private import map_function
from vis.backend.step.step_spec import State, StepInputs, StepOutput, StepSpec

# What an operation of TensorFlow's takes for no limit to the threads that work on it.
_ALL_THREADS = 0
# How many samples descend at a time for each that there are threads for; more crowd each other
# out of the caches.
_PER_THREAD = 2


def use_per_sample_loop(problem: StepSpec, samples: int) -> bool:
    """Whether the samples of a batch descend each in a loop of its own."""
    if samples == 1 and problem.threads is None:
        return False
    couples_samples = any(term.couples_samples for term in problem.terms)
    return not (couples_samples or problem.is_stateful or device.has_gpu())


def run_in_chunks(
    loops: Callable, threads: int | None, state: State, given: StepInputs
) -> tuple[State, StepOutput]:
    """What `loops` makes of the states of all samples and what they are given, some at a time."""
    processors, samples = device.processors(), state.best_loss.shape[0]
    split_for_scalar_losses = _PER_THREAD * max(1, processors // (threads or processors))
    parameters = tf.nest.map_structure(
        lambda p: tf.repeat(p, samples, axis=0) if p.shape[0] == 1 else p, given.parameters
    )
    given = given._replace(parameters=parameters)
    turns = [
        slice(first, first + split_for_scalar_losses)
        for first in range(0, samples, split_for_scalar_losses)
    ]
    parts = [loops(*_with_own(operator.itemgetter(some), state, given)) for some in turns]
    found, seen = tf.nest.map_structure(lambda *each: tf.concat(each, axis=0), *parts)
    # One sample that failed stops all, and what else is a scalar is everybody's.
    found = found._replace(step=tf.reduce_min(found.step), failed=tf.reduce_any(found.failed))
    joined = tf.nest.map_structure(
        lambda new, old: new if new.shape.rank == old.shape.rank else new[0], found, state
    )
    return joined, seen._replace(losses=tf.transpose(seen.losses))


def loops(
    loop: Callable, threads: int | None, state: State, given: StepInputs, steps: Any
) -> tuple[State, StepOutput]:
    """What `loop` makes of each sample, as a batch of one. All it makes has an axis of samples."""

    def alone(*sample: Any) -> tuple[State, StepOutput]:
        remaining = iter(sample)
        found, seen = loop(*_with_own(lambda t: next(remaining), state, given), steps)
        return found, seen._replace(losses=tf.transpose(seen.losses))

    own = [t for t in tf.nest.flatten(_own(state, given)) if t.shape.rank]
    return map_samples(alone, own, threads)


def image_by_image(function: Callable[..., list[Any]], tensors: Sequence[Any]) -> list[Any]:
    """What a function makes of a batch: on a processor of each image by itself, by one thread.

    How kernels split up their sums depends on the size of a batch and on the number of threads,
    and so would the last digits.
    """
    return function(*tensors) if device.has_gpu() else map_samples(function, tensors, threads=1)


def map_samples(function: Callable, tensors: Sequence[Any], threads: int | None) -> Any:
    """What a function makes of samples as batches of one, several of them at the same time.

    `threads` is how many share the work on one sample, or None for all.
    """

    def alone(*sample: Any) -> Any:
        found = function(*(values[None] for values in sample))
        return tf.nest.map_structure(lambda t: tf.squeeze(t, axis=0) if t.shape.rank else t, found)

    specs = [tf.TensorSpec(t.shape[1:], t.dtype) for t in tensors]
    traced = tf.function(alone, autograph=False).get_concrete_function(*specs)
    results = map_function(
        arguments=list(tensors),
        captured_inputs=traced.captured_inputs,
        output_types=[t.dtype for t in traced.outputs],
        output_shapes=[t.shape for t in traced.outputs],
        f=traced,
        max_intra_op_parallelism=threads or _ALL_THREADS,
    )
    return tf.nest.pack_sequence_as(traced.structured_outputs, results)


def of_any_number(state: State, given: StepInputs, steps: Any) -> tuple:
    """What `loops` is traced with, for whatever number of samples."""
    each = _with_own(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), state, given)
    return *each, steps


def _own(state: State, given: StepInputs) -> tuple:
    """What each sample has a value of its own of; the scalars in it are everybody's."""
    return state, given.parameters, given.seeds, given.fixed


def _with_own(function: Callable, state: State, given: StepInputs) -> tuple[State, StepInputs]:
    """The same with other values of what each sample has its own of."""
    state, parameters, seeds, fixed = tf.nest.map_structure(
        lambda t: function(t) if t.shape.rank else t, _own(state, given)
    )
    return state, given._replace(parameters=parameters, seeds=seeds, fixed=fixed)

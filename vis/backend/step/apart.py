"""Samples that descend each in a loop of its own, so that none depends on its neighbours.

How a processor's kernels split up their sums depends on the size of the batch, and over a hundred
steps the rounding grows into another picture. One by one, which on a processor costs nothing, a
picture does not depend on its neighbours at all. On a GPU it would cost too much.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from vis.backend import device
from vis.backend.private import map_function
from vis.backend.step.problem import Given, Observation, Problem, State

# What an operation of TensorFlow's takes for no limit to the threads that work on it.
_ALL_THREADS = 0
# How many samples descend at a time for each that there are threads for; more crowd each other
# out of the caches.
_PER_THREAD = 2


def is_better(problem: Problem, samples: int) -> bool:
    """Whether the samples of a batch descend each in a loop of its own."""
    if samples == 1 and problem.threads is None:
        return False
    couples_samples = any(term.couples_samples for term in problem.terms)
    return not (couples_samples or problem.is_stateful or device.has_gpu())


def in_turns(
    loops: Callable, threads: int | None, state: State, given: Given
) -> tuple[State, Observation]:
    """What `loops` makes of the states of all samples and what they are given, some at a time."""
    processors = device.processors()
    at_once = _PER_THREAD * max(1, processors // (threads or processors))
    parts = [
        loops(*_of_samples(first, first + at_once, state, given))
        for first in range(0, state.best_loss.shape[0], at_once)
    ]
    states, seen = zip(*parts, strict=True)
    joined = tf.nest.map_structure(_joined, *states)
    losses = tf.concat([s.losses for s in seen], axis=1)
    rest = tf.nest.map_structure(_joined, *(s._replace(losses=()) for s in seen))
    steps, failed = [s.step for s in states], [s.failed for s in states]
    return _of_all(joined, steps, failed), rest._replace(losses=losses)


def loops(
    loop: Callable, threads: int | None, state: State, given: Given, steps: Any
) -> tuple[State, Observation]:
    """The loops of all samples at the same time, each that of a batch of one, `loop`."""
    own = [t for t in tf.nest.flatten(_own(state, given)) if t.shape.rank]

    def alone(*slices: Any) -> tuple[State, Observation]:
        remaining = iter(slices)
        return loop(*_with_own(lambda t: next(remaining)[None], state, given), steps)

    states, seen = one_by_one(alone, own, threads)
    joined = tf.nest.map_structure(_without_batch, states)
    rest = tf.nest.map_structure(_without_batch, seen._replace(losses=()))
    losses = tf.transpose(seen.losses[:, :, 0])
    return _of_all(joined, states.step, states.failed), rest._replace(losses=losses)


def image_by_image(function: Callable[..., list[Any]], tensors: Sequence[Any]) -> list[Any]:
    """What a function makes of a batch: on a processor of each image by itself, by one thread.

    How kernels split up their sums depends on the size of a batch and on the number of threads,
    and so would the last digits.
    """
    if device.has_gpu():
        return function(*tensors)

    def alone(*sample: Any) -> list[Any]:
        return [found[0] for found in function(*(values[None] for values in sample))]

    return one_by_one(alone, tensors, threads=1)


def one_by_one(function: Callable, tensors: Sequence[Any], threads: int | None) -> Any:
    """What a function makes of the samples of some tensors, one by one, several at the same time.

    `threads` is how many share the work on one sample, or None for all.
    """
    specs = [tf.TensorSpec(t.shape[1:], t.dtype) for t in tensors]
    alone = tf.function(function, autograph=False).get_concrete_function(*specs)
    results = map_function(
        arguments=list(tensors),
        captured_inputs=alone.captured_inputs,
        output_types=[t.dtype for t in alone.outputs],
        output_shapes=[t.shape for t in alone.outputs],
        f=alone,
        max_intra_op_parallelism=threads or _ALL_THREADS,
    )
    return tf.nest.pack_sequence_as(alone.structured_outputs, results)


def of_any_number(state: State, given: Given, steps: Any) -> tuple:
    """What `loops` is traced with, for whatever number of samples."""
    state, given, steps = tf.nest.map_structure(
        lambda t: tf.TensorSpec(t.shape, t.dtype), (state, given, steps)
    )
    each = _with_own(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), state, given)
    return *each, steps


def _of_samples(first: int, end: int, state: State, given: Given) -> tuple[State, Given]:
    """What some of the samples need, each with values of its own."""
    samples = state.best_loss.shape[0]
    parameters = tf.nest.map_structure(
        lambda p: tf.repeat(p, samples, axis=0) if p.shape[0] == 1 else p, given.parameters
    )
    return _with_own(lambda t: t[first:end], state, given._replace(parameters=parameters))


def _own(state: State, given: Given) -> tuple:
    """What each sample has a value of its own of; the scalars in it are everybody's."""
    return state, given.parameters, given.seeds, given.fixed


def _with_own(function: Callable, state: State, given: Given) -> tuple[State, Given]:
    """The same with other values of what each sample has its own of."""
    state, parameters, seeds, fixed = tf.nest.map_structure(
        lambda t: function(t) if t.shape.rank else t, _own(state, given)
    )
    return state, given._replace(parameters=parameters, seeds=seeds, fixed=fixed)


def _of_all(state: State, steps: Any, failed: Any) -> State:
    """The state of all samples, of which one that failed stops all."""
    return state._replace(step=tf.reduce_min(steps), failed=tf.reduce_any(failed))


def _without_batch(results: Any) -> Any:
    """What single samples have made, without the axis of their batches of one."""
    return tf.squeeze(results, axis=1) if results.shape.rank > 1 else results[0]


def _joined(*parts: Any) -> Any:
    """The tensors of some samples as those of all; scalars are everybody's."""
    return tf.concat(parts, axis=0) if parts[0].shape.rank else parts[0]

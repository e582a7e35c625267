"""Samples that descend each in a loop of its own, so that none depends on its neighbours.

How a processor's kernels split up their sums depends on the size of the batch, and over a hundred
steps the rounding grows into another picture. One by one, which on a processor costs nothing, a
picture does not depend on its neighbours at all. On a GPU it would cost too much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from vis.backend import device
from vis.backend.private import map_function
from vis.backend.step.look import couples_samples
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
    stateful = problem.update is not None and not problem.update.stateless
    return not (couples_samples(problem.terms) or stateful or device.has_gpu())


def in_turns(loops: Callable, threads: int | None, state: State, given: Given) -> tuple:
    """What `loops` makes of all samples, some of them at a time.

    Args:
        loops: Called with the states of some samples and what they are given.
        threads: How many threads share the work on one sample, or None for all.
        state: Of all samples.
        given: To all samples.
    """
    processors = device.processors()
    at_once = _PER_THREAD * max(1, processors // (threads or processors))
    parts = [
        loops(*_of_samples(first, first + at_once, state, given))
        for first in range(0, state.best_loss.shape[0], at_once)
    ]
    states, seen = zip(*parts, strict=True)
    joined = tf.nest.map_structure(_joined, *states)._replace(
        step=tf.reduce_min([s.step for s in states]),
        failed=tf.reduce_any([s.failed for s in states]),
    )
    losses = tf.concat([s.losses for s in seen], axis=1)
    rest = [s._replace(losses=()) for s in seen]
    return joined, tf.nest.map_structure(_joined, *rest)._replace(losses=losses)


def loops(
    loop: Callable, threads: int | None, state: State, given: Given, steps: Any
) -> tuple[State, Observation]:
    """The loops of all samples at the same time, each as if there were no other.

    Args:
        loop: The loop of a batch of one.
        threads: How many threads share the work on one sample, or None for all.
        state: Of all samples.
        given: To all samples.
        steps: How many steps to take.
    """
    structure = (state, given.parameters, given.seeds, given.fixed)
    flat = tf.nest.flatten(structure)
    own = [t for t in flat if t.shape.rank]

    @tf.function(autograph=False)
    def alone(*slices: Any) -> tuple[State, Observation]:
        remaining = iter(slices)
        values = [next(remaining)[None] if t.shape.rank else t for t in flat]
        state, parameters, seeds, fixed = tf.nest.pack_sequence_as(structure, values)
        own_given = given._replace(parameters=parameters, seeds=seeds, fixed=fixed)
        return loop(state, own_given, steps)

    function = alone.get_concrete_function(*(tf.TensorSpec(t.shape[1:], t.dtype) for t in own))
    results = map_function(
        arguments=own,
        captured_inputs=function.captured_inputs,
        output_types=[t.dtype for t in function.outputs],
        output_shapes=[t.shape for t in function.outputs],
        f=function,
        max_intra_op_parallelism=threads or _ALL_THREADS,
    )
    states, seen = tf.nest.pack_sequence_as(function.structured_outputs, results)
    joined = tf.nest.map_structure(_without_batch, states)._replace(
        step=tf.reduce_min(states.step), failed=tf.reduce_any(states.failed)
    )
    rest = tf.nest.map_structure(_without_batch, seen._replace(losses=()))
    return joined, rest._replace(losses=tf.transpose(seen.losses[:, :, 0]))


def of_any_number(state: State, given: Given, steps: Any) -> tuple:
    """What `loops` is traced with, for whatever number of samples."""

    def of_each(values: Any) -> Any:
        return tf.nest.map_structure(
            lambda t: tf.TensorSpec([None, *t.shape[1:]] if t.shape.rank else [], t.dtype), values
        )

    parameters, seeds, fixed = of_each((given.parameters, given.seeds, given.fixed))
    weights, input_ranges, steps = tf.nest.map_structure(
        lambda t: tf.TensorSpec(t.shape, t.dtype), (given.weights, given.input_ranges, steps)
    )
    return of_each(state), Given(parameters, weights, seeds, input_ranges, fixed), steps


def _of_samples(first: int, end: int, state: State, given: Given) -> tuple[State, Given]:
    """What some of the samples need, each with values of its own."""
    samples = state.best_loss.shape[0]

    def of_some(values: Any) -> Any:
        return tf.nest.map_structure(lambda t: t[first:end] if t.shape.rank else t, values)

    parameters = tf.nest.map_structure(
        lambda p: tf.repeat(p, samples, axis=0) if p.shape[0] == 1 else p, given.parameters
    )
    parameters, seeds, fixed = of_some((parameters, given.seeds, given.fixed))
    return of_some(state), given._replace(parameters=parameters, seeds=seeds, fixed=fixed)


def _without_batch(results: Any) -> Any:
    """What single samples have made, without the axis of their batches of one."""
    return tf.squeeze(results, axis=1) if results.shape.rank > 1 else results[0]


def _joined(*parts: Any) -> Any:
    """The tensors of some samples as those of all; scalars are everybody's."""
    return tf.concat(parts, axis=0) if parts[0].shape.rank else parts[0]

"""The compiled step of activation maximization, and the loop over steps inside the graph."""

import contextlib
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Erosion, Graph, as_input_dtype
from vis.backend.layers import LayerRunner, TracedWeights, WeightCache
from vis.backend.private import select
from vis.backend.step import per_sample
from vis.backend.step.compiled import CompiledFunction
from vis.backend.step.fingerprint import Fingerprint, fingerprint
from vis.backend.step.forward import evaluate_losses, named, split_for_scalar_losses
from vis.backend.step.step_spec import OptimisedInput, State, StepInputs, StepOutput, StepSpec
from vis.backend.tensors import random

# Transforms fold numbers from 0 up into the seeds of a step, and further canvases from -1 down.
_EROSION = 2**30

# Those of problems without any `Expression`, which would keep the model alive.
engines = WeakCache()


class Engine:
    """The compiled functions of one problem: of a graph, weights made ready for it, and tensors."""

    def __init__(self, problem: StepSpec) -> None:
        self._problem = problem
        # A rule with a memory of its own serves one thread at a time.
        self._turns = threading.RLock() if problem.is_stateful else contextlib.nullcontext()
        compiled = functools.partial(
            CompiledFunction, refusal=self._refusal, turns=self._turns, precision=problem.precision
        )
        self.images = compiled(lambda run, *args: problem.images(*args))
        self.evaluate = compiled(self._evaluated)
        self.update = compiled(lambda run, *args: self._updated(*args))
        self._loop = compiled(self._steps)
        self._loops = compiled(self._steps_apart, specified=per_sample.of_any_number)

    def _refusal(self, reason: str, *_: Any) -> str:
        shown = ", ".join(f"'{place.tensor.name}' {place.shape}" for place in self._problem.fed)
        return (
            "`model` must take whatever images its inputs may hold, of the size and in the "
            f"range that are asked for: {reason}. Received: a model with the inputs {shown}"
        )

    def initial_state(self, variables: Sequence[Sequence[Any]], given: StepInputs) -> State:
        """The state before the first step, from arrays of `(samples, ...)` for each canvas."""
        update = self._problem.update
        tensors = [[tf.convert_to_tensor(value) for value in values] for values in variables]
        images = self._problem.images(tensors, given)
        with self._turns:
            slots = update.slots(tf.nest.flatten(tensors)) if update else []
        return State(
            step=tf.constant(0),
            variables=tensors,
            slots=slots,
            best_loss=tf.fill(images[0].shape[:1], tf.constant(float("inf"), images[0].dtype)),
            best_images=images,
            failed=tf.constant(False),
        )

    def fingerprint(self, graph: Graph, state: State, given: StepInputs) -> Fingerprint:
        """Of the losses as a function of the variables, with the model's weights in it."""

        def losses(variables: list[list[Any]], given: StepInputs) -> Any:
            images = self._problem.images(variables, given)
            run = functools.partial(
                graph.run, runner=LayerRunner(TracedWeights(), self._problem.precision)
            )
            return self._losses(run, images, given, tf.constant(0))[0]

        traced = tf.function(losses, autograph=False)
        return fingerprint(traced.get_concrete_function(state.variables, given))

    def loop(
        self, graph: Graph, weight_cache: WeightCache, state: State, given: StepInputs, steps: Any
    ) -> tuple[State, StepOutput]:
        """The `State` and `StepOutput` after some steps, or after the first that failed."""
        if not per_sample.use_per_sample_loop(self._problem, samples=state.best_loss.shape[0]):
            return self._loop(graph, weight_cache, state, given, steps)

        def loops(*of_some: Any) -> tuple:
            return self._loops(graph, weight_cache, *of_some, steps)

        return per_sample.run_in_chunks(loops, self._problem.threads, state, given)

    # What follows runs where a function is traced. `run` runs the graph there.

    def _steps(
        self, run: Callable, state: State, given: StepInputs, steps: Any
    ) -> tuple[State, StepOutput]:
        problem = self._problem

        def body(i: Any, state: State, _: StepOutput) -> tuple:
            state, images, observation = self._evaluated(run, state, given)
            return i + 1, self._advanced(state, observation, images), observation

        dtype, samples = state.best_loss.dtype, state.best_loss.shape[0]
        wrt = problem.wrt_places
        # The first body replaces this; only its types and ranks matter.
        empty = StepOutput(
            losses=tf.zeros([len(problem.terms), samples], dtype),
            overall=tf.zeros([samples], dtype),
            grads=[tf.zeros([0] * len(w.shape), w.dtype if problem.wrt else dtype) for w in wrt],
            wrt_values=[as_input_dtype(tf.zeros([0] * len(w.shape), dtype), w.dtype) for w in wrt],
        )
        start = (tf.constant(0), state, empty)
        shapes = tf.nest.map_structure(lambda t: t.shape, start)
        open_shapes = [tf.TensorShape([None] * len(w.shape)) for w in wrt]
        shapes = (*shapes[:2], shapes[2]._replace(grads=open_shapes, wrt_values=open_shapes))
        _, state, observation = tf.while_loop(
            lambda i, state, _: (i < steps) & ~state.failed,
            body,
            start,
            shape_invariants=shapes,
            parallel_iterations=1,
        )
        return state, observation

    def _steps_apart(self, run: Callable, *args: Any) -> tuple[State, StepOutput]:
        return per_sample.loops(functools.partial(self._steps, run), self._problem.threads, *args)

    def _evaluated(
        self, run: Callable, state: State, given: StepInputs
    ) -> tuple[State, list[Any], StepOutput]:
        """The state with its variables moved, the images that they stand for, and what is seen."""
        optimised_inputs = enumerate(
            zip(self._problem.optimised_inputs, state.variables, strict=True)
        )
        variables = [
            [
                _transformed(optimised_input, number, optimised_input.moves, v, given, state.step)
                for v in values
            ]
            for number, (optimised_input, values) in optimised_inputs
        ]
        images = self._problem.images(variables, given)
        observation = self._looked(run, images, given, state.step)
        return state._replace(variables=variables), images, observation

    def _looked(self, run: Callable, images: list[Any], given: StepInputs, step: Any) -> StepOutput:
        """Shows images to the network, and differentiates the losses."""
        problem = self._problem
        losses, wrt_values = self._losses(run, images, given, step)
        overall = tf.reduce_sum(losses, axis=0)
        grads = tf.gradients(overall, [v for (v,) in wrt_values] if problem.wrt else images)
        if all(g is None for g in grads):
            behind = " and ".join(f"'{place.operation().name}'" for place in problem.wrt_places)
            raise ValueError(
                "The losses must depend on what they are differentiated by. No gradient flows "
                f"from them back to {behind}: in between is something that cannot be "
                "differentiated, such as a comparison or a look-up. "
                f"Received: {named(problem.terms)}"
            )
        if problem.wrt:
            grads = [tf.concat(grads, axis=0)]
        # Of several inputs some may have nothing to do with the losses.
        else:
            pairs = zip(images, grads, strict=True)
            grads = [tf.zeros_like(i) if g is None else g for i, g in pairs]
        if problem.norm_grads:
            grads = [_unit_norm(g) for g in grads]
        if problem.grad_modifier:
            grads = [problem.grad_modifier(g) for g in grads]
        values = [tf.concat(v, axis=0) for v in zip(*wrt_values, strict=True)]
        return StepOutput(losses, overall, grads, values)

    def _losses(
        self, run: Callable, images: list[Any], given: StepInputs, step: Any
    ) -> tuple[Any, list[list[Any]]]:
        """Weighted losses `(terms, samples)`, and what they may be differentiated by, by look."""
        problem, dtype = self._problem, images[0].dtype
        views = [
            _transformed(optimised_input, number, optimised_input.transforms, image, given, step)
            for number, (optimised_input, image) in enumerate(
                zip(problem.optimised_inputs, images, strict=True)
            )
        ]
        inputs_to_optimise = [
            problem.fed[optimised_input.number] for optimised_input in problem.optimised_inputs
        ]
        places = [
            *inputs_to_optimise,
            *(place for place in problem.fed if place not in inputs_to_optimise),
        ]
        losses, wrt_values = [], []
        everything = views, given.fixed, given.parameters, given.seeds
        looks = split_for_scalar_losses(everything, views[0].shape[0], problem.terms)
        for seen, fixed, parameters, seeds in looks:
            erosion = None
            if problem.skip_erosion:
                seeds = random.fold_in(random.fold_in(seeds, step), _EROSION)
                erosion = Erosion(problem.skip_erosion, seeds)
            shown = list(zip(places, (*seen, *fixed), strict=True))
            wanted = problem.wrt_places
            values, found = evaluate_losses(
                run, shown, problem.terms, parameters, wanted, dtype, erosion
            )
            losses.append(tf.stack(values) * given.weights[:, None])
            wrt_values.append(found)
        return tf.concat(losses, axis=1), wrt_values

    def _updated(self, state: State, observation: StepOutput, given: StepInputs) -> State:
        return self._advanced(state, observation, self._problem.images(state.variables, given))

    def _advanced(self, state: State, observation: StepOutput, images: list[Any]) -> State:
        """The state after a step; the same state, marked as failed, where it was not finite."""
        overall = observation.overall
        checked = [tf.math.is_finite(value) for value in (overall, *observation.grads)]
        finite = tf.reduce_all([tf.reduce_all(values) for values in checked])
        better = tf.math.is_finite(overall) & (overall < state.best_loss)
        variables, slots, update = state.variables, state.slots, self._problem.update
        if update:
            flat = tf.nest.flatten(variables)
            pulled_back = tf.gradients(images, flat, grad_ys=observation.grads)
            moved, slots = tf.nest.map_structure(
                lambda new, old: select(condition=finite, x=new, y=old),
                update.apply(flat, pulled_back, slots),
                (flat, slots),
            )
            variables = tf.nest.pack_sequence_as(variables, moved)
        return State(
            step=state.step + tf.cast(finite, tf.int32),
            variables=variables,
            slots=slots,
            best_loss=tf.where(better, overall, state.best_loss),
            best_images=[
                select(condition=better, x=image, y=best)
                for image, best in zip(images, state.best_images, strict=True)
            ],
            failed=~finite,
        )


def _transformed(
    optimised_input: OptimisedInput,
    number: int,
    transforms: tuple,
    images: Any,
    given: StepInputs,
    step: Any,
) -> Any:
    """Images seen through transforms, those of each canvas by random numbers of its own."""
    if transforms:
        seeds = random.fold_in(given.seeds, step)
        seeds = random.fold_in(seeds, -number) if number else seeds
        for i, transform in enumerate(transforms):
            images = transform(images, random.fold_in(seeds, i), optimised_input.layout.axes)
    return images


def _unit_norm(grads: Any) -> Any:
    """Each sample divided by its L2 norm, without overflow or underflow on the way."""
    axes = list(range(1, len(grads.shape)))
    largest = tf.reduce_max(tf.abs(grads), axis=axes, keepdims=True)
    scaled = tf.math.divide_no_nan(grads, largest)
    norm = tf.sqrt(tf.reduce_sum(tf.square(scaled), axis=axes, keepdims=True))
    return tf.math.divide_no_nan(scaled, norm)

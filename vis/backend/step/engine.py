"""The compiled step of activation maximization, and the compiled loop over steps."""

import contextlib
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Erosion, Graph, as_input_dtype
from vis.backend.layers import LayerRunner, TracedWeights, WeightCache
from vis.backend.private import gradients, select
from vis.backend.step import per_sample
from vis.backend.step.compiled import CompiledFunction
from vis.backend.step.fingerprint import Fingerprint, fingerprint
from vis.backend.step.forward import evaluate_losses, split_for_scalar_losses
from vis.backend.step.step_spec import OptimisedInput, State, StepInputs, StepOutput, StepSpec
from vis.backend.tensors import random

# Folded into a step's seeds. Transforms fold in numbers from 0 up, further inputs from -1 down.
_EROSION = 2**30

# Engines of specs without an `Expression`, which would keep the model alive.
engines = WeakCache()


class Engine:
    """The compiled functions of one `StepSpec`, called with a graph, a weight cache and tensors."""

    def __init__(self, spec: StepSpec) -> None:
        self._spec = spec
        # A stateful update rule can serve one thread at a time.
        self._lock = threading.RLock() if spec.is_stateful else contextlib.nullcontext()

        def compiled(function: Callable, **settings: Any) -> CompiledFunction:
            settings |= {"lock": self._lock, "precision": spec.precision}
            return CompiledFunction(function, self._error_message, **settings)

        self.images = compiled(lambda run, *args: spec.images(*args))
        self.evaluate = compiled(self._evaluate)
        self.update = compiled(self._update)
        self._loop = compiled(self._run_steps)
        self._loop_per_sample = compiled(
            self._run_steps_per_sample, input_specs=per_sample.input_specs
        )

    def _error_message(self, reason: str, *_: Any) -> str:
        inputs = ", ".join(f"'{ref.tensor.name}' {ref.shape}" for ref in self._spec.input_refs)
        return (
            f"`model` must accept images of the requested size and range ({reason}). Choose "
            "others with `image_size` and `input_range`. "
            f"Received: a model with the inputs {inputs}"
        )

    def initial_state(self, variables: Sequence[Sequence[Any]], step_inputs: StepInputs) -> State:
        """The state before the first step, from arrays `(samples, ...)` for each input."""
        update = self._spec.update
        tensors = [[tf.convert_to_tensor(value) for value in values] for values in variables]
        images = self._spec.images(tensors, step_inputs)
        with self._lock:
            slots = update.slots(tf.nest.flatten(tensors)) if update else []
        return State(
            step=tf.constant(0),
            variables=tensors,
            slots=slots,
            # Finite, for `tf.debugging.enable_check_numerics`.
            best_loss=tf.fill(
                images[0].shape[:1], tf.constant(images[0].dtype.max, images[0].dtype)
            ),
            best_images=images,
            failed=tf.constant(False),
        )

    def fingerprint(self, graph: Graph, state: State, step_inputs: StepInputs) -> Fingerprint:
        """The fingerprint of the losses as a function of the variables, weights included."""

        def losses(variables: list[list[Any]], step_inputs: StepInputs) -> Any:
            images = self._spec.images(variables, step_inputs)
            run = functools.partial(
                graph.run, runner=LayerRunner(TracedWeights(), self._spec.precision)
            )
            return self._losses(run, images, step_inputs, tf.constant(0))[0]

        traced = tf.function(losses, autograph=False)
        return fingerprint(traced.get_concrete_function(state.variables, step_inputs))

    def loop(
        self, graph: Graph, weights: WeightCache, state: State, step_inputs: StepInputs, steps: Any
    ) -> tuple[State, StepOutput, Any]:
        """Takes a number of steps, or as many until one fails.

        Returns the `State` and `StepOutput` after the last step, and the losses of all steps,
        `(steps, terms, samples)`.
        """
        if not per_sample.use_per_sample_loop(self._spec, samples=state.best_loss.shape[0]):
            return self._loop(graph, weights, state, step_inputs, steps)
        loop = functools.partial(self._loop_per_sample, graph, weights)
        return per_sample.run_in_chunks(loop, self._spec.threads, state, step_inputs, steps)

    # The methods below are traced. `run` is `Graph.run` with a `LayerRunner`.

    def _run_steps(
        self, run: Callable, state: State, step_inputs: StepInputs, steps: Any
    ) -> tuple[State, StepOutput, Any]:
        spec = self._spec

        def body(i: Any, state: State, _: StepOutput, losses: tf.TensorArray) -> tuple:
            state, images, output = self._evaluate(run, state, step_inputs)
            losses = losses.write(i, output.losses)
            return i + 1, self._advance(state, output, images), output, losses

        dtype, samples = state.best_loss.dtype, state.best_loss.shape[0]
        wrt = spec.wrt_refs
        # Replaced by the first step; only types and ranks matter.
        empty = StepOutput(
            losses=tf.zeros([len(spec.terms), samples], dtype),
            overall=tf.zeros([samples], dtype),
            grads=[tf.zeros([0] * len(w.shape), w.dtype if spec.wrt else dtype) for w in wrt],
            wrt_values=[as_input_dtype(tf.zeros([0] * len(w.shape), dtype), w.dtype) for w in wrt],
        )
        start = (tf.constant(0), state, empty)
        shapes = tf.nest.map_structure(lambda t: t.shape, start)
        open_shapes = [tf.TensorShape([None] * len(w.shape)) for w in wrt]
        shapes = (*shapes[:2], shapes[2]._replace(grads=open_shapes, wrt_values=open_shapes))
        losses = tf.TensorArray(dtype, steps, element_shape=empty.losses.shape)
        _, state, output, losses = tf.while_loop(
            lambda i, state, *_: (i < steps) & ~state.failed,
            body,
            (*start, losses),
            shape_invariants=(*shapes, tf.TensorShape([])),
            parallel_iterations=1,
        )
        return state, output, losses.stack()

    def _run_steps_per_sample(self, run: Callable, *args: Any) -> tuple[State, StepOutput, Any]:
        loop = functools.partial(self._run_steps, run)
        return per_sample.loop_per_sample(loop, self._spec.threads, *args)

    def _evaluate(
        self, run: Callable, state: State, step_inputs: StepInputs
    ) -> tuple[State, list[Any], StepOutput]:
        """The state with transformed variables, their images, and the losses and gradients."""
        variables = [
            [_transform(o.variable_transforms, v, o, i, step_inputs, state.step) for v in values]
            for i, (o, values) in enumerate(
                zip(self._spec.optimised_inputs, state.variables, strict=True)
            )
        ]
        images = self._spec.images(variables, step_inputs)
        output = self._differentiate(run, images, step_inputs, state.step)
        return state._replace(variables=variables), images, output

    def _differentiate(
        self, run: Callable, images: list[Any], step_inputs: StepInputs, step: Any
    ) -> StepOutput:
        """The losses of images, and their gradients."""
        spec = self._spec
        losses, wrt_values = self._losses(run, images, step_inputs, step)
        overall = tf.reduce_sum(losses, axis=0)
        grads = gradients(overall, [v for (v,) in wrt_values] if spec.wrt else images)
        if all(g is None for g in grads):
            wrt = " and ".join(f"'{ref.operation().name}'" for ref in spec.wrt_refs)
            raise ValueError(
                f"`losses` must have a gradient with respect to {wrt}. Use losses without "
                "comparisons, look-ups and other operations that cannot be differentiated. "
                f"Received: {' and '.join(term.name for term in spec.terms)}"
            )
        if spec.wrt:
            grads = [tf.concat(grads, axis=0)]
        # Of several inputs, some may not affect the losses.
        else:
            pairs = zip(images, grads, strict=True)
            grads = [tf.zeros_like(i) if g is None else g for i, g in pairs]
        if spec.norm_grads:
            grads = [_unit_norm(g) for g in grads]
        if spec.grad_modifier:
            grads = [spec.grad_modifier(g) for g in grads]
        values = [tf.concat(v, axis=0) for v in zip(*wrt_values, strict=True)]
        return StepOutput(losses, overall, grads, values)

    def _losses(
        self, run: Callable, images: list[Any], step_inputs: StepInputs, step: Any
    ) -> tuple[Any, list[list[Any]]]:
        """Weighted losses `(terms, samples)`, and the values of `wrt_refs` in each forward pass."""
        spec, dtype = self._spec, images[0].dtype
        views = [
            _transform(o.transforms, image, o, i, step_inputs, step)
            for i, (o, image) in enumerate(zip(spec.optimised_inputs, images, strict=True))
        ]
        optimised_refs = [
            spec.input_refs[optimised.input_index] for optimised in spec.optimised_inputs
        ]
        refs = [*optimised_refs, *(ref for ref in spec.input_refs if ref not in optimised_refs)]
        losses, wrt_values = [], []
        batch = views, step_inputs.fixed, step_inputs.parameters, step_inputs.seeds
        parts = split_for_scalar_losses(batch, views[0].shape[0], spec.terms)
        for part_views, fixed, parameters, seeds in parts:
            erosion = None
            if spec.skip_erosion:
                seeds = random.fold_in(random.fold_in(seeds, step), _EROSION)
                erosion = Erosion(spec.skip_erosion, seeds)
            feeds = list(zip(refs, (*part_views, *fixed), strict=True))
            part_losses, part_values = evaluate_losses(
                run, feeds, spec.terms, parameters, spec.wrt_refs, dtype, erosion, spec.wrt_refs
            )
            losses.append(tf.stack(part_losses) * step_inputs.weights[:, None])
            wrt_values.append(part_values)
        return tf.concat(losses, axis=1), wrt_values

    def _update(self, run: Callable, state: State, output: StepOutput, inputs: StepInputs) -> State:
        return self._advance(state, output, self._spec.images(state.variables, inputs))

    def _advance(self, state: State, output: StepOutput, images: list[Any]) -> State:
        """The state after a step, or the same state marked as failed if it was not finite."""
        overall = output.overall
        checked = [tf.math.is_finite(value) for value in (overall, *output.grads)]
        finite = tf.reduce_all([tf.reduce_all(values) for values in checked])
        better = tf.math.is_finite(overall) & (overall < state.best_loss)
        variables, slots, update = state.variables, state.slots, self._spec.update
        if update:
            flat = tf.nest.flatten(variables)
            grads = tf.gradients(images, flat, grad_ys=output.grads)
            updated, slots = tf.nest.map_structure(
                lambda new, old: select(condition=finite, x=new, y=old),
                update.apply(flat, grads, slots),
                (flat, slots),
            )
            variables = tf.nest.pack_sequence_as(variables, updated)
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


def _transform(
    transforms: Sequence[Callable],
    images: Any,
    optimised: OptimisedInput,
    i: int,
    step_inputs: StepInputs,
    step: Any,
) -> Any:
    """Transforms the images of the i-th optimised input with random numbers of its own."""
    if transforms:
        seeds = random.fold_in(step_inputs.seeds, step)
        seeds = random.fold_in(seeds, -i) if i else seeds
        for number, transform in enumerate(transforms):
            images = transform(images, random.fold_in(seeds, number), optimised.layout.axes)
    return images


def _unit_norm(grads: Any) -> Any:
    """Each sample divided by its L2 norm, without overflow or underflow on the way."""
    axes = list(range(1, len(grads.shape)))
    largest = tf.reduce_max(tf.abs(grads), axis=axes, keepdims=True)
    scaled = tf.math.divide_no_nan(grads, largest)
    norm = tf.sqrt(tf.reduce_sum(tf.square(scaled), axis=axes, keepdims=True))
    return tf.math.divide_no_nan(scaled, norm)

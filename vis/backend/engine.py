"""The compiled step of activation maximization, and the loop over steps inside the graph.

A `Problem` says what is optimised, how it is looked at and what is wanted, and holds nothing but
formulas and weak handles. What changes from call to call (filters, weights, the image, the seed)
is passed to the compiled functions as tensors, so that one trace serves all of it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vis.backend import random
from vis.backend.cache import WeakCache
from vis.backend.errors import reason_of
from vis.backend.fingerprint import Fingerprint, fingerprint
from vis.backend.folding import Folder
from vis.backend.network import Network, Place, Source, fed
from vis.backend.roots import Inputs
from vis.backend.skips import Erosion
from vis.backend.weights import Handed, Inline, Prepared, Recipe
from vis.utils.layout import Layout
from vis.utils.model import LayerOutput, channel_axis

# What an operation of TensorFlow's takes for no limit to the threads that work on it.
_ALL_THREADS = 0
# How many samples descend at a time for each that there are threads for.
_PER_THREAD = 2
# Transforms fold numbers from 0 up into the seeds of a step, and further canvases from -1 down.
_EROSION = 2**30


class Formula(NamedTuple):
    """A loss that is a function of one tensor, sample by sample.

    Attributes:
        function: Called as `function(value, **parameters, **settings)`; returns `(samples,)`.
        target: The tensor that the function is given.
        settings: Names and values that are fixed in the trace.
        before_softmax: Whether the layer whose output the target is runs without its softmax.
        couples_samples: Whether a sample's value depends on the others in the batch.
    """

    function: Callable
    target: Place
    settings: tuple[tuple[str, Hashable], ...] = ()
    before_softmax: bool = False
    couples_samples: bool = False


class Expression(NamedTuple):
    """A loss that is a symbolic scalar over tensors of the network. Keeps the model alive."""

    tensor: keras.KerasTensor


class Canvas(NamedTuple):
    """An input that is optimised: how its image is made, and how the model sees it.

    Attributes:
        number: Which of the problem's inputs it is.
        parametrization: Makes images of variables.
        layout: Shape of an image, and which of its axes are spatial.
        moves: What happens to the variables themselves before each step, like `transforms`.
        transforms: What the model sees the image through, each called with images, seeds and
            axes.
    """

    number: int
    parametrization: Any
    layout: Layout
    moves: tuple[Any, ...]
    transforms: tuple[Any, ...]


class Problem(NamedTuple):
    """Everything that a trace depends on.

    Attributes:
        source: The network's inputs, and its model.
        canvases: Those of them that are optimised; the others are fixed.
        terms: The losses, each a `Formula` or an `Expression`.
        wrt: The tensor that gradients are taken of; None is the images themselves.
        norm_grads: Whether gradients are divided by their L2 norm, sample by sample and input by
            input.
        grad_modifier: A function of the gradients in `keras.ops`, or None.
        update: The rule of the descent, or None where nothing moves.
        activations: Weak references to the activation functions that the trace is made with.
        precision: The type that the network computes in, or None for its own.
        skip_erosion: Of what skip connections carry, as for `vis.backend.skips.Erosion`.
        threads: How many threads share the work on one sample, or None for all that there are.
    """

    source: Source
    canvases: tuple[Canvas, ...]
    terms: tuple[Formula | Expression, ...]
    wrt: Place | None
    norm_grads: bool
    grad_modifier: Callable | None
    update: Any
    activations: tuple[Any, ...]
    precision: str | None = None
    skip_erosion: float = 0.0
    threads: int | None = None

    @property
    def wrt_places(self) -> list[Place]:
        """What gradients are taken of: one tensor, or the images."""
        return [self.wrt] if self.wrt else [self.source.handles[c.number] for c in self.canvases]


class Given(NamedTuple):
    """What changes from call to call without another trace.

    Attributes:
        parameters: For each term the tensors that its formula is called with, by name.
        weights: The weight of each term, `(terms,)`.
        seeds: One seed for each sample, `(samples, 2)`.
        input_ranges: For each canvas the lowest and highest value of its image, `(2,)`.
        fixed: The values of the inputs that are not optimised, `(samples, ...)`.
    """

    parameters: list[dict[str, Any]]
    weights: Any
    seeds: Any
    input_ranges: list[Any]
    fixed: list[Any]


class State(NamedTuple):
    """What a step hands to the next.

    Attributes:
        step: Number of steps taken.
        variables: What is optimised, for each canvas tensors of `(samples, ...)`.
        slots: The update rule's own memory.
        best_loss: Lowest overall loss of each sample, `(samples,)`.
        best_images: The images that had it, for each canvas `(samples, ...)`.
        failed: Whether a loss or gradient of the step after `step` was not finite.
    """

    step: Any
    variables: list[list[Any]]
    slots: list[Any]
    best_loss: Any
    best_images: list[Any]
    failed: Any


class Observation(NamedTuple):
    """What one evaluation has seen.

    Attributes:
        losses: Weighted losses `(terms, samples)`.
        overall: Their sum, `(samples,)`.
        grads: The gradients, normalised and modified: of one tensor, or of each canvas's image.
        wrt_values: The values of what they are of.
    """

    losses: Any
    overall: Any
    grads: list[Any]
    wrt_values: list[Any]


class Engine:
    """The compiled functions of one problem, each traced when it is first called.

    Each is called first with what has been made of the weights for the descent.

    Attributes:
        images: `(variables, given)` to the images that they stand for.
        move: `(state, given)` to the `State` whose variables have been moved.
        evaluate: `(variables, given, step)` to an `Observation`.
        update: `(state, observation, given)` to the next `State`.
        traces: Number of traces made so far.
    """

    def __init__(self, problem: Problem):
        self._problem = problem
        self.traces = 0
        # A rule with memory of its own, which is filled before a step and read after it, serves
        # one thread at a time.
        stateful = problem.update is not None and not problem.update.stateless
        self._turns = threading.RLock() if stateful else contextlib.nullcontext()
        self.images = self._compiled(lambda _, *args: _images(problem, *args))
        self.move = self._compiled(lambda _, *args: _move(problem, *args))
        self.evaluate = self._compiled(lambda folder, *args: _evaluate(problem, folder, *args))
        self.update = self._compiled(lambda _, *args: _update(problem, *args))
        self._loop = self._compiled(lambda folder, *args: _loop(problem, folder, *args))
        self._loops = self._compiled(
            lambda folder, *args: _loops(problem, folder, *args), _of_any_number
        )

    def initial_state(self, variables: Sequence[Sequence[Any]], given: Given) -> State:
        """The state before the first step.

        Args:
            variables: Initial values, for each canvas arrays of `(samples, ...)`.
            given: Only its `input_ranges` are used.
        """
        problem = self._problem
        variables = [[tf.convert_to_tensor(value) for value in values] for values in variables]
        images = _images(problem, variables, given)
        with self._turns:
            flat = tf.nest.flatten(variables)
            slots = problem.update.slots(flat) if problem.update else []
        return State(
            step=tf.constant(0),
            variables=variables,
            slots=slots,
            best_loss=tf.fill(images[0].shape[:1], tf.constant(float("inf"), images[0].dtype)),
            best_images=images,
            failed=tf.constant(False),
        )

    def fingerprint(self, state: State, given: Given) -> Fingerprint:
        """Of the losses as a function of the variables, with the model's weights in it."""

        def losses(variables: list[list[Any]], given: Given) -> Any:
            images = _images(self._problem, variables, given)
            folder = Folder(Inline(), self._problem.precision)
            return _losses(self._problem, images, given, tf.constant(0), folder)

        traced = tf.function(losses, autograph=False)
        return fingerprint(traced.get_concrete_function(state.variables, given))

    def loop(
        self, prepared: Prepared, state: State, given: Given, steps: Any
    ) -> tuple[State, Observation]:
        """The `State` and `Observation` after some steps, or after the first that failed."""
        samples = state.best_loss.shape[0]
        alone = samples == 1 and self._problem.threads is None
        if alone or not _one_by_one(self._problem):
            return self._loop(prepared, state, given, steps)
        at_once = _at_once(self._problem)
        parts = [
            self._loops(prepared, *_of_samples(first, first + at_once, state, given), steps)
            for first in range(0, samples, at_once)
        ]
        states, seen = zip(*parts, strict=True)
        joined = tf.nest.map_structure(_joined, *states)._replace(
            step=tf.reduce_min([s.step for s in states]),
            failed=tf.reduce_any([s.failed for s in states]),
        )
        losses = tf.concat([s.losses for s in seen], axis=1)
        rest = [s._replace(losses=()) for s in seen]
        return joined, tf.nest.map_structure(_joined, *rest)._replace(losses=losses)

    def _compiled(self, function: Callable, specified: Callable | None = None) -> Callable:
        """A function of the problem, traced once for all arguments that are specified alike."""
        concrete: dict[tuple, tuple[Callable, tuple[Recipe, ...]]] = {}
        lock = threading.Lock()

        def call(prepared: Prepared, *args: Any) -> Any:
            # Looked up here rather than by `tf.function`, which warns of many traces where many
            # models are looked at.
            specs = args if specified is None else specified(*args)
            signature = tuple((t.dtype, *t.shape) for t in tf.nest.flatten(specs))
            with lock:
                if signature not in concrete:
                    concrete[signature] = self._traced(function, prepared, specs)
                compiled, recipes = concrete[signature]
            try:
                with self._turns:
                    return compiled(prepared.packed(recipes), *args)
            except (tf.errors.InvalidArgumentError, tf.errors.AbortedError) as error:
                shown = [f"'{h.tensor.name}' {h.shape}" for h in self._problem.source.handles]
                raise ValueError(
                    "`model` must take whatever images its inputs may hold, of the size and in the "
                    f"range that are asked for: {reason_of(error)}. "
                    f"Received: a model with the inputs {', '.join(shown)}"
                ) from None

        return call

    def _traced(
        self, function: Callable, prepared: Prepared, args: tuple
    ) -> tuple[Callable, tuple[Recipe, ...]]:
        recipes: tuple[Recipe, ...] = ()

        def traced(packed: dict[str, Any], *args: Any) -> Any:
            nonlocal recipes
            self.traces += 1
            handed = Handed(packed, prepared)
            outputs = function(Folder(handed, self._problem.precision), *args)
            recipes = handed.recipes
            return outputs

        compiled = tf.function(traced, autograph=False)
        return compiled.get_concrete_function(Handed.signature, *args), recipes


_engines = WeakCache()
_acceptances = WeakCache()
_fields = WeakCache()


def engine_for(problem: Problem) -> Engine:
    """The engine of a problem, shared by all who pose the same one for as long as its model lives.

    Args:
        problem: A problem without any `Expression`, which would keep the model alive.
    """
    return _engines.get(problem.source.owner, problem, lambda: Engine(problem))


def accepts(inputs: Inputs, layer: keras.Layer | LayerOutput, shape: Sequence[int]) -> bool:
    """Whether a model takes images of another size, up to a layer.

    Args:
        inputs: The inputs of the layer's model, that of the images first.
        layer: The layer.
        shape: Shape of an image.
    """
    network = Network(inputs)
    target = network.place_of(layer)
    source = Source.of(inputs)
    key = (source, target, tuple(shape))
    return _acceptances.get(source.owner, key, lambda: _traces(network, target, shape))


def _traces(network: Network, target: Place, shape: Sequence[int]) -> bool:
    image, *others = network.inputs

    @tf.function(autograph=False)
    def run(*feeds: Any) -> Any:
        return network.run(feeds, [target], Folder(Inline()))[0]

    specs = [tf.TensorSpec((1, *other.shape[1:]), other.dtype) for other in others]
    try:
        run.get_concrete_function(tf.TensorSpec((1, *shape), image.dtype), *specs)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError):
        return False
    return True


def receptive_field(
    inputs: Inputs, layer: keras.Layer | LayerOutput, layout: Layout
) -> tuple[int, ...]:
    """How much of an image the place in the middle of a layer sees, along each spatial axis.

    It is read off a gradient, so that it holds whatever the layers in between are.

    Args:
        inputs: The inputs of the layer's model, that of the images first; of the others zeros
            are shown.
        layer: The layer.
        layout: Shape of an image.
    """
    network = Network(inputs)
    target = network.place_of(layer)
    source = Source.of(inputs)
    key = (source, target, layout)
    return _fields.get(source.owner, key, lambda: _seen(network, target, layer, layout))


def _seen(
    network: Network, target: Place, layer: keras.Layer | LayerOutput, layout: Layout
) -> tuple[int, ...]:
    @tf.function(autograph=False)
    def seen() -> Any:
        # Several images, as a rectifier that is shut in one may be open in the next.
        images = tf.random.stateless_uniform((8, *layout.shape), (0, 0), -1, 1, "float32")
        zeros = [
            tf.zeros([8, *(size or 1 for size in t.shape[1:])], t.dtype) for t in network.inputs[1:]
        ]
        feeds = [tf.cast(images, network.inputs[0].dtype), *zeros]
        (value,) = network.run(feeds, [target], Folder(Inline()))
        axis = channel_axis(layer, len(value.shape))
        middle = tuple(
            slice(None) if i in (0, axis) else size // 2 for i, size in enumerate(value.shape)
        )
        (grads,) = tf.gradients(value[middle], feeds[:1])
        return [
            tf.reduce_any(grads != 0, axis=[i for i in range(len(grads.shape)) if i != axis])
            for axis in layout.axes
        ]

    extents = [np.flatnonzero(along.numpy()) for along in seen.get_concrete_function()()]
    return tuple(int(np.ptp(places)) + 1 if len(places) else 1 for places in extents)


def _images(problem: Problem, variables: list[list], given: Given) -> list[Any]:
    return [
        canvas.parametrization.image(values, canvas.layout, input_range)
        for canvas, values, input_range in zip(
            problem.canvases, variables, given.input_ranges, strict=True
        )
    ]


def _evaluate(
    problem: Problem, folder: Folder, variables: list[list], given: Given, step: Any
) -> Observation:
    return _look(problem, _images(problem, variables, given), given, step, folder)


def _look(
    problem: Problem, images: list[Any], given: Given, step: Any, folder: Folder
) -> Observation:
    """Shows images to the network, and differentiates the losses."""
    losses, wrt_values = _losses(problem, images, given, step, folder)
    overall = tf.reduce_sum(losses, axis=0)

    grads = tf.gradients(overall, [v for (v,) in wrt_values] if problem.wrt else images)
    if all(g is None for g in grads):
        raise ValueError(
            "`losses` must depend on what they are differentiated by, and do not. "
            f"Received: losses={problem.terms}"
        )
    if problem.wrt:
        grads = [tf.concat(grads, axis=0)]
    else:
        # Of several inputs some may have nothing to do with the losses.
        grads = [tf.zeros_like(i) if g is None else g for i, g in zip(images, grads, strict=True)]
    if problem.norm_grads:
        grads = [_unit_norm(g) for g in grads]
    if problem.grad_modifier:
        grads = [problem.grad_modifier(g) for g in grads]
    return Observation(
        losses, overall, grads, [tf.concat(v, axis=0) for v in zip(*wrt_values, strict=True)]
    )


def _losses(
    problem: Problem, images: list[Any], given: Given, step: Any, folder: Folder
) -> tuple[Any, list[list[Any]]]:
    """Weighted losses `(terms, samples)`, and what they may be differentiated by, look by look."""
    views = [
        _transformed(canvas, number, canvas.transforms, image, given, step)
        for number, (canvas, image) in enumerate(zip(problem.canvases, images, strict=True))
    ]
    losses, wrt_values = zip(
        *(
            _show(problem, *shown, given.weights, step, folder)
            for shown in _looks(problem, views, given)
        ),
        strict=True,
    )
    return tf.concat(losses, axis=1), list(wrt_values)


def _transformed(
    canvas: Canvas, number: int, transforms: tuple, images: Any, given: Given, step: Any
) -> Any:
    """Images seen through transforms, those of each canvas by random numbers of its own."""
    if transforms:
        seeds = random.fold_in(given.seeds, step)
        seeds = random.fold_in(seeds, -number) if number else seeds
        for i, transform in enumerate(transforms):
            images = transform(images, random.fold_in(seeds, i), canvas.layout.axes)
    return images


def _move(problem: Problem, state: State, given: Given) -> State:
    moved = [
        [_transformed(canvas, number, canvas.moves, v, given, state.step) for v in values]
        for number, (canvas, values) in enumerate(
            zip(problem.canvases, state.variables, strict=True)
        )
    ]
    return state._replace(variables=moved)


def _looks(problem: Problem, views: list[Any], given: Given) -> Iterator[tuple]:
    """What is shown to the network at once: images, fixed inputs, parameters of formulas, seeds.

    An expression is a scalar over the whole batch, so that samples are then shown one by one.
    """
    samples = views[0].shape[0]
    if samples == 1 or not any(isinstance(term, Expression) for term in problem.terms):
        yield views, given.fixed, given.parameters, given.seeds
        return
    for i in range(samples):
        yield tf.nest.map_structure(
            lambda p, i=i: p[i : i + 1] if p.shape[0] == samples else p,
            (views, given.fixed, given.parameters, given.seeds),
        )


def _show(
    problem: Problem,
    views: list,
    fixed: list,
    parameters: list,
    seeds: Any,
    weights: Any,
    step: Any,
    folder: Folder,
) -> tuple[Any, list[Any]]:
    """Weighted losses `(terms, samples)` of some images, and the tensors to differentiate by."""
    network = Network(
        problem.source.inputs,
        without_softmax=[
            term.target.operation()
            for term in problem.terms
            if isinstance(term, Formula) and term.before_softmax
        ],
        precision=problem.precision,
    )
    seen = dict(zip((canvas.number for canvas in problem.canvases), views, strict=True))
    others = iter(fixed)
    feeds = [
        fed(seen[number] if number in seen else next(others), tensor.dtype)
        for number, tensor in enumerate(network.inputs)
    ]
    targets = [term.target if isinstance(term, Formula) else term.tensor for term in problem.terms]
    erosion = None
    if problem.skip_erosion:
        seeds = random.fold_in(random.fold_in(seeds, step), _EROSION)
        erosion = Erosion(problem.skip_erosion, seeds)
    values = network.run(feeds, [*targets, *problem.wrt_places], folder, erosion)
    losses = []
    for term, value, names in zip(problem.terms, values, parameters, strict=False):
        if isinstance(term, Formula):
            # Sums over many positions overflow, or lose their last digits, in half precision.
            value = tf.cast(value, views[0].dtype) if value.dtype.size < 4 else value
            value = term.function(value, **names, **dict(term.settings))
        losses.append(tf.reshape(tf.cast(value, views[0].dtype), [-1]))
    return tf.stack(losses) * weights[:, None], values[len(targets) :]


def _unit_norm(grads: Any) -> Any:
    """Each sample divided by its L2 norm, without overflow or underflow on the way."""
    axes = list(range(1, len(grads.shape)))
    largest = tf.reduce_max(tf.abs(grads), axis=axes, keepdims=True)
    scaled = tf.math.divide_no_nan(grads, largest)
    norm = tf.sqrt(tf.reduce_sum(tf.square(scaled), axis=axes, keepdims=True))
    return tf.math.divide_no_nan(scaled, norm)


def _update(problem: Problem, state: State, observation: Observation, given: Given) -> State:
    return _advance(problem, state, observation, _images(problem, state.variables, given))


def _advance(problem: Problem, state: State, observation: Observation, images: list[Any]) -> State:
    """The state after a step; the same state, marked as failed, where it was not finite."""
    finite = tf.reduce_all(
        [
            tf.reduce_all(tf.math.is_finite(value))
            for value in (observation.overall, *observation.grads)
        ]
    )
    better = tf.math.is_finite(observation.overall) & (observation.overall < state.best_loss)
    variables, slots = state.variables, state.slots
    if problem.update:
        flat = tf.nest.flatten(variables)
        pulled_back = tf.gradients(images, flat, grad_ys=observation.grads)
        moved, slots = tf.nest.map_structure(
            lambda new, old: _chosen(finite, new, old),
            problem.update.apply(flat, pulled_back, slots),
            (flat, slots),
        )
        variables = tf.nest.pack_sequence_as(variables, moved)
    return State(
        step=state.step + tf.cast(finite, tf.int32),
        variables=variables,
        slots=slots,
        best_loss=tf.where(better, observation.overall, state.best_loss),
        best_images=[
            _chosen(better, image, best)
            for image, best in zip(images, state.best_images, strict=True)
        ],
        failed=~finite,
    )


def _chosen(condition: Any, one: Any, other: Any) -> Any:
    """One tensor or another, as a whole, or sample by sample where there is a condition for each.

    `tf.where` would look at the condition anew for each value.
    """
    return tf.raw_ops.Select(condition=condition, x=one, y=other)


def _one_by_one(problem: Problem) -> bool:
    """Whether the samples of a batch descend each in a loop of its own.

    How a processor's kernels split up their sums depends on the size of the batch, and over a
    hundred steps the rounding grows into another picture. One by one, which on a processor costs
    nothing, a picture does not depend on its neighbours at all. On a GPU it would cost too much.
    """
    coupled = any(isinstance(t, Expression) or t.couples_samples for t in problem.terms)
    stateful = problem.update is not None and not problem.update.stateless
    return not (coupled or stateful or tf.config.list_physical_devices("GPU"))


def _loop(
    problem: Problem, folder: Folder, state: State, given: Given, steps: Any
) -> tuple[State, Observation]:
    def body(i: Any, state: State, _: Observation) -> tuple:
        state = _move(problem, state, given)
        images = _images(problem, state.variables, given)
        observation = _look(problem, images, given, state.step, folder)
        return i + 1, _advance(problem, state, observation, images), observation

    dtype, samples = state.best_loss.dtype, state.best_loss.shape[0]
    wrt = problem.wrt_places
    # The first body replaces this; only its types and ranks matter.
    empty = Observation(
        losses=tf.zeros([len(problem.terms), samples], dtype),
        overall=tf.zeros([samples], dtype),
        grads=[tf.zeros([0] * len(w.shape), w.dtype if problem.wrt else dtype) for w in wrt],
        wrt_values=[fed(tf.zeros([0] * len(w.shape), dtype), w.dtype) for w in wrt],
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


def _at_once(problem: Problem) -> int:
    """How many samples descend at the same time; more crowd each other out of the caches."""
    processors = os.cpu_count() or 1
    return _PER_THREAD * max(1, processors // (problem.threads or processors))


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


def _of_any_number(state: State, given: Given, steps: Any) -> tuple:
    """What `_loops` is called with, for whatever number of samples."""

    def of_each(values: Any) -> Any:
        return tf.nest.map_structure(
            lambda t: tf.TensorSpec([None, *t.shape[1:]] if t.shape.rank else [], t.dtype), values
        )

    parameters, seeds, fixed = of_each((given.parameters, given.seeds, given.fixed))
    shared = tf.nest.map_structure(
        lambda t: tf.TensorSpec(t.shape, t.dtype), (given.weights, given.input_ranges, steps)
    )
    weights, input_ranges, steps = shared
    return of_each(state), Given(parameters, weights, seeds, input_ranges, fixed), steps


def _loops(
    problem: Problem, folder: Folder, state: State, given: Given, steps: Any
) -> tuple[State, Observation]:
    """The loops of all samples at the same time, each as if there were no other."""
    structure = (state, given.parameters, given.seeds, given.fixed)
    flat = tf.nest.flatten(structure)
    own = [t for t in flat if t.shape.rank]

    @tf.function(autograph=False)
    def alone(*slices: Any) -> tuple[State, Observation]:
        remaining = iter(slices)
        values = [next(remaining)[None] if t.shape.rank else t for t in flat]
        state, parameters, seeds, fixed = tf.nest.pack_sequence_as(structure, values)
        own_given = given._replace(parameters=parameters, seeds=seeds, fixed=fixed)
        return _loop(problem, folder, state, own_given, steps)

    function = alone.get_concrete_function(*(tf.TensorSpec(t.shape[1:], t.dtype) for t in own))
    results = tf.raw_ops.MapDefun(
        arguments=own,
        captured_inputs=function.captured_inputs,
        output_types=[t.dtype for t in function.outputs],
        output_shapes=[t.shape for t in function.outputs],
        f=function,
        max_intra_op_parallelism=problem.threads or _ALL_THREADS,
    )
    states, seen = tf.nest.pack_sequence_as(function.structured_outputs, results)
    joined = tf.nest.map_structure(_without_batch, states)._replace(
        step=tf.reduce_min(states.step), failed=tf.reduce_any(states.failed)
    )
    rest = tf.nest.map_structure(_without_batch, seen._replace(losses=()))
    return joined, rest._replace(losses=tf.transpose(seen.losses[:, :, 0]))


def _without_batch(results: Any) -> Any:
    """What single samples have made, without the axis of their batches of one."""
    return tf.squeeze(results, axis=1) if results.shape.rank > 1 else results[0]


def _joined(*parts: Any) -> Any:
    """The tensors of some samples as those of all; scalars are everybody's."""
    return tf.concat(parts, axis=0) if parts[0].shape.rank else parts[0]

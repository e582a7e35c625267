"""The compiled step of activation maximization, and the loop over steps inside the graph.

A `Problem` says what is optimised, how it is looked at and what is wanted, and holds nothing but
formulas and weak handles. What changes from call to call (filters, weights, the image, the seed)
is passed to the compiled functions as tensors, so that one trace serves all of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from vis.backend import random
from vis.backend.cache import WeakCache
from vis.backend.folding import Folder
from vis.backend.network import Handle, Network
from vis.utils.layout import Layout


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
    target: Handle
    settings: tuple[tuple[str, Hashable], ...] = ()
    before_softmax: bool = False
    couples_samples: bool = False


class Expression(NamedTuple):
    """A loss that is a symbolic scalar over tensors of the network. Keeps the model alive."""

    tensor: keras.KerasTensor


class Problem(NamedTuple):
    """Everything that a trace depends on.

    Attributes:
        inputs: The network's inputs; the image is fed to the first.
        terms: The losses, each a `Formula` or an `Expression`.
        wrt: The tensor that gradients are taken of; None is the image itself.
        norm_grads: Whether gradients are divided by their L2 norm, sample by sample.
        grad_modifier: A function of the gradients in `keras.ops`, or None.
        moves: What happens to the variables themselves before each step, like `transforms`.
        transforms: What the model sees the image through, each called with images, seeds and
            axes.
        parametrization: Makes images of variables.
        layout: Shape of an image, and which of its axes are spatial.
        update: The rule of the descent, or None where nothing moves.
        activations: Weak references to the activation functions that the trace is made with.
    """

    inputs: tuple[Handle, ...]
    terms: tuple[Formula | Expression, ...]
    wrt: Handle | None
    norm_grads: bool
    grad_modifier: Callable | None
    moves: tuple[Any, ...]
    transforms: tuple[Any, ...]
    parametrization: Any
    layout: Layout
    update: Any
    activations: tuple[Any, ...]


class Given(NamedTuple):
    """What changes from call to call without another trace.

    Attributes:
        parameters: For each term the tensors that its formula is called with, by name.
        weights: The weight of each term, `(terms,)`.
        seeds: One seed for each sample, `(samples, 2)`.
        input_range: Lowest and highest value of an image, `(2,)`.
    """

    parameters: list[dict[str, Any]]
    weights: Any
    seeds: Any
    input_range: Any


class State(NamedTuple):
    """What a step hands to the next.

    Attributes:
        step: Number of steps taken.
        variables: What is optimised, tensors of `(samples, ...)`.
        slots: The update rule's own memory.
        best_loss: Lowest overall loss of each sample, `(samples,)`.
        best_image: The image that had it, `(samples, ...)`.
        failed: Whether a loss or gradient of the step after `step` was not finite.
    """

    step: Any
    variables: list[Any]
    slots: list[Any]
    best_loss: Any
    best_image: Any
    failed: Any


class Observation(NamedTuple):
    """What one evaluation has seen.

    Attributes:
        losses: Weighted losses `(terms, samples)`.
        overall: Their sum, `(samples,)`.
        grads: The gradients, normalised and modified.
        wrt_value: The value of the tensor that they are of.
    """

    losses: Any
    overall: Any
    grads: Any
    wrt_value: Any


class Engine:
    """The compiled functions of one problem, each traced when it is first called.

    Attributes:
        image: `(variables, given)` to the images that they stand for.
        move: `(state, given)` to the `State` whose variables have been moved.
        evaluate: `(variables, given, step)` to an `Observation`.
        update: `(state, observation, given)` to the next `State`.
        loop: `(state, given, steps)` to the `State` and `Observation` after that many steps, or
            after the first that failed.
        traces: Number of traces made so far.
    """

    def __init__(self, problem: Problem):
        self._problem = problem
        self.traces = 0
        self.image = self._compiled(_image, problem)
        self.move = self._compiled(_move, problem)
        self.evaluate = self._compiled(_evaluate, problem)
        self.update = self._compiled(_update, problem)
        self.loop = self._compiled(_loop, problem)

    def initial_state(self, variables: Sequence[Any], given: Given) -> State:
        """The state before the first step.

        Args:
            variables: Initial values, arrays of `(samples, ...)`.
            given: Only its `input_range` is used.
        """
        problem = self._problem
        variables = [tf.convert_to_tensor(value) for value in variables]
        image = _image(problem, variables, given)
        return State(
            step=tf.constant(0),
            variables=variables,
            slots=problem.update.slots(variables) if problem.update else [],
            best_loss=tf.fill(image.shape[:1], tf.constant(float("inf"), image.dtype)),
            best_image=image,
            failed=tf.constant(False),
        )

    def _compiled(self, function: Callable, problem: Problem) -> Callable:
        def traced(*args: Any) -> Any:
            self.traces += 1
            return function(problem, *args)

        compiled = tf.function(traced, autograph=False)
        concrete: dict[tuple, Callable] = {}
        lock = threading.Lock()

        def call(*args: Any) -> Any:
            # Looked up here rather than by `tf.function`, which warns of many traces where many
            # models are looked at.
            signature = tuple((t.dtype, *t.shape) for t in tf.nest.flatten(args))
            with lock:
                if signature not in concrete:
                    concrete[signature] = compiled.get_concrete_function(*args)
            return concrete[signature](*args)

        return call


_engines = WeakCache()
_acceptances = WeakCache()


def engine_for(problem: Problem) -> Engine:
    """The engine of a problem, shared by all who pose the same one for as long as its model lives.

    Args:
        problem: A problem without any `Expression`, which would keep the model alive.
    """
    return _engines.get(problem.inputs[0].operation(), problem, lambda: Engine(problem))


def value_of(input_tensor: keras.KerasTensor, layer: keras.Layer, images: Any) -> Any:
    """The output of a layer for some images, as an array.

    Args:
        input_tensor: The input of the layer's model.
        layer: The layer.
        images: `(samples, ...)`.

    Raises:
        ValueError: If the layer is not connected to the input.
    """
    network = Network([input_tensor])
    if layer not in network:
        raise ValueError(
            f"`layer` must be connected to the input '{input_tensor.name}'. "
            f"Received: layer '{layer.name}'"
        )
    target = network.output_of(layer)

    @tf.function(autograph=False)
    def run(images: Any) -> Any:
        return network.run([images], [target], _folder())[0]

    return run(keras.ops.convert_to_tensor(images, input_tensor.dtype)).numpy()


def accepts(input_tensor: keras.KerasTensor, layer: keras.Layer, shape: Sequence[int]) -> bool:
    """Whether a model takes images of another size, up to a layer.

    Args:
        input_tensor: The input of the layer's model.
        layer: The layer.
        shape: Shape of an image.
    """
    network = Network([input_tensor])
    target = network.output_of(layer)
    key = (Handle.of(target), tuple(shape))
    owner = Handle.of(input_tensor).operation()
    return _acceptances.get(owner, key, lambda: _traces(network, target, shape))


def _traces(network: Network, target: keras.KerasTensor, shape: Sequence[int]) -> bool:
    images = tf.TensorSpec((1, *shape), network.inputs[0].dtype)

    @tf.function(autograph=False)
    def run(images: Any) -> Any:
        return network.run([images], [target], _folder())[0]

    try:
        run.get_concrete_function(images)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError):
        return False
    return True


def _image(problem: Problem, variables: list, given: Given) -> Any:
    return problem.parametrization.image(variables, problem.layout, given.input_range)


def _evaluate(problem: Problem, variables: list, given: Given, step: Any) -> Observation:
    return _look(problem, _image(problem, variables, given), given, step, _folder())


def _folder() -> Folder:
    return Folder(tf.compat.v1.get_default_graph())


def _look(problem: Problem, image: Any, given: Given, step: Any, folder: Folder) -> Observation:
    """Shows an image to the network, and differentiates the losses."""
    view = _transformed(problem, problem.transforms, image, given, step)
    losses, wrt_values = zip(
        *(
            _show(problem, images, parameters, given.weights, folder)
            for images, parameters in _looks(problem, view, given)
        ),
        strict=True,
    )
    losses = tf.concat(losses, axis=1)
    overall = tf.reduce_sum(losses, axis=0)

    if problem.wrt:
        grads = tf.gradients(overall, list(wrt_values))
    else:
        grads = tf.gradients(overall, [image])
    if any(g is None for g in grads):
        raise ValueError(
            "`losses` must depend on the tensor that they are differentiated by, and do not. "
            f"Received: losses={problem.terms}"
        )
    grads = tf.concat(grads, axis=0)
    if problem.norm_grads:
        grads = _unit_norm(grads)
    if problem.grad_modifier:
        grads = problem.grad_modifier(grads)
    return Observation(losses, overall, grads, tf.concat(wrt_values, axis=0))


def _transformed(problem: Problem, transforms: tuple, images: Any, given: Given, step: Any) -> Any:
    if transforms:
        seeds = random.fold_in(given.seeds, step)
        for number, transform in enumerate(transforms):
            images = transform(images, random.fold_in(seeds, number), problem.layout.axes)
    return images


def _move(problem: Problem, state: State, given: Given) -> State:
    moved = [_transformed(problem, problem.moves, v, given, state.step) for v in state.variables]
    return state._replace(variables=moved)


def _looks(problem: Problem, view: Any, given: Given) -> Iterator[tuple[Any, list]]:
    """What is shown to the network at once: images, and their formulas' parameters.

    An expression is a scalar over the whole batch, so that samples are then shown one by one.
    """
    samples = view.shape[0]
    if samples == 1 or not any(isinstance(term, Expression) for term in problem.terms):
        yield view, given.parameters
        return
    for i in range(samples):
        yield (
            view[i : i + 1],
            tf.nest.map_structure(
                lambda p, i=i: p[i : i + 1] if p.shape[0] == samples else p, given.parameters
            ),
        )


def _show(
    problem: Problem, view: Any, parameters: list, weights: Any, folder: Folder
) -> tuple[Any, Any]:
    """Weighted losses `(terms, samples)` of some images, and the tensor to differentiate by."""
    network = Network(
        [handle.tensor for handle in problem.inputs],
        without_softmax=[
            term.target.operation()
            for term in problem.terms
            if isinstance(term, Formula) and term.before_softmax
        ],
    )
    targets = [
        term.target.tensor if isinstance(term, Formula) else term.tensor for term in problem.terms
    ]
    targets.append(problem.wrt.tensor if problem.wrt else network.inputs[0])
    feeds = [keras.ops.cast(view, network.inputs[0].dtype)]
    *values, wrt_value = network.run(feeds, targets, folder)
    losses = []
    for term, value, names in zip(problem.terms, values, parameters, strict=True):
        if isinstance(term, Formula):
            value = term.function(value, **names, **dict(term.settings))
        losses.append(tf.reshape(tf.cast(value, view.dtype), [-1]))
    return tf.stack(losses) * weights[:, None], wrt_value


def _unit_norm(grads: Any) -> Any:
    """Each sample divided by its L2 norm, without overflow or underflow on the way."""
    axes = list(range(1, len(grads.shape)))
    largest = tf.reduce_max(tf.abs(grads), axis=axes, keepdims=True)
    scaled = tf.math.divide_no_nan(grads, largest)
    norm = tf.sqrt(tf.reduce_sum(tf.square(scaled), axis=axes, keepdims=True))
    return tf.math.divide_no_nan(scaled, norm)


def _update(problem: Problem, state: State, observation: Observation, given: Given) -> State:
    return _advance(problem, state, observation, _image(problem, state.variables, given))


def _advance(problem: Problem, state: State, observation: Observation, image: Any) -> State:
    """The state after a step; the same state, marked as failed, where it was not finite."""
    finite = tf.reduce_all(tf.math.is_finite(observation.overall)) & tf.reduce_all(
        tf.math.is_finite(observation.grads)
    )
    better = tf.math.is_finite(observation.overall) & (observation.overall < state.best_loss)
    variables, slots = state.variables, state.slots
    if problem.update:
        pulled_back = tf.gradients(image, variables, grad_ys=observation.grads)
        moved = problem.update.apply(variables, pulled_back, slots)
        variables, slots = tf.nest.map_structure(
            lambda new, old: tf.where(finite, new, old), moved, (variables, slots)
        )
    return State(
        step=state.step + tf.cast(finite, tf.int32),
        variables=variables,
        slots=slots,
        best_loss=tf.where(better, observation.overall, state.best_loss),
        best_image=tf.where(
            tf.reshape(better, [-1] + [1] * (len(image.shape) - 1)), image, state.best_image
        ),
        failed=~finite,
    )


def _loop(problem: Problem, state: State, given: Given, steps: Any) -> tuple[State, Observation]:
    folder = _folder()
    samples = state.best_image.shape[0]
    if samples == 1 or not _one_by_one(problem):
        return _descend(problem, state, given, steps, folder)

    def at(i: Any, values: Any) -> Any:
        """The part of some tensors that is one sample's; scalars are everybody's."""
        return tf.nest.map_structure(
            lambda t: t if t.shape.rank == 0 or t.shape[0] != samples else t[i][None], values
        )

    def one(i: Any) -> tuple[State, Observation]:
        own = given._replace(parameters=at(i, given.parameters), seeds=given.seeds[i][None])
        return _descend(problem, at(i, state), own, steps, folder)

    wrt = (problem.wrt or problem.inputs[0]).tensor
    dtype = state.best_image.dtype
    rest = [None] * (len(wrt.shape) - 1)
    signature = (
        tf.nest.map_structure(
            lambda t: tf.TensorSpec((1, *t.shape[1:]) if t.shape.rank else (), t.dtype), state
        ),
        Observation(
            losses=tf.TensorSpec((len(problem.terms), 1), dtype),
            overall=tf.TensorSpec((1,), dtype),
            grads=tf.TensorSpec((1, *rest), wrt.dtype if problem.wrt else dtype),
            wrt_value=tf.TensorSpec((1, *rest), wrt.dtype),
        ),
    )
    states, seen = tf.map_fn(
        one, tf.range(samples), fn_output_signature=signature, parallel_iterations=2
    )
    joined = tf.nest.map_structure(lambda t: t[0] if t.shape.rank == 1 else t[:, 0], states)
    joined = joined._replace(step=tf.reduce_min(states.step), failed=tf.reduce_any(states.failed))
    return joined, Observation(
        losses=tf.transpose(seen.losses[:, :, 0]),
        overall=seen.overall[:, 0],
        grads=seen.grads[:, 0],
        wrt_value=seen.wrt_value[:, 0],
    )


def _one_by_one(problem: Problem) -> bool:
    """Whether the samples of a batch descend one by one.

    How a processor's kernels split up their sums depends on the size of the batch, and over a
    hundred steps the rounding grows into another picture. One by one, which on a processor costs
    little, a picture does not depend on its neighbours at all. On a GPU it would cost too much.
    """
    coupled = any(isinstance(t, Expression) or t.couples_samples for t in problem.terms)
    stateful = problem.update is not None and not problem.update.stateless
    return not (coupled or stateful or tf.config.list_physical_devices("GPU"))


def _descend(
    problem: Problem, state: State, given: Given, steps: Any, folder: Folder
) -> tuple[State, Observation]:
    def body(i: Any, state: State, _: Observation) -> tuple:
        state = _move(problem, state, given)
        image = _image(problem, state.variables, given)
        observation = _look(problem, image, given, state.step, folder)
        return i + 1, _advance(problem, state, observation, image), observation

    image = state.best_image
    wrt = (problem.wrt or problem.inputs[0]).tensor
    # The first body replaces this; only its types and ranks matter.
    empty = Observation(
        losses=tf.zeros([len(problem.terms), image.shape[0]], image.dtype),
        overall=tf.zeros([image.shape[0]], image.dtype),
        grads=tf.zeros([0] * len(wrt.shape), wrt.dtype if problem.wrt else image.dtype),
        wrt_value=tf.zeros([0] * len(wrt.shape), wrt.dtype),
    )
    open_shape = tf.TensorShape([None] * len(wrt.shape))
    start = (tf.constant(0), state, empty)
    shapes = tf.nest.map_structure(lambda t: t.shape, start)
    shapes = (*shapes[:2], shapes[2]._replace(grads=open_shape, wrt_value=open_shape))
    _, state, observation = tf.while_loop(
        lambda i, state, _: (i < steps) & ~state.failed,
        body,
        start,
        shape_invariants=shapes,
        parallel_iterations=1,
    )
    return state, observation

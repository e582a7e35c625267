"""Composes weighted losses and descends along their gradient."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vis import grad_modifiers
from vis.backend.engine import (
    Canvas,
    Engine,
    Expression,
    Formula,
    Given,
    Problem,
    accepts,
    engine_for,
)
from vis.backend.entries import takes_gradients
from vis.backend.expressions import symbolic_scalar
from vis.backend.network import Handle, Network, Place, Source
from vis.backend.random import draw_seed
from vis.backend.roots import Inputs
from vis.backend.softmax import has_softmax
from vis.callbacks import OptimizerCallback, Print
from vis.checkpoints import Checkpoint, without_memory
from vis.descent import Descent, NonFiniteError
from vis.input_modifiers import InputModifier, check_transforms, fused, in_order, is_in_graph
from vis.losses import Loss, LossSum, TensorLoss
from vis.parametrizations import Parametrization, Pixels
from vis.updates import KerasUpdate, RMSprop, Update
from vis.utils.inputs import arranged, by_layer_names, like
from vis.utils.layout import Layout
from vis.utils.model import LayerOutput, layout_of, spatial_axes
from vis.utils.validation import (
    check_all,
    check_backend,
    check_flag,
    check_images,
    check_input_range,
    check_integer,
    check_number,
    is_iterable,
)

__all__ = ["NonFiniteError", "Optimizer"]

# With one skip connection its gains are then between 0.13 and 1.87; none changes its sign.
_MOST_EROSION = 0.5


class Optimizer:
    """Finds the input that minimises a weighted sum of losses.

    Args:
        input_tensor: The model's input, `model.input` (`model.inputs` of a Sequential model): one
            tensor, or a list or dict of several.
        losses: List of `(Loss, weight)`, or a sum of losses such as `a + 0.5 * b`. A loss with
            weight 0 is left out.
        input_range: Lowest and highest value of the image; of several inputs a list of such pairs,
            or a dict by name, where all are not in the same range.
        wrt_tensor: The tensor that gradients are taken of, any tensor of the model; the input by
            default. The image is only updated when it is the input.
        norm_grads: Whether gradients are divided by their L2 norm.
        parametrization: What is optimised; the image's pixels by default. Of several inputs those
            without spatial axes stay with their values; or a list, or a dict by name.
        optimizer: A Keras optimizer; `vis.updates.RMSprop` by default.
        fixed_inputs: Values of inputs that are not optimised, `(samples, ...)` or without the
            samples' axis: a dict by name, or a list with None for all others.
        precision: `"bfloat16"` to run the network in that type, which is quicker on hardware that
            has it; None for the model's own.
        skip_erosion: How much random gains change what the skip connections of a residual network
            carry, from step to step: their standard deviation, all together; 0 to 0.5. An image
            for all these networks is more often one for networks that took no part (Li et al.,
            "Learning Transferable Adversarial Examples via Ghost Networks", AAAI 2020).

    Attributes:
        inputs: All inputs.
        input_tensors: Those of them that are optimised.
        network: The graph that hangs from the inputs.
        terms: What the engine is to know of each loss.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a loss does not belong to `input_tensor`'s model, or a value is out of
            range.

    Example:
        >>> from vis.losses import ActivationMaximization
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
        >>> loss = ActivationMaximization(model.layers[-1], filter_indices=1)
        >>> optimizer = Optimizer(model.inputs[0], [(loss, 1)], input_range=(0.0, 1.0))
        >>> image, grads, _ = optimizer.minimize(max_iter=5, seed=0, verbose=False)
        >>> image.shape, grads.shape
        ((8,), (1, 8))
    """

    def __init__(
        self,
        input_tensor: keras.KerasTensor | Any,
        losses: Iterable[tuple[Loss, float]] | Loss | LossSum,
        input_range: tuple[float, float] = (0, 255),
        wrt_tensor: keras.KerasTensor | None = None,
        norm_grads: bool = True,
        parametrization: Parametrization | None = None,
        optimizer: keras.optimizers.Optimizer | None = None,
        fixed_inputs: Any = None,
        precision: str | None = None,
        skip_erosion: float = 0.0,
    ) -> None:
        check_backend()
        self.precision = _check_precision(precision)
        self.skip_erosion = _check_skip_erosion(skip_erosion)
        self._update = _check_optimizer(optimizer)
        self._given_inputs = input_tensor
        self.inputs = checked_inputs(input_tensor)
        fixed_inputs, input_range, parametrization = (
            by_layer_names(values, input_tensor)
            for values in (fixed_inputs, input_range, parametrization)
        )
        self._fixed = _check_fixed(fixed_inputs, self.inputs)
        self.network = Network(self.inputs)
        self.input_tensors = _check_optimised(self.network, self._fixed)
        self.input_ranges = _check_input_ranges(input_range, self.inputs, self.input_tensors)
        self._parametrizations = _check_parametrizations(
            parametrization, self.inputs, self.input_tensors
        )
        self.norm_grads = check_flag("norm_grads", norm_grads)
        self._wrt = _check_wrt_tensor(wrt_tensor, self.input_tensors, self.network)
        self.losses = _check_losses(losses)
        self.terms = [self._term(loss) for loss, _ in self.losses]
        # Engines that hold a user's own expression, and with it the model: they die with us.
        self._own_engines: dict[Problem, Engine] = {}

    def _engine(self, problem: Problem) -> Engine:
        if not any(isinstance(term, Expression) for term in problem.terms):
            return engine_for(problem)
        return self._own_engines.setdefault(problem, Engine(problem))

    def _term(self, loss: Loss) -> Any:
        """What the engine is to know of a loss."""
        if not isinstance(loss, TensorLoss) or type(loss).build_loss is not TensorLoss.build_loss:
            return Expression(symbolic_scalar(loss.build_loss, self.network, str(loss)))
        target = loss.target
        before_softmax = loss.before_softmax and has_softmax(target)
        if isinstance(target, keras.KerasTensor):
            self.network.check_connected(target)
            place: Place = Handle.of(target)
        else:
            if LayerOutput.of(target).layer not in self.network:
                raise ValueError(
                    "`losses` must be on layers of the model that `input_tensor` belongs to. "
                    f"Received: the loss '{loss}' on the layer '{target.name}', which is not "
                    f"connected to '{self.inputs[0].name}'"
                )
            place = self.network.place_of(target)
            if isinstance(place, Handle):
                self.network.check_connected(place.tensor)
        settings = tuple(sorted(loss.settings.items()))
        coupled = loss.couples_samples
        return Formula(type(loss).formula, place, settings, before_softmax, coupled)

    def minimize(
        self,
        seed_input: np.ndarray | None = None,
        max_iter: int = 200,
        input_modifiers: Sequence[InputModifier] | None = None,
        grad_modifier: str | Callable | None = None,
        callbacks: Sequence[OptimizerCallback] | None = None,
        verbose: bool = True,
        seed: int | None = None,
        samples: int = 1,
        image_size: int | Sequence[int] | None = None,
        checkpoint: str | os.PathLike | None = None,
        every: int = 50,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Descends from a seed image.

        In each iteration the modifiers' `pre` are called in order, losses and gradients are
        computed, the gradients modified, callbacks called and the image updated; then come the
        modifiers' `post`, in reverse order. A `Transform` that is not a plain move of pixels, as
        `Jitter` is, changes nothing but what the model sees, after all `pre`. Without callbacks
        and modifiers in NumPy the loop stays in the compiled graph.

        Args:
            seed_input: Image to start from, with or without the batch axis, channels at either
                end; several samples are optimised independently. None starts from noise. Of
                several inputs a list, or a dict by name.
            max_iter: Number of iterations, at least 1.
            input_modifiers: What happens to the image before and after each step.
            grad_modifier: A name in `vis.grad_modifiers`, or a function of the gradient array.
            callbacks: Who is called in each iteration.
            verbose: Whether to print the losses of each iteration.
            seed: Whole number that all randomness follows from. The same seed gives the same
                image. Without one it follows from NumPy's global random state.
            samples: Number of images to make of noise. A `seed_input` has its own.
            image_size: Size of an image made of noise along each spatial axis, one number for all
                or one for each, where the model takes others than its own, or leaves it open.
            checkpoint: Path of a file from which the same call goes on after an interruption, to
                the same picture bit for bit. It is made when there is none, and stays when the
                run is over, so that a later one may go on to a larger `max_iter`. Callbacks then
                see only the iterations that were left. Modifiers in NumPy must not remember
                anything from step to step. None keeps no such file.
            every: Number of iterations from one writing of the file to the next, at least 1.

        Returns:
            The image with the lowest loss, brought into `input_range`; the last gradients; and
            the last value of `wrt_tensor`. The image of a single sample has no batch axis. It has
            its channels where the model has them. Where several inputs are optimised, each of
            the three is a list, or a dict by name if `input_tensor` is one.

        Raises:
            NonFiniteError: If a loss or gradient turns NaN or infinite. It carries the best image
                until then.
            TypeError: If an argument is of the wrong kind.
            ValueError: If an argument has a wrong value, or the file is damaged or of a run of
                another model or with other arguments. It is then left alone.
        """
        max_iter = check_integer("max_iter", max_iter, least=1)
        modifiers = check_all("input_modifiers", input_modifiers, InputModifier)
        watchers = check_all("callbacks", callbacks, OptimizerCallback)
        if check_flag("verbose", verbose):
            watchers = [*watchers, Print()]
        every = check_integer("every", every, least=1)
        record = None if checkpoint is None else Checkpoint(checkpoint, every)
        if seed is None:
            seed = record.seed if record and record.seed is not None else draw_seed()
        seed = check_integer("seed", seed, least=0)
        start = self._start(seed_input)
        samples = self._samples(start, samples)
        layouts = [
            self._layout(tensor, images, image_size)
            for tensor, images in zip(self.input_tensors, start, strict=True)
        ]
        modify = grad_modifiers.get(grad_modifier)
        if record:
            modifiers, modify = without_memory(modifiers, modify)
        run = self.descent(
            layouts,
            [(seed, i) for i in range(samples)],
            start,
            modifiers,
            modify,
        )
        descend = record.begin(run, seed, max_iter) if record else run.descend
        # Each is told of the end, even when another's `on_end` fails.
        with contextlib.ExitStack() as watched:
            for watcher in reversed(watchers):
                watched.callback(watcher.on_end)
            try:
                descend(max_iter, watchers)
            except KeyboardInterrupt:
                warnings.warn(
                    f"Interrupted after {run.step} of {max_iter} iterations; this is the best "
                    "image so far.",
                    stacklevel=2,
                )
        images, grads, values = run.result()
        if self._wrt is not None:
            grads, values = grads[0], values[0]
            return like(self._given_inputs, self.input_tensors, images), grads, values
        return tuple(
            like(self._given_inputs, self.input_tensors, v) for v in (images, grads, values)
        )

    def _start(self, seed_input: Any) -> list[np.ndarray | None]:
        """The seeds as `(samples, ...)` in the model's data format, None for noise."""
        seed_input = by_layer_names(seed_input, self._given_inputs)
        seeds = _of_optimised("seed_input", seed_input, self.inputs, self.input_tensors)
        return [
            None if seed is None else check_images("seed_input", seed, tuple(tensor.shape[1:]))
            for tensor, seed in zip(self.input_tensors, seeds, strict=True)
        ]

    def _layout(
        self, tensor: keras.KerasTensor, start: np.ndarray | None, image_size: Any
    ) -> Layout:
        if start is not None:
            return Layout(tuple(start.shape[1:]), spatial_axes(tensor))
        layout = layout_of(tensor, image_size if spatial_axes(tensor) else None)
        if None in tensor.shape[1:] and image_size is None:
            warnings.warn(
                f"The model's input '{tensor.name}' is open in size, {tensor.shape[1:]}; an image "
                f"of shape {layout.shape} is made. `image_size` or `seed_input` make another.",
                stacklevel=4,
            )
        return layout

    def _samples(self, start: Sequence[np.ndarray | None], samples: int) -> int:
        """How many images are made, from the seeds, the fixed inputs or what the user says."""
        counts = {len(values) for values in (*start, *self._fixed) if values is not None}
        counts.discard(1)
        if len(counts) > 1:
            raise ValueError(
                "`seed_input` and `fixed_inputs` must have as many samples as each other, or one. "
                f"Received: {sorted(counts)} samples"
            )
        if counts:
            return counts.pop()
        samples = check_integer("samples", samples, least=1)
        return 1 if any(values is not None for values in start) else samples

    def descent(
        self,
        layouts: Sequence[Layout],
        seeds: Sequence[tuple[int, ...]],
        start: Sequence[np.ndarray | None] | None = None,
        modifiers: Sequence[InputModifier] = (),
        grad_modifier: Callable | None = None,
        variables: list[list[np.ndarray]] | None = None,
        threads: int | None = None,
    ) -> Descent:
        """A descent that has not begun yet.

        Args:
            layouts: For each input that is optimised the shape of an image.
            seeds: For each sample what its randomness follows from.
            start: For each input the images to start from, or None for noise.
            modifiers: As in `minimize`.
            grad_modifier: A function of the gradient array, or None.
            variables: Initial values of what is optimised, in place of `start`.
            threads: How many threads share the work on one sample where each descends by itself,
                as on a CPU; None for all. A single one has the most done where there are many
                samples, but the rounding depends on it.

        Returns:
            The descent, whose samples do not depend on one another.
        """
        by_hand = [m for m in modifiers if not is_in_graph(m)]
        self._check_samples(len(seeds))
        if by_hand and not all(isinstance(p, Pixels) for p in self._parametrizations):
            raise ValueError(
                "`input_modifiers` in NumPy change pixels, so that `parametrization` must be "
                f"`Pixels`. Received: {self._parametrizations!r} and {by_hand!r}"
            )
        spatial = [bool(layout.axes) for layout in layouts]
        canvases = [
            # Where there are images among the inputs, modifiers are meant for these.
            self._canvas(i, layout, modifiers if bool(layout.axes) == any(spatial) else (), seeds)
            for i, layout in enumerate(layouts)
        ]
        formula = getattr(grad_modifier, "formula", None)
        problem = Problem(
            source=Source.of(self.inputs),
            canvases=tuple(canvases),
            terms=tuple(self.terms),
            wrt=None if self._wrt is None else Handle.of(self._wrt),
            norm_grads=self.norm_grads,
            grad_modifier=formula,
            update=self._update if self._wrt is None else None,
            activations=self.network.activations(),
            precision=self.precision,
            skip_erosion=self.skip_erosion,
            threads=threads,
        )
        dtype = "float64" if any(t.dtype == "float64" for t in self.input_tensors) else "float32"
        rngs = [np.random.default_rng(seed) for seed in seeds]
        if variables is None:
            variables = self._initial(layouts, start or [None] * len(layouts), rngs)
        given = Given(
            parameters=[
                {name: ops.convert_to_tensor(value) for name, value in parameters.items()}
                for parameters in (getattr(loss, "parameters", {}) for loss, _ in self.losses)
            ],
            weights=ops.convert_to_tensor([weight for _, weight in self.losses], dtype),
            seeds=ops.convert_to_tensor([rng.integers(2**31, size=2) for rng in rngs], "int32"),
            input_ranges=[ops.convert_to_tensor(r, dtype) for r in self.input_ranges],
            fixed=[
                ops.convert_to_tensor(np.broadcast_to(v, (len(seeds), *v.shape[1:])), t.dtype)
                for t, v in zip(self.inputs, self._fixed, strict=True)
                if v is not None
            ],
        )
        if by_hand:
            axes = next((layout.axes for layout in layouts if layout.axes), ())
            by_hand = in_order(modifiers, given.seeds, axes)
        return Descent(
            problem,
            self._engine(problem),
            given,
            [[value.astype(dtype) for value in values] for values in variables],
            [str(loss) for loss, _ in self.losses],
            self.input_ranges,
            by_hand,
            None if formula else grad_modifier,
        )

    def _canvas(
        self, i: int, layout: Layout, modifiers: Sequence[InputModifier], seeds: Sequence
    ) -> Canvas:
        in_graph = [m for m in modifiers if is_in_graph(m)]
        seen = check_transforms(in_graph, (len(seeds), *layout.shape), layout.axes)[1:]
        tensor = self.input_tensors[i]
        if seen != layout.shape:
            left = f"{in_graph}, which leave images of shape {seen}"
            self._check_seen(seen, tensor, "`input_modifiers` must leave", left)
        elif seen != tensor.shape[1:] and len(self.inputs) == 1:
            made = f"images of shape {seen}"
            self._check_seen(seen, tensor, "`image_size` or `seed_input` must make", made)
        in_graph = fused(in_graph)
        parametrization = self._parametrizations[i]
        pixels = isinstance(parametrization, Pixels)
        moves = [t for t in in_graph if pixels and t.only_moves_pixels]
        number = next(n for n, t in enumerate(self.inputs) if t is self.input_tensors[i])
        transforms = tuple(t for t in in_graph if t not in moves)
        by_hand = any(not is_in_graph(m) for m in modifiers)
        return Canvas(number, parametrization, layout, () if by_hand else tuple(moves), transforms)

    def _check_seen(
        self, shape: tuple[int, ...], tensor: keras.KerasTensor, must: str, received: str
    ) -> None:
        """Raises a `ValueError` unless the losses' layers can be shown images of another size."""
        inputs = self.inputs.beginning_with(tensor)
        for loss, _ in self.losses:
            target = getattr(loss, "target", None)
            layer = LayerOutput.of(target).layer
            if isinstance(layer, keras.Layer) and not accepts(inputs, target, shape):
                raise ValueError(
                    f"{must} images of a size that the model takes up to layer '{layer.name}'. "
                    f"Received: {received} for an input of shape {tensor.shape}"
                )

    def _check_samples(self, samples: int) -> None:
        """Raises a `ValueError` unless the losses are made for that number of images."""
        for loss, _ in self.losses:
            for value in getattr(loss, "parameters", {}).values():
                if len(value) not in (1, samples):
                    raise ValueError(
                        "`losses` must be for one image, or for as many as are optimised, "
                        f"{samples}. Received: the loss '{loss}', which is for {len(value)}"
                    )

    def _initial(
        self,
        layouts: Sequence[Layout],
        start: Sequence[np.ndarray | None],
        rngs: Sequence[np.random.Generator],
    ) -> list[list[np.ndarray]]:
        """For each input the initial values of what is optimised, `(samples, ...)`."""
        variables = []
        for parametrization, layout, images, input_range in zip(
            self._parametrizations, layouts, start, self.input_ranges, strict=True
        ):
            if images is None:
                images = [None] * len(rngs)
            elif len(images) == 1:
                images = [images[0]] * len(rngs)
            initial = [
                parametrization.variables(image, layout, input_range, rng)
                for image, rng in zip(images, rngs, strict=True)
            ]
            variables.append([np.stack(values) for values in zip(*initial, strict=True)])
        return variables


def _of_optimised(
    name: str,
    values: Any,
    inputs: Sequence[keras.KerasTensor],
    optimised: Sequence[keras.KerasTensor],
) -> list[Any]:
    """One value for each input that is optimised, out of values for these or for all inputs."""
    for_all = isinstance(values, Mapping) or (
        isinstance(values, (list, tuple)) and len(values) == len(inputs) > 1
    )
    if not for_all:
        return arranged(name, values, optimised)
    chosen = {id(tensor) for tensor in optimised}
    pairs = zip(inputs, arranged(name, values, inputs), strict=True)
    return [value for tensor, value in pairs if id(tensor) in chosen]


def _check_parametrizations(
    parametrization: Any, inputs: Sequence[keras.KerasTensor], tensors: Sequence[keras.KerasTensor]
) -> list[Parametrization]:
    if isinstance(parametrization, (Mapping, list, tuple)):
        chosen = _of_optimised("parametrization", parametrization, inputs, tensors)
    else:
        spatial = [bool(spatial_axes(tensor)) for tensor in tensors]
        chosen = [parametrization if s == any(spatial) else None for s in spatial]
    for value in chosen:
        if value is not None and not isinstance(value, Parametrization):
            raise TypeError(
                "`parametrization` must be a `vis.parametrizations.Parametrization`, such as "
                f"`Fourier()`. Received: parametrization={value!r}"
            )
    return [Pixels() if value is None else value for value in chosen]


def _check_optimizer(optimizer: Any) -> Update:
    if optimizer is None:
        return RMSprop()
    if isinstance(optimizer, Update):
        return optimizer
    return KerasUpdate(optimizer)


def _check_skip_erosion(skip_erosion: Any) -> float:
    std = check_number("skip_erosion", skip_erosion)
    if not 0 <= std <= _MOST_EROSION:
        raise ValueError(
            f"`skip_erosion` must be between 0 and {_MOST_EROSION}. "
            f"Received: skip_erosion={skip_erosion!r}"
        )
    return std


def _check_precision(precision: Any) -> str | None:
    if not (precision is None or (isinstance(precision, str) and precision == "bfloat16")):
        raise ValueError(
            "`precision` must be None, for the model's own, or 'bfloat16'. "
            f"Received: precision={precision!r}"
        )
    return precision


def checked_inputs(input_tensor: Any) -> Inputs:
    """The tensors of `input_tensor`, or an error."""
    if isinstance(input_tensor, Inputs):
        return input_tensor
    tensors = keras.tree.flatten(input_tensor)
    if not tensors or not all(isinstance(tensor, keras.KerasTensor) for tensor in tensors):
        raise TypeError(
            "`input_tensor` must be the input of a model, `model.input`, or a list or dict of "
            f"several. Received: input_tensor={input_tensor!r}"
        )
    if len({id(tensor) for tensor in tensors}) < len(tensors):
        raise ValueError(
            f"`input_tensor` must not hold an input twice. Received: input_tensor={input_tensor!r}"
        )
    return Inputs(tensors)


def _check_fixed(
    fixed_inputs: Any, tensors: Sequence[keras.KerasTensor]
) -> list[np.ndarray | None]:
    return [
        None if value is None else check_images("fixed_inputs", value, tuple(tensor.shape[1:]))
        for tensor, value in zip(
            tensors, arranged("fixed_inputs", fixed_inputs, tensors), strict=True
        )
    ]


def _check_optimised(
    network: Network, fixed: Sequence[np.ndarray | None]
) -> list[keras.KerasTensor]:
    """The inputs that are not fixed."""
    optimised = [t for t, value in zip(network.inputs, fixed, strict=True) if value is None]
    if not optimised:
        raise ValueError(
            "`fixed_inputs` must leave an input to be optimised. "
            f"Received: fixed_inputs for all of the {len(network.inputs)} inputs"
        )
    for tensor in optimised:
        if not takes_gradients(tensor, network):
            raise ValueError(
                "`input_tensor` must be what gradients flow into, and none flow into what is "
                "looked up, such as words; give such inputs a value in `fixed_inputs`, or optimise "
                "what an embedding makes of them: `embedding.output`. Received: the input "
                f"'{tensor.name}' of type {tensor.dtype}"
            )
    return optimised


def _check_input_ranges(
    input_range: Any, inputs: Sequence[keras.KerasTensor], tensors: Sequence[keras.KerasTensor]
) -> list[tuple[float, float]]:
    each = isinstance(input_range, Mapping) or (
        isinstance(input_range, (list, tuple))
        and any(r is None or isinstance(r, (list, tuple)) for r in input_range)
    )
    ranges = [input_range] * len(tensors)
    if each:
        ranges = _of_optimised("input_range", input_range, inputs, tensors)
    return [check_input_range((0, 255) if each and r is None else r) for r in ranges]


def _check_wrt_tensor(
    wrt_tensor: Any, inputs: Sequence[keras.KerasTensor], network: Network
) -> keras.KerasTensor | None:
    """The tensor that is not the input to take gradients of, or None."""
    if wrt_tensor is None or (len(inputs) == 1 and wrt_tensor is inputs[0]):
        return None
    tensors = keras.tree.flatten(wrt_tensor)
    if len(tensors) != 1 or not isinstance(tensors[0], keras.KerasTensor):
        raise TypeError(
            "`wrt_tensor` must be a symbolic tensor of the model, such as `layer.output`. "
            f"Received: wrt_tensor={wrt_tensor!r}"
        )
    network.check_connected(tensors[0])
    return None if len(inputs) == 1 and tensors[0] is inputs[0] else tensors[0]


def _check_losses(losses: Any) -> list[tuple[Loss, float]]:
    if isinstance(losses, (Loss, LossSum)):
        losses = [(losses, 1)]
    try:
        pairs = [(loss, weight) for loss, weight in losses] if is_iterable(losses) else None
    except (TypeError, ValueError):
        pairs = None
    if pairs is None:
        raise TypeError(f"`losses` must be a list of `(Loss, weight)`. Received: losses={losses!r}")
    for loss, _ in pairs:
        if not isinstance(loss, (Loss, LossSum)):
            raise TypeError(
                "`losses` must be a list of `(Loss, weight)`. "
                f"Received: {loss!r} of type {type(loss).__name__} in the place of a loss"
            )
    sums = [
        loss * weight if isinstance(loss, LossSum) else LossSum([(loss, weight)])
        for loss, weight in pairs
    ]
    pairs = [(loss, check_number("weight", w)) for added in sums for loss, w in added.pairs]
    pairs = [(loss, weight) for loss, weight in pairs if weight != 0]
    if not pairs:
        raise ValueError(
            f"`losses` must hold a loss with a weight other than 0. Received: losses={losses!r}"
        )
    return pairs

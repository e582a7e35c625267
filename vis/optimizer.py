"""Composes weighted losses and descends along their gradient."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vis import grad_modifiers
from vis.backend.engine import Engine, Expression, Formula, Given, Problem, engine_for
from vis.backend.expressions import symbolic_scalar
from vis.backend.network import Handle, Network, has_softmax
from vis.backend.random import draw_seed
from vis.callbacks import OptimizerCallback, Print
from vis.descent import Descent, NonFiniteError
from vis.input_modifiers import InputModifier, check_transforms, fused, in_order, is_in_graph
from vis.losses import Loss, LossSum, TensorLoss
from vis.parametrizations import Parametrization, Pixels
from vis.updates import KerasUpdate, RMSprop, Update
from vis.utils.layout import Layout
from vis.utils.model import spatial_axes
from vis.utils.validation import (
    check_backend,
    check_images,
    check_input_range,
    check_integer,
    check_number,
)

__all__ = ["NonFiniteError", "Optimizer"]


class Optimizer:
    """Finds the input that minimises a weighted sum of losses.

    Args:
        input_tensor: The model's input, `model.input` (`model.inputs` of a Sequential model).
        losses: List of `(Loss, weight)`, or a sum of losses such as `a + 0.5 * b`. A loss with
            weight 0 is left out.
        input_range: Lowest and highest value of the image.
        wrt_tensor: The tensor that gradients are taken of, any tensor of the model; the input by
            default. The image is only updated when it is the input.
        norm_grads: Whether gradients are divided by their L2 norm.
        parametrization: What is optimised; the image's pixels by default.
        optimizer: A Keras optimizer; `vis.updates.RMSprop` by default.

    Attributes:
        network: The graph that hangs from `input_tensor`.
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
        input_tensor: keras.KerasTensor,
        losses: Iterable[tuple[Loss, float]] | Loss | LossSum,
        input_range: tuple[float, float] = (0, 255),
        wrt_tensor: keras.KerasTensor | None = None,
        norm_grads: bool = True,
        parametrization: Parametrization | None = None,
        optimizer: keras.optimizers.Optimizer | None = None,
    ) -> None:
        check_backend()
        self._parametrization = _check_parametrization(parametrization)
        self._update = _check_optimizer(optimizer)
        self.input_tensor = _check_input_tensor(input_tensor)
        self.input_range = check_input_range(input_range)
        self.norm_grads = bool(norm_grads)
        self.network = Network([self.input_tensor])
        self._wrt = _check_wrt_tensor(wrt_tensor, self.input_tensor, self.network)
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
        if isinstance(target, keras.Layer):
            if target not in self.network:
                raise ValueError(
                    "`losses` must be on layers of the model that `input_tensor` belongs to. "
                    f"Received: the loss '{loss}' on the layer '{target.name}', which is not "
                    f"connected to '{self.input_tensor.name}'"
                )
            target = self.network.output_of(target)
        self.network.check_connected(target)
        settings = tuple(sorted(loss.settings.items()))
        coupled = loss.couples_samples
        return Formula(type(loss).formula, Handle.of(target), settings, before_softmax, coupled)

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
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Descends from a seed image.

        In each iteration the modifiers' `pre` are called in order, losses and gradients are
        computed, the gradients modified, callbacks called and the image updated; then come the
        modifiers' `post`, in reverse order. A `Transform` that is not a plain move of pixels, as
        `Jitter` is, changes nothing but what the model sees, after all `pre`. Without callbacks
        and modifiers in NumPy the loop stays in the compiled graph.

        Args:
            seed_input: Image to start from, with or without the batch axis, channels at either
                end; several samples are optimised independently. None starts from noise.
            max_iter: Number of iterations, at least 1.
            input_modifiers: What happens to the image before and after each step.
            grad_modifier: A name in `vis.grad_modifiers`, or a function of the gradient array.
            callbacks: Who is called in each iteration.
            verbose: Whether to print the losses of each iteration.
            seed: Whole number that all randomness follows from. The same seed gives the same
                image. Without one it follows from NumPy's global random state.
            samples: Number of images to make of noise. A `seed_input` has its own.

        Returns:
            The image with the lowest loss, brought into `input_range`; the last gradients; and
            the last value of `wrt_tensor`. The image of a single sample has no batch axis. It has
            its channels where the model has them.

        Raises:
            NonFiniteError: If a loss or gradient turns NaN or infinite. It carries the best image
                until then.
            TypeError: If an argument is of the wrong kind.
            ValueError: If an argument has a wrong value.
        """
        max_iter = check_integer("max_iter", max_iter, least=1)
        modifiers = _check_all("input_modifiers", input_modifiers, InputModifier)
        watchers = _check_all("callbacks", callbacks, OptimizerCallback)
        if verbose:
            watchers = [*watchers, Print()]
        seed = draw_seed() if seed is None else check_integer("seed", seed, least=0)
        start = self._start(seed_input)
        samples = check_integer("samples", samples, least=1) if start is None else len(start)
        layout = Layout(
            tuple(self.input_tensor.shape[1:] if start is None else start.shape[1:]),
            spatial_axes(self.input_tensor),
        )
        run = self.descent(
            layout,
            [(seed, i) for i in range(samples)],
            None if start is None else list(start),
            modifiers,
            grad_modifiers.get(grad_modifier),
        )
        # Each is told of the end, even when another's `on_end` fails.
        with contextlib.ExitStack() as watched:
            for watcher in reversed(watchers):
                watched.callback(watcher.on_end)
            try:
                run.descend(max_iter, watchers)
            except KeyboardInterrupt:
                warnings.warn(
                    f"Interrupted after {run.step} of {max_iter} iterations; this is the best "
                    "image so far.",
                    stacklevel=2,
                )
        return run.result()

    def _start(self, seed_input: np.ndarray | None) -> np.ndarray | None:
        """The seed as `(samples, ...)` in the model's data format."""
        shape = tuple(self.input_tensor.shape[1:])
        if None in shape and seed_input is None:
            raise ValueError(
                "`seed_input` must be given for a model whose input size is open. "
                f"Received: seed_input=None for an input of shape {self.input_tensor.shape}"
            )
        if seed_input is None:
            return None
        return check_images("seed_input", seed_input, shape)

    def descent(
        self,
        layout: Layout,
        seeds: Sequence[tuple[int, ...]],
        start: Sequence[np.ndarray] | None = None,
        modifiers: Sequence[InputModifier] = (),
        grad_modifier: Callable | None = None,
        variables: list[np.ndarray] | None = None,
    ) -> Descent:
        """A descent that has not begun yet.

        Args:
            layout: Shape of an image.
            seeds: For each sample what its randomness follows from.
            start: For each sample the image to start from, or None for noise everywhere.
            modifiers: As in `minimize`.
            grad_modifier: A function of the gradient array, or None.
            variables: Initial values of what is optimised, in place of `start`.

        Returns:
            The descent, whose samples do not depend on one another.
        """
        in_graph = [m for m in modifiers if is_in_graph(m)]
        by_hand = [m for m in modifiers if not is_in_graph(m)]
        check_transforms(in_graph, (len(seeds), *layout.shape), layout.axes)
        in_graph = fused(in_graph)
        pixels = isinstance(self._parametrization, Pixels)
        if by_hand and not pixels:
            raise ValueError(
                "`input_modifiers` in NumPy change pixels, so that `parametrization` must be "
                f"`Pixels`. Received: {self._parametrization!r} and {by_hand!r}"
            )
        moves = [t for t in in_graph if pixels and t.only_moves_pixels]
        formula = getattr(grad_modifier, "formula", None)
        problem = Problem(
            inputs=(Handle.of(self.input_tensor),),
            terms=tuple(self.terms),
            wrt=None if self._wrt is None else Handle.of(self._wrt),
            norm_grads=self.norm_grads,
            grad_modifier=formula,
            moves=() if by_hand else tuple(moves),
            transforms=tuple(t for t in in_graph if t not in moves),
            parametrization=self._parametrization,
            layout=layout,
            update=self._update if self._wrt is None else None,
            activations=self.network.activations(),
        )
        dtype = "float64" if self.input_tensor.dtype == "float64" else "float32"
        rngs = [np.random.default_rng(seed) for seed in seeds]
        if variables is None:
            initial = [
                self._parametrization.variables(image, layout, self.input_range, rng)
                for image, rng in zip(start or [None] * len(rngs), rngs, strict=True)
            ]
            variables = [np.stack(values) for values in zip(*initial, strict=True)]
        given = Given(
            parameters=[
                {name: ops.convert_to_tensor(value) for name, value in parameters.items()}
                for parameters in (getattr(loss, "parameters", {}) for loss, _ in self.losses)
            ],
            weights=ops.convert_to_tensor([weight for _, weight in self.losses], dtype),
            seeds=ops.convert_to_tensor([rng.integers(2**31, size=2) for rng in rngs], "int32"),
            input_range=ops.convert_to_tensor(self.input_range, dtype),
        )
        if by_hand:
            by_hand = in_order(modifiers, given.seeds, layout.axes)
        return Descent(
            problem,
            self._engine(problem),
            given,
            [values.astype(dtype) for values in variables],
            [str(loss) for loss, _ in self.losses],
            self.input_range,
            by_hand,
            None if formula else grad_modifier,
        )


def _check_parametrization(parametrization: Any) -> Parametrization:
    if parametrization is None:
        return Pixels()
    if not isinstance(parametrization, Parametrization):
        raise TypeError(
            "`parametrization` must be a `vis.parametrizations.Parametrization`, such as "
            f"`Fourier()`. Received: parametrization={parametrization!r}"
        )
    return parametrization


def _check_optimizer(optimizer: Any) -> Update:
    if optimizer is None:
        return RMSprop()
    if isinstance(optimizer, Update):
        return optimizer
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            "`optimizer` must be a Keras optimizer, such as `keras.optimizers.Adam(0.05)`. "
            f"Received: optimizer={optimizer!r}"
        )
    return KerasUpdate(optimizer)


def _check_input_tensor(input_tensor: Any) -> keras.KerasTensor:
    tensors = keras.tree.flatten(input_tensor)
    if len(tensors) != 1 or not isinstance(tensors[0], keras.KerasTensor):
        raise TypeError(
            "`input_tensor` must be the input of a model with one input, `model.input`. "
            f"Received: input_tensor={input_tensor!r}"
        )
    if not keras.backend.is_float_dtype(tensors[0].dtype):
        raise ValueError(
            "`input_tensor` must hold floating point numbers, as no gradient flows into others. "
            f"Received: an input of type {tensors[0].dtype}"
        )
    return tensors[0]


def _check_wrt_tensor(
    wrt_tensor: Any, input_tensor: keras.KerasTensor, network: Network
) -> keras.KerasTensor | None:
    """The tensor that is not the input to take gradients of, or None."""
    if wrt_tensor is None or wrt_tensor is input_tensor:
        return None
    tensors = keras.tree.flatten(wrt_tensor)
    if len(tensors) != 1 or not isinstance(tensors[0], keras.KerasTensor):
        raise TypeError(
            "`wrt_tensor` must be a symbolic tensor of the model, such as `layer.output`. "
            f"Received: wrt_tensor={wrt_tensor!r}"
        )
    network.check_connected(tensors[0])
    return None if tensors[0] is input_tensor else tensors[0]


def _check_losses(losses: Any) -> list[tuple[Loss, float]]:
    if isinstance(losses, (Loss, LossSum)):
        losses = [(losses, 1)]
    try:
        pairs = [(loss, weight) for loss, weight in losses]
    except (TypeError, ValueError):
        raise TypeError(
            f"`losses` must be a list of `(Loss, weight)`. Received: losses={losses!r}"
        ) from None
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


def _check_all(name: str, values: Any, kind: type) -> list:
    values = list(values) if isinstance(values, Iterable) else [] if values is None else [values]
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(
                f"`{name}` must be a list of `{kind.__name__}` objects. "
                f"Received: {value!r} of type {type(value).__name__}"
            )
    return values

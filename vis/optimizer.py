"""Composes weighted losses and descends along their gradient."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vis import grad_modifiers
from vis.backend.engine import (
    Engine,
    Expression,
    Formula,
    Given,
    Observation,
    Problem,
    engine_for,
    initial_state,
)
from vis.backend.expressions import symbolic_scalar
from vis.backend.network import Handle, Network
from vis.backend.random import draw_seed
from vis.callbacks import OptimizerCallback, Print
from vis.input_modifiers import InputModifier, Transform
from vis.losses import Loss, TensorLoss
from vis.parametrizations import Pixels
from vis.utils.model import input_data_format, spatial_axes
from vis.utils.validation import check_backend, check_input_range, check_integer, check_number
from vis.utils.value import Value


# Seconds after which progress is shown, and Ctrl-C heard, while the loop is in the graph.
_RESPONSE_TIME = 0.25


class NonFiniteError(FloatingPointError, ValueError):
    """A loss or a gradient has turned NaN or infinite.

    Attributes:
        iteration: The iteration, from 1, at which it did.
        best_image: The image with the lowest loss before that, as `Optimizer.minimize` would have
            returned it, or None where the first iteration failed.
    """

    def __init__(self, message: str, iteration: int, best_image: np.ndarray | None) -> None:
        super().__init__(message)
        self.iteration = iteration
        self.best_image = best_image


class RMSprop(Value):
    """Gradient descent by a running mean of squared gradients (Tieleman & Hinton, 2012).

    `cache = rho cache + (1 - rho) g^2` and `x -= learning_rate g / sqrt(cache + epsilon)`.

    Args:
        learning_rate: Size of a step.
        rho: Share of the running mean that is kept.
    """

    def __init__(self, learning_rate: float = 1.0, rho: float = 0.95) -> None:
        self.learning_rate = learning_rate
        self.rho = rho
        self.epsilon = keras.config.epsilon()

    def slots(self, variables: list[Any]) -> list[Any]:
        """The memory before the first step, for variables as backend tensors."""
        return [ops.zeros_like(variable) for variable in variables]

    def apply(
        self, variables: list[Any], grads: list[Any], slots: list[Any], step: Any
    ) -> tuple[list[Any], list[Any]]:
        """Variables and memory after a step."""
        slots = [
            self.rho * cache + (1 - self.rho) * ops.square(g)
            for cache, g in zip(slots, grads, strict=True)
        ]
        moved = [
            x - self.learning_rate * g / ops.sqrt(cache + self.epsilon)
            for x, g, cache in zip(variables, grads, slots, strict=True)
        ]
        return moved, slots


class Optimizer:
    """Finds the input that minimises a weighted sum of losses.

    Args:
        input_tensor: The model's input, `model.input` (`model.inputs` of a Sequential model).
        losses: List of `(Loss, weight)`. A loss with weight 0 is left out.
        input_range: Lowest and highest value of the image.
        wrt_tensor: The tensor that gradients are taken of, any tensor of the model; the input by
            default. The image is only updated when it is the input.
        norm_grads: Whether gradients are divided by their L2 norm.

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
        losses: Iterable[tuple[Loss, float]],
        input_range: tuple[float, float] = (0, 255),
        wrt_tensor: keras.KerasTensor | None = None,
        norm_grads: bool = True,
    ) -> None:
        check_backend()
        self.input_tensor = _check_input_tensor(input_tensor)
        self.input_range = check_input_range(input_range)
        self.norm_grads = bool(norm_grads)
        self._network = Network([self.input_tensor])
        self._wrt = _check_wrt_tensor(wrt_tensor, self.input_tensor, self._network)
        self.losses = _check_losses(losses)
        self._terms = [self._term(loss) for loss, _ in self.losses]
        # Engines that hold a user's own expression, and with it the model: they die with us.
        self._own_engines: dict[Problem, Engine] = {}

    def _engine(self, problem: Problem) -> Engine:
        if not any(isinstance(term, Expression) for term in problem.terms):
            return engine_for(problem)
        return self._own_engines.setdefault(problem, Engine(problem))

    def _term(self, loss: Loss) -> Any:
        """What the engine is to know of a loss."""
        if not isinstance(loss, TensorLoss) or type(loss).build_loss is not TensorLoss.build_loss:
            return Expression(symbolic_scalar(loss.build_loss, self._network, str(loss)))
        target = loss.target
        if isinstance(target, keras.Layer):
            if target not in self._network:
                raise ValueError(
                    "`losses` must be on layers of the model that `input_tensor` belongs to. "
                    f"Received: the loss '{loss}' on the layer '{target.name}', which is not "
                    f"connected to '{self.input_tensor.name}'"
                )
            target = self._network.output_of(target)
        self._network.check_connected(target)
        return Formula(type(loss).formula, Handle.of(target), tuple(sorted(loss.settings.items())))

    def minimize(
        self,
        seed_input: np.ndarray | None = None,
        max_iter: int = 200,
        input_modifiers: Sequence[InputModifier] | None = None,
        grad_modifier: str | Callable | None = None,
        callbacks: Sequence[OptimizerCallback] | None = None,
        verbose: bool = True,
        seed: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Descends from a seed image.

        In each iteration the modifiers' `pre` are called in order, losses and gradients are
        computed, the gradients modified, callbacks called and the image updated; then come the
        modifiers' `post`, in reverse order. A `Transform`, such as `Jitter`, runs inside the
        compiled step, after the `pre` of modifiers in NumPy. Without callbacks and modifiers in
        NumPy the loop stays in the compiled graph.

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
        run = _Run(self, modifiers, grad_modifiers.get(grad_modifier), start, seed)
        try:
            run.descend(max_iter, watchers)
        except KeyboardInterrupt:
            warnings.warn(
                f"Interrupted after {run.step} of {max_iter} iterations; this is the best image "
                "so far.",
                stacklevel=2,
            )
        finally:
            for watcher in watchers:
                watcher.on_end()
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
        return _check_seed_input(seed_input, shape)


class _Run:
    """One descent: its state, and how it is driven."""

    def __init__(
        self,
        optimizer: Optimizer,
        modifiers: list[InputModifier],
        grad_modifier: Callable | None,
        start: np.ndarray | None,
        seed: int,
    ) -> None:
        self._optimizer = optimizer
        inputs = optimizer.input_tensor
        parametrization = Pixels()
        shape = (1, *inputs.shape[1:]) if start is None else start.shape
        axes = spatial_axes(inputs)
        transforms = [modifier for modifier in modifiers if _in_graph(modifier)]
        for transform in transforms:
            transform.check(shape, axes)
        self._modifiers = [modifier for modifier in modifiers if not _in_graph(modifier)]
        formula = getattr(grad_modifier, "formula", None)
        self._grad_modifier = None if formula else grad_modifier
        self._problem = Problem(
            inputs=(Handle.of(inputs),),
            terms=tuple(optimizer._terms),
            wrt=optimizer._wrt and Handle.of(optimizer._wrt),
            norm_grads=optimizer.norm_grads,
            grad_modifier=formula,
            moves=tuple(t for t in transforms if t.only_moves_pixels),
            transforms=tuple(t for t in transforms if not t.only_moves_pixels),
            axes=axes,
            parametrization=parametrization,
            image_shape=tuple(shape[1:]),
            update=None if optimizer._wrt else RMSprop(),
            activations=optimizer._network.activations(),
        )
        self._engine = optimizer._engine(self._problem)
        rng = np.random.default_rng(seed)
        dtype = "float64" if inputs.dtype == "float64" else "float32"
        self._given = Given(
            parameters=[
                {name: ops.convert_to_tensor(value) for name, value in parameters.items()}
                for parameters in (getattr(loss, "parameters", {}) for loss, _ in optimizer.losses)
            ],
            weights=ops.convert_to_tensor([w for _, w in optimizer.losses], dtype),
            seeds=ops.convert_to_tensor(rng.integers(2**31, size=(shape[0], 2)), "int32"),
            input_range=ops.convert_to_tensor(optimizer.input_range, dtype),
        )
        variables = parametrization.variables(start, shape, optimizer.input_range, rng)
        variables = [np.asarray(variable, dtype) for variable in variables]
        self._state = initial_state(self._problem, variables, self._given)
        self._parametrization = parametrization
        self._seen: Observation | None = None
        self.step = 0

    def descend(self, max_iter: int, watchers: list[OptimizerCallback]) -> None:
        """Takes steps, as many of them in one go as there is nobody who needs to see each."""
        by_hand = bool(self._modifiers or self._grad_modifier)
        watched = any(watcher.every_step for watcher in watchers)
        steps = 1
        while self.step < max_iter:
            began = time.perf_counter()
            if by_hand:
                self._step_by_hand()
            else:
                self._steps_in_graph(min(steps, max_iter - self.step))
            if self._state.failed:
                raise self._non_finite()
            self.step = int(self._state.step)
            self._show(watchers)
            if self._modifiers:
                self._modify(InputModifier.post.__name__, reversed(self._modifiers))
            if not watched and time.perf_counter() - began < _RESPONSE_TIME / 2:
                steps *= 2

    def _steps_in_graph(self, steps: int) -> None:
        self._state, self._seen = self._engine.loop(
            self._state, self._given, ops.convert_to_tensor(steps, "int32")
        )

    def _step_by_hand(self) -> None:
        """A step with modifiers in NumPy, which the compiled loop cannot hold."""
        self._modify(InputModifier.pre.__name__, self._modifiers)
        if self._problem.moves:
            self._state = self._engine.move(self._state, self._given)
        seen = self._engine.evaluate(self._state.variables, self._given, self._state.step)
        if self._grad_modifier:
            grads = np.asarray(self._grad_modifier(seen.grads.numpy()), seen.grads.numpy().dtype)
            if grads.shape != tuple(seen.grads.shape):
                raise ValueError(
                    "`grad_modifier` must return gradients of the shape that it is given, "
                    f"{tuple(seen.grads.shape)}. Received: an array of shape {grads.shape}"
                )
            seen = seen._replace(grads=ops.convert_to_tensor(grads))
        self._seen = seen
        self._state = self._engine.update(self._state, seen, self._given)

    def _modify(self, method: str, modifiers: Iterable[InputModifier]) -> None:
        before = self._state.variables[0].numpy()
        image = before
        for modifier in modifiers:
            image = np.asarray(getattr(modifier, method)(image), before.dtype)
            if image.shape != before.shape:
                raise ValueError(
                    f"`input_modifiers` must keep the image's shape {before.shape}. Received: an "
                    f"image of shape {image.shape} from {type(modifier).__name__}.{method}"
                )
        self._state = self._state._replace(variables=[ops.convert_to_tensor(image)])

    def _show(self, watchers: list[OptimizerCallback]) -> None:
        if not watchers:
            return
        values = self._seen.losses.numpy().mean(axis=1).tolist()
        names = [str(loss) for loss, _ in self._optimizer.losses]
        for watcher in watchers:
            watcher.callback(
                self.step - 1,
                list(zip(names, values, strict=True)),
                float(self._seen.overall.numpy().mean()),
                self._seen.grads.numpy(),
                self._seen.wrt_value.numpy(),
            )

    def _non_finite(self) -> NonFiniteError:
        values = self._seen.losses.numpy()
        names = [
            f"'{loss}'"
            for (loss, _), value in zip(self._optimizer.losses, values, strict=True)
            if not np.isfinite(value).all()
        ]
        step = int(self._state.step)
        what = f"The loss {' and '.join(names)}" if names else "The gradient"
        rescue = (
            "The best image until then is the error's `best_image`: `except NonFiniteError as "
            "error: image = error.best_image`, with `from vis.optimizer import NonFiniteError`."
            if step
            else "There is no image from before; do the model's weights or `seed_input` hold NaN?"
        )
        losses = dict(zip([str(loss) for loss, _ in self._optimizer.losses], values.mean(axis=1)))
        return NonFiniteError(
            f"{what} turned NaN or infinite at iteration {step + 1}. {rescue} A smaller weight, or "
            f"a smaller step, may help. Received: losses {losses}",
            iteration=step + 1,
            best_image=self._picture() if step else None,
        )

    def _picture(self) -> np.ndarray:
        pictures = [
            self._parametrization.picture(image, self._optimizer.input_range)
            for image in self._state.best_image.numpy()
        ]
        return pictures[0] if len(pictures) == 1 else np.stack(pictures)

    def result(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """The best picture, the last gradients and the value of what they are of."""
        seen = self._seen
        if seen is None:
            return self._picture(), None, None
        return self._picture(), seen.grads.numpy(), seen.wrt_value.numpy()


def _in_graph(modifier: InputModifier) -> bool:
    """Whether a modifier runs as a transform, and not through a `pre` or `post` of the user's."""
    return (
        isinstance(modifier, Transform)
        and type(modifier).pre is Transform.pre
        and type(modifier).post is InputModifier.post
    )


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
    try:
        pairs = [(loss, weight) for loss, weight in losses]
    except (TypeError, ValueError):
        raise TypeError(
            f"`losses` must be a list of `(Loss, weight)`. Received: losses={losses!r}"
        ) from None
    for loss, _ in pairs:
        if not isinstance(loss, Loss):
            raise TypeError(
                "`losses` must be a list of `(Loss, weight)`. "
                f"Received: {loss!r} of type {type(loss).__name__} in the place of a loss"
            )
    pairs = [(loss, check_number("weight", weight)) for loss, weight in pairs]
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


def _check_seed_input(seed_input: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """The seed as `(samples, *shape)`."""
    array = np.asarray(seed_input)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise TypeError(
            f"`seed_input` must be an array of numbers. Received: seed_input of type {array.dtype}"
        )
    batch = array[None] if array.ndim == len(shape) else array
    if batch.ndim == len(shape) + 1:
        arrangements = [batch]
        if len(shape) > 1:
            arrangements += [np.moveaxis(batch, -1, 1), np.moveaxis(batch, 1, -1)]
        for arranged in arrangements:
            sizes = zip(arranged.shape[1:], shape, strict=True)
            if len(batch) and all(wanted in (None, size) for size, wanted in sizes):
                if not np.isfinite(arranged).all():
                    raise ValueError(
                        "`seed_input` must be finite. Received: seed_input with "
                        f"{np.count_nonzero(~np.isfinite(arranged))} NaN or infinite values"
                    )
                return arranged
    raise ValueError(
        f"`seed_input` must be of shape {shape}, or {(None, *shape)} with the batch axis. "
        f"Received: seed_input of shape {array.shape}"
    )

"""One descent: its state, and how it is driven."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from keras import ops

from vis.backend.engine import Engine, Given, Observation, Problem
from vis.callbacks import OptimizerCallback
from vis.input_modifiers import InputModifier

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


class Descent:
    """One descent: its state, and how it is driven.

    Args:
        problem: What is optimised.
        engine: The problem's compiled functions.
        given: What the functions are called with.
        variables: Initial values, arrays of `(samples, ...)`.
        names: Names of the losses, for messages and callbacks.
        input_range: Lowest and highest value of an image.
        modifiers: Modifiers in NumPy, which are called around each step.
        grad_modifier: A function of the gradient array, called in each step.
    """

    def __init__(
        self,
        problem: Problem,
        engine: Engine,
        given: Given,
        variables: list[np.ndarray],
        names: Sequence[str],
        input_range: tuple[float, float],
        modifiers: Sequence[InputModifier] = (),
        grad_modifier: Callable | None = None,
    ) -> None:
        self._problem = problem
        self._engine = engine
        self._given = given
        self._names = names
        self._input_range = input_range
        self._modifiers = modifiers
        self._grad_modifier = grad_modifier
        self._state = engine.initial_state(variables, given)
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
        for watcher in watchers:
            watcher.callback(
                self.step - 1,
                list(zip(self._names, values, strict=True)),
                float(self._seen.overall.numpy().mean()),
                self._seen.grads.numpy(),
                self._seen.wrt_value.numpy(),
            )

    def _non_finite(self) -> NonFiniteError:
        values = self._seen.losses.numpy()
        names = [
            f"'{name}'"
            for name, value in zip(self._names, values, strict=True)
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
        losses = dict(zip(self._names, values.mean(axis=1).tolist(), strict=True))
        return NonFiniteError(
            f"{what} turned NaN or infinite at iteration {step + 1}. {rescue} A smaller weight, or "
            f"a smaller step, may help. Received: losses {losses}",
            iteration=step + 1,
            best_image=self._picture() if step else None,
        )

    def _picture(self) -> np.ndarray:
        pictures = [
            self._problem.parametrization.picture(image, self._input_range)
            for image in self._state.best_image.numpy()
        ]
        return pictures[0] if len(pictures) == 1 else np.stack(pictures)

    @property
    def variables(self) -> list[np.ndarray]:
        """What is optimised, as it is now."""
        return [variable.numpy() for variable in self._state.variables]

    def pictures(self) -> np.ndarray:
        """The pictures as they are now, `(samples, ...)`, brought into the range."""
        images = self._engine.image(self._state.variables, self._given).numpy()
        finish = self._problem.parametrization.picture
        return np.stack([finish(image, self._input_range) for image in images])

    def result(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """The best picture, the last gradients and the value of what they are of."""
        seen = self._seen
        if seen is None:
            return self._picture(), None, None
        return self._picture(), seen.grads.numpy(), seen.wrt_value.numpy()

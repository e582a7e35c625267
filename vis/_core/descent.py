"""One descent: its state, and how it is driven."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import InitVar, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from vis.backend.graph import Graph
from vis.backend.layers import WeightCache
from vis.backend.step import VERSIONS, Engine, StepInputs, StepOutput, StepSpec
from vis.callbacks import OptimizerCallback
from vis.grad_modifiers import modified_gradients
from vis.input_modifiers import InputModifier, Seeded
from vis.utils.description import describe, digest
from vis.utils.validation import expect

# Seconds after which progress is shown, and Ctrl-C heard, while the loop is in the graph: for each
# sample, as each enters the graph by itself, which costs as much as a step, and at most.
_RESPONSE_TIME, _LONGEST_RESPONSE_TIME = 0.25, 2.0
# By how much the number of steps between looks grows at most; the first ones are slow.
_GROWTH = 16


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


@dataclass(eq=False, repr=False)
class Descent:
    """One descent: its state, and how it is driven."""

    graph: Graph
    problem: StepSpec
    engine: Engine
    given: StepInputs
    start: InitVar[list[list[np.ndarray]]]  # The initial variables of each input.
    names: Sequence[str]  # Of the losses.
    input_ranges: Sequence[tuple[float, float]]  # Of each input that is optimised.
    modifiers: Sequence[InputModifier]  # Those in NumPy, which are called around each step.
    grad_modifier: Callable | None  # One in NumPy, which is called in each.
    # What is made of the weights; it serves all descents that they do not change between.
    weight_cache: WeightCache

    def __post_init__(self, start: list[list[np.ndarray]]) -> None:
        self._state = self.engine.initial_state(start, self.given)
        self._seen: Any = None

    @property
    def step(self) -> int:
        """Number of steps taken."""
        return int(self._state.step)

    def descend(self, max_iter: int, callbacks: list[OptimizerCallback]) -> None:
        """Takes steps up to `max_iter`, many of them in the compiled loop if callbacks allow."""
        in_numpy = bool(self.modifiers or self.grad_modifier)
        step_by_step = any(each.every_step and not each.losses_only for each in callbacks)
        response_time = min(_RESPONSE_TIME * len(self.given.seeds), _LONGEST_RESPONSE_TIME)
        steps = 1
        while (first := self.step) < max_iter:
            began = time.perf_counter()
            steps = min(steps, max_iter - first)
            losses = self._step_in_numpy() if in_numpy else self._loop(steps)
            self._call(callbacks, first, losses)
            if self._state.failed:
                raise self._non_finite()
            if self.modifiers:
                self._modify(InputModifier.post.__name__, reversed(self.modifiers))
            if not step_by_step:
                share = response_time / (time.perf_counter() - began)
                steps = max(steps, int(steps * min(share, _GROWTH)))

    def _loop(self, steps: int) -> Any:
        """Takes steps in the compiled loop; returns their losses, `(steps, terms, samples)`."""
        self._state, self._seen, losses = self.engine.loop(
            self.graph,
            self.weight_cache,
            self._state,
            self.given,
            ops.convert_to_tensor(steps, "int32"),
        )
        return losses

    def _step_in_numpy(self) -> Any:
        """Takes a step with modifiers in NumPy, outside of the compiled loop."""
        self._modify(InputModifier.pre.__name__, self.modifiers)
        state, _, seen = self.engine.evaluate(
            self.graph, self.weight_cache, self._state, self.given
        )
        if self.grad_modifier:
            modified = (modified_gradients(self.grad_modifier, g.numpy()) for g in seen.grads)
            seen = seen._replace(grads=list(map(ops.convert_to_tensor, modified)))
        self._seen = seen
        self._state = self.engine.update(self.graph, self.weight_cache, state, seen, self.given)
        return seen.losses[None]

    def _modify(self, method: str, modifiers: Iterable[InputModifier]) -> None:
        """Changes the image by hand: of several inputs the first that has spatial axes."""
        axes = [optimised_input.layout.axes for optimised_input in self.problem.optimised_inputs]
        number = next((i for i, spatial in enumerate(axes) if spatial), 0)
        image = before = self._state.variables[number][0].numpy()
        for modifier in modifiers:
            image = np.asarray(getattr(modifier, method)(image), before.dtype)
            source = f"{type(modifier).__name__}.{method}"
            expected = f"keep the image's shape {before.shape}"
            received = f"an image of shape {image.shape} from {source}"
            expect(image.shape == before.shape, "input_modifiers", expected, received)
        variables = list(self._state.variables)
        variables[number] = [ops.convert_to_tensor(image)]
        self._state = self._state._replace(variables=variables)

    def _call(self, callbacks: list[OptimizerCallback], first: int, losses: Any) -> None:
        """Calls callbacks for each step from `first` on, or for the last one only."""
        if not callbacks:
            return
        losses = ops.convert_to_numpy(losses)
        means = losses.mean(axis=2).tolist()
        overall = losses.sum(axis=1).mean(axis=1).tolist()
        steps = range(first, self.step)
        # The arrays of a step that failed belong to no step.
        last = steps[:0] if self._state.failed else steps[-1:]
        for callback in callbacks:
            for i in steps if callback.losses_only else last:
                named_losses = list(zip(self.names, means[i - first], strict=True))
                arrays = [None, None] if callback.losses_only else map(_alone, self._last())
                callback.callback(i, named_losses, overall[i - first], *arrays)

    def _non_finite(self) -> NonFiniteError:
        values = self._seen.losses.numpy()
        pairs = zip(self.names, values, strict=True)
        names = [f"'{name}'" for name, value in pairs if not np.isfinite(value).all()]
        step = self.step
        what = f"The loss {' and '.join(names)}" if names else "The gradient"
        rescue = (
            "The best image until then is the error's `best_image`: `except NonFiniteError as "
            "error: image = error.best_image`, with `from vis.optimizer import NonFiniteError`."
            if step
            else "There is no image from before; do the model's weights or `seed_input` hold NaN?"
        )
        losses = dict(zip(self.names, values.mean(axis=1).tolist(), strict=True))
        return NonFiniteError(
            f"{what} turned NaN or infinite at iteration {step + 1}. {rescue} A smaller weight, or "
            f"a smaller step, may help. Received: losses {losses}",
            iteration=step + 1,
            best_image=_alone(self._pictures()) if step else None,
        )

    def description(self) -> dict[str, str]:
        """What decides the picture, by its name; to be asked before the first step."""
        problem, given = self.problem, self.given
        forward = self.engine.fingerprint(self.graph, self._state, given)
        if forward.own_state:
            raise ValueError(
                "`checkpoint` needs a model and losses that draw no random numbers and keep no "
                "state of their own, as these cannot be continued after an interruption. "
                f"Received: operations {', '.join(forward.own_state)}"
            )
        decisive = {
            "`losses`": list(zip(self.names, given.weights.numpy().tolist(), strict=True)),
            "what the losses look for": given.parameters,
            "`input_range`": _alone([[float(end) for end in ends] for ends in self.input_ranges]),
            "the images' shape": [
                (len(given.seeds), *c.layout.shape) for c in problem.optimised_inputs
            ],
            "`parametrization`": [
                optimised_input.parametrization for optimised_input in problem.optimised_inputs
            ],
            "`optimizer`": problem.update,
            "`norm_grads`": problem.norm_grads,
            "`grad_modifier`": (problem.grad_modifier, self.grad_modifier),
            "`input_modifiers`": (
                [
                    (optimised_input.variable_transforms, optimised_input.transforms)
                    for optimised_input in problem.optimised_inputs
                ],
                self.modifiers,
            ),
            "`fixed_inputs`": given.fixed,
            "`precision`": problem.precision,
            "`skip_erosion`": problem.skip_erosion,
            "the image that it starts from": digest(keras.tree.flatten(self.variables)),
            "the model's weights": forward.weights,
            "the computation of the model and the losses": forward.structure,
            **VERSIONS,
        }
        return {name: describe(value) for name, value in decisive.items()}

    def snapshot(self) -> list[np.ndarray]:
        """All that the next step depends on, and what the last has seen."""
        return [np.asarray(value) for value in keras.tree.flatten((self._state, self._seen))]

    def restore(self, snapshot: Sequence[np.ndarray]) -> None:
        """Goes on from the snapshot of another descent, of the same description."""
        shown = [""] * len(self.problem.wrt_refs)
        like = self._state, StepOutput("", "", shown, shown)
        tensors = [ops.convert_to_tensor(value) for value in snapshot]
        self._state, self._seen = keras.tree.pack_sequence_as(like, tensors)
        for modifier in self.modifiers:
            if isinstance(modifier, Seeded):
                modifier.step = self.step

    def _pictures(self) -> list[np.ndarray]:
        """For each input the best pictures; of a single sample without its axis."""
        return list(map(_alone, self._finished(self._state.best_images)))

    def _finished(self, images: Sequence[Any]) -> list[np.ndarray]:
        each = zip(self.problem.optimised_inputs, images, self.input_ranges, strict=True)
        return [
            np.stack(
                [optimised_input.parametrization.picture(image, ends) for image in batch.numpy()]
            )
            for optimised_input, batch, ends in each
        ]

    @property
    def variables(self) -> list[list[np.ndarray]]:
        """What is optimised, as it is now, for each input."""
        return [[value.numpy() for value in values] for values in self._state.variables]

    @property
    def best_losses(self) -> np.ndarray:
        """The lowest overall loss of each sample so far."""
        return self._state.best_loss.numpy()

    def pictures(self) -> list[np.ndarray]:
        """For each input the pictures as they are now, `(samples, ...)`, brought into range."""
        # One by one, so that the rounding is that of any other batch.
        alone = [
            self.engine.images(
                self.graph,
                self.weight_cache,
                [[value[i : i + 1] for value in values] for values in self._state.variables],
                self.given,
            )
            for i in range(self._state.best_loss.shape[0])
        ]
        return self._finished([ops.concatenate(images) for images in zip(*alone, strict=True)])

    def result(self) -> tuple[list[np.ndarray], list[Any], list[Any]]:
        """The best pictures, the last gradients and the values of what they are of."""
        return self._pictures(), *self._last()

    def _last(self) -> tuple[list[Any], list[Any]]:
        """The gradients that were seen last, and the values of what they are of."""
        if self._seen is None:
            nothing: list[Any] = [None] * len(self.problem.wrt_refs)
            return nothing, nothing
        grads, values = self._seen.grads, self._seen.wrt_values
        return [g.numpy() for g in grads], [value.numpy() for value in values]


def _alone(values: Any) -> Any:
    """The only value, or all of several."""
    return values[0] if len(values) == 1 else values

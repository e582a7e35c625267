"""`Descent`: one optimisation, its state and its steps."""

import time
from collections.abc import Callable, Sequence
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
from vis.input_modifiers import InputModifier, SeededTransform
from vis.utils.description import describe, digest
from vis.utils.validation import expect

# Seconds that the compiled loop runs before callbacks are called and Ctrl-C is handled: per sample,
# because each sample has a loop of its own, and at most.
_RESPONSE_TIME, _MAX_RESPONSE_TIME = 0.25, 2.0
# Maximum growth of the number of steps from one run of the loop to the next. The first steps are
# slow, and say little about later ones.
_MAX_GROWTH = 16


class NonFiniteError(FloatingPointError, ValueError):
    """A loss or a gradient is NaN or infinite.

    Attributes:
        iteration: The iteration that failed, from 1.
        best_image: The image with the lowest loss of earlier iterations, as `Optimizer.minimize`
            returns it, or None if the first iteration failed.
    """

    def __init__(self, message: str, iteration: int, best_image: np.ndarray | None) -> None:
        super().__init__(message)
        self.iteration = iteration
        self.best_image = best_image


@dataclass(eq=False, repr=False)
class Descent:
    """One optimisation: its state and its steps."""

    graph: Graph
    spec: StepSpec
    engine: Engine
    step_inputs: StepInputs
    initial_variables: InitVar[list[list[np.ndarray]]]  # Of each optimised input.
    loss_names: Sequence[str]
    input_ranges: Sequence[tuple[float, float]]  # Of each optimised input.
    numpy_modifiers: Sequence[InputModifier]  # Called before and after each step.
    numpy_grad_modifier: Callable | None
    weight_cache: WeightCache  # Shared by descents between which the weights do not change.

    def __post_init__(self, initial_variables: list[list[np.ndarray]]) -> None:
        self._state = self.engine.initial_state(initial_variables, self.step_inputs)
        self._output: Any = None  # The `StepOutput` of the last step.
        self._losses: list[np.ndarray] = []

    @property
    def step(self) -> int:
        """Number of steps taken."""
        return int(self._state.step)

    @property
    def variables(self) -> list[list[np.ndarray]]:
        """The current variables of each optimised input."""
        return [list(map(_to_numpy, values)) for values in self._state.variables]

    @property
    def best_losses(self) -> np.ndarray:
        """The lowest overall loss of each sample so far."""
        return _to_numpy(self._state.best_loss)

    @property
    def losses(self) -> np.ndarray:
        """The losses of all steps that this object has taken, `(steps, terms, samples)`."""
        return np.concatenate(self._losses)

    def descend(self, max_iter: int, callbacks: list[OptimizerCallback]) -> None:
        """Takes steps until there are `max_iter`, many at a time if the callbacks allow it."""
        in_numpy = bool(self.numpy_modifiers or self.numpy_grad_modifier)
        one_by_one = any(each.every_step and not each.losses_only for each in callbacks)
        response_time = min(_RESPONSE_TIME * len(self.step_inputs.seeds), _MAX_RESPONSE_TIME)
        steps = 1
        while (first := self.step) < max_iter:
            start_time = time.perf_counter()
            steps = min(steps, max_iter - first)
            losses = _to_numpy(self._step_in_numpy() if in_numpy else self._run_loop(steps))
            self._losses.append(losses)
            self._call(callbacks, first, losses)
            if self._state.failed:
                raise self._non_finite_error()
            self._modify_image([modifier.post for modifier in reversed(self.numpy_modifiers)])
            if not one_by_one:
                growth = response_time / (time.perf_counter() - start_time)
                steps = max(steps, int(steps * min(growth, _MAX_GROWTH)))

    def _run_loop(self, steps: int) -> Any:
        """Takes steps in the compiled loop. Returns their losses, `(steps, terms, samples)`."""
        steps = ops.convert_to_tensor(steps, "int32")
        self._state, self._output, losses = self.engine.loop(
            self.graph, self.weight_cache, self._state, self.step_inputs, steps
        )
        return losses

    def _step_in_numpy(self) -> Any:
        """Takes one step, with modifiers in NumPy. Returns its losses, `(1, terms, samples)`."""
        self._modify_image([modifier.pre for modifier in self.numpy_modifiers])
        arguments = self.graph, self.weight_cache
        state, _, output = self.engine.evaluate(*arguments, self._state, self.step_inputs)
        if self.numpy_grad_modifier:
            grads = map(_to_numpy, output.grads)
            modified = [modified_gradients(self.numpy_grad_modifier, grad) for grad in grads]
            output = output._replace(grads=list(map(ops.convert_to_tensor, modified)))
        self._output = output
        self._state = self.engine.update(*arguments, state, output, self.step_inputs)
        return output.losses[None]

    def _modify_image(self, functions: Sequence[Callable[[np.ndarray], np.ndarray]]) -> None:
        """Modifies the first optimised input with spatial axes, or else the first."""
        if not functions:
            return
        spatial = [bool(o.layout.axes) for o in self.spec.optimised_inputs]
        index = spatial.index(True) if any(spatial) else 0
        variables = list(self._state.variables)
        image = _to_numpy(variables[index][0])
        shape, dtype = image.shape, image.dtype
        for function in functions:
            image = np.asarray(function(image), dtype)
            received = f"an image of shape {image.shape} from {function.__qualname__}"
            expected = f"keep the image's shape {shape}"
            expect(image.shape == shape, "input_modifiers", expected, received)
        variables[index] = [ops.convert_to_tensor(image)]
        self._state = self._state._replace(variables=variables)

    def _call(self, callbacks: list[OptimizerCallback], first: int, losses: np.ndarray) -> None:
        """Calls `losses_only` callbacks for each step from `first` on, others for the last one."""
        if not callbacks:
            return
        means = losses.mean(axis=2).tolist()
        overall = losses.sum(axis=1).mean(axis=1).tolist()
        steps = range(first, self.step)
        # The gradients of a step that failed belong to no step.
        last = steps[:0] if self._state.failed else steps[-1:]
        for callback in callbacks:
            for i in steps if callback.losses_only else last:
                named_losses = list(zip(self.loss_names, means[i - first], strict=True))
                arrays = (None, None) if callback.losses_only else map(_unwrap, self._last_arrays())
                callback.callback(i, named_losses, overall[i - first], *arrays)

    def _non_finite_error(self) -> NonFiniteError:
        values = _to_numpy(self._output.losses)
        pairs = zip(self.loss_names, values, strict=True)
        names = [f"'{name}'" for name, value in pairs if not np.isfinite(value).all()]
        source = f"The loss {' and '.join(names)}" if names else "The gradient"
        step = self.step
        advice = (
            "The best image until then is the error's `best_image`: `except NonFiniteError as "
            "error: image = error.best_image`, with `from vis.optimizer import NonFiniteError`."
            if step
            else "There is no earlier image; check the model's weights and `seed_input` for NaN."
        )
        losses = dict(zip(self.loss_names, values.mean(axis=1).tolist(), strict=True))
        return NonFiniteError(
            f"{source} turned NaN or infinite at iteration {step + 1}. {advice} A smaller weight "
            f"or a smaller learning rate may help. Received: losses {losses}",
            iteration=step + 1,
            best_image=_unwrap(self._best_pictures()) if step else None,
        )

    def result(self) -> tuple[list[np.ndarray], list[Any], list[Any]]:
        """The best pictures, the last gradients, and the values of the tensors they belong to.

        Pictures of a single sample have no batch axis.
        """
        return self._best_pictures(), *self._last_arrays()

    def pictures(self) -> list[np.ndarray]:
        """The current pictures of each optimised input, `(samples, ...)`."""
        # One by one: the rounding must not depend on the size of the batch.
        samples = []
        for i in range(len(self.step_inputs.seeds)):
            variables = [[v[i : i + 1] for v in values] for values in self._state.variables]
            arguments = self.graph, self.weight_cache, variables, self.step_inputs
            samples.append(self.engine.images(*arguments))
        return self._to_pictures([ops.concatenate(images) for images in zip(*samples, strict=True)])

    def _best_pictures(self) -> list[np.ndarray]:
        return list(map(_unwrap, self._to_pictures(self._state.best_images)))

    def _to_pictures(self, images: Sequence[Any]) -> list[np.ndarray]:
        """Images of each optimised input, brought into its range."""
        batches = map(_to_numpy, images)
        per_input = zip(self.spec.optimised_inputs, batches, self.input_ranges, strict=True)
        return [
            np.stack([o.parametrization.to_picture(image, ends) for image in batch])
            for o, batch, ends in per_input
        ]

    def _last_arrays(self) -> tuple[list[Any], list[Any]]:
        """The last gradients, and the values of the tensors they belong to."""
        if self._output is None:
            missing: list[Any] = [None] * len(self.spec.wrt_refs)
            return missing, missing
        grads, values = self._output.grads, self._output.wrt_values
        return list(map(_to_numpy, grads)), list(map(_to_numpy, values))

    def snapshot(self) -> list[np.ndarray]:
        """Everything that the next step depends on, and the output of the last one."""
        return [np.asarray(value) for value in keras.tree.flatten((self._state, self._output))]

    def restore(self, snapshot: Sequence[np.ndarray]) -> None:
        """Continues from the snapshot of another descent with the same `description`."""
        arrays = [""] * len(self.spec.wrt_refs)
        structure = self._state, StepOutput("", "", arrays, arrays)
        tensors = [ops.convert_to_tensor(value) for value in snapshot]
        self._state, self._output = keras.tree.pack_sequence_as(structure, tensors)
        for modifier in self.numpy_modifiers:
            if isinstance(modifier, SeededTransform):
                modifier.step = self.step

    def description(self) -> dict[str, str]:
        """Everything that the picture depends on, by name. Valid before the first step only."""
        spec, inputs = self.spec, self.step_inputs
        optimised = spec.optimised_inputs
        fingerprint = self.engine.fingerprint(self.graph, self._state, inputs)
        if fingerprint.own_state:
            raise ValueError(
                "`checkpoint` needs a model and losses that draw no random numbers and keep no "
                "state of their own, because these cannot be resumed exactly. "
                f"Received: operations {', '.join(fingerprint.own_state)}"
            )
        weights = _to_numpy(inputs.weights).tolist()
        transforms = [(o.variable_transforms, o.transforms) for o in optimised]
        settings = {
            "`losses`": list(zip(self.loss_names, weights, strict=True)),
            "the filters or other parameters of the losses": inputs.parameters,
            "`input_range`": _unwrap([list(map(float, ends)) for ends in self.input_ranges]),
            "the shape of the images": [(len(inputs.seeds), *o.layout.shape) for o in optimised],
            "`parametrization`": [o.parametrization for o in optimised],
            "`optimizer`": spec.update,
            "`norm_grads`": spec.norm_grads,
            "`grad_modifier`": (spec.grad_modifier, self.numpy_grad_modifier),
            "`input_modifiers`": (transforms, self.numpy_modifiers),
            "`fixed_inputs`": inputs.fixed,
            "`precision`": spec.precision,
            "`skip_erosion`": spec.skip_erosion,
            "the initial image": digest(keras.tree.flatten(self.variables)),
            "the model's weights": fingerprint.weights,
            "the computation of the model and the losses": fingerprint.structure,
            **VERSIONS,
        }
        return {name: describe(value) for name, value in settings.items()}


def _unwrap(values: Any) -> Any:
    """The element of a sequence with one element; other sequences as they are."""
    return values[0] if len(values) == 1 else values


def _to_numpy(tensor: Any) -> np.ndarray:
    """A copy of a tensor as an array; `keras.ops.convert_to_numpy` warns about bfloat16."""
    return np.array(np.asarray(tensor))

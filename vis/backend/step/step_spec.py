"""`StepSpec`, which a trace depends on, and `StepInputs`, which may change from call to call."""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import keras

from vis.backend.graph import TensorRef
from vis.utils.layout import Layout


class Formula(NamedTuple):
    """A loss that is a function of one tensor, with a value for each sample."""

    function: Callable  # `function(value, **parameters, **settings)` returns (samples,).
    target: TensorRef
    settings: tuple[tuple[str, Hashable], ...] = ()  # Keyword arguments that are fixed in a trace.
    before_softmax: bool = False  # Whether the target's layer is run without its softmax.
    couples_samples: bool = False  # Whether a sample's value depends on the rest of the batch.

    @property
    def name(self) -> str:
        """A name for messages; those given by users would be another thing to depend on."""
        return f"{self.function.__qualname__.split('.')[0]} of '{self.target.operation().name}'"


class Expression(NamedTuple):
    """A loss that is a symbolic scalar over tensors of the graph. It keeps the model alive."""

    target: keras.KerasTensor
    couples_samples: bool = True
    before_softmax: bool = False
    name: str = "a custom loss"


Term = Formula | Expression


class OptimisedInput(NamedTuple):
    """An input that is optimised, and how its image is made and transformed."""

    input_index: int  # Into `StepSpec.input_refs`.
    parametrization: Any  # Makes images of variables.
    layout: Layout
    variable_transforms: tuple[Any, ...]  # Of the variables themselves, before each step.
    transforms: tuple[Any, ...]  # Between the image and the model.


class StepSpec(NamedTuple):
    """Everything that a trace depends on, with weak references to the model."""

    input_refs: tuple[TensorRef, ...]  # The tensors that get values.
    optimised_inputs: tuple[OptimisedInput, ...]  # All other inputs are fixed.
    terms: tuple[Term, ...]
    wrt: TensorRef | None  # The tensor to differentiate by, or None for the images.
    norm_grads: bool  # Whether gradients are divided by their L2 norm, per sample and input.
    grad_modifier: Callable | None  # A function of gradients, in `keras.ops`.
    update: Any  # The update rule, or None if nothing is updated.
    activations: tuple[Any, ...]  # Weak references to the model's activation functions.
    precision: str | None = None  # The compute dtype, or None for the model's own.
    skip_erosion: float = 0.0  # As in `vis.backend.graph.Erosion`.
    threads: int | None = None  # Number of threads per sample, or None for all.

    @property
    def wrt_refs(self) -> list[TensorRef]:
        """The tensors to differentiate by: `wrt`, or the optimised inputs."""
        return (
            [self.wrt]
            if self.wrt
            else [self.input_refs[o.input_index] for o in self.optimised_inputs]
        )

    @property
    def is_stateful(self) -> bool:
        """Whether the update rule has variables, filled before a step and read after it."""
        return self.update is not None and not self.update.stateless

    def images(self, variables: list[list[Any]], step_inputs: "StepInputs") -> list[Any]:
        """The images that the variables of each optimised input stand for."""
        per_input = zip(self.optimised_inputs, variables, step_inputs.input_ranges, strict=True)
        return [
            optimised.parametrization.image(values, optimised.layout, input_range)
            for optimised, values, input_range in per_input
        ]


class StepInputs(NamedTuple):
    """The tensors that change from call to call without a new trace."""

    parameters: list[dict[str, Any]]  # For each term the parameters of its formula, by name.
    weights: Any  # Weights of the terms, (terms,).
    seeds: Any  # Random seeds, (samples, 2).
    input_ranges: list[Any]  # For each optimised input (low, high), (2,).
    fixed: list[Any]  # Values of the other inputs, (samples, ...).


class State(NamedTuple):
    """The state that one step passes to the next."""

    step: Any  # Number of steps taken.
    variables: list[list[Any]]  # For each optimised input its variables, (samples, ...).
    slots: list[Any]  # The update rule's own state.
    best_loss: Any  # Lowest overall loss of each sample, (samples,).
    best_images: list[Any]  # For each optimised input the images that had it, (samples, ...).
    failed: Any  # Whether a loss or gradient of the step after `step` was not finite.


class StepOutput(NamedTuple):
    """The losses and gradients of one evaluation."""

    losses: Any  # Weighted losses, (terms, samples).
    overall: Any  # Their sum, (samples,).
    grads: list[Any]  # Normalised and modified gradients, by `StepSpec.wrt_refs`.
    wrt_values: list[Any]  # The values of those tensors.

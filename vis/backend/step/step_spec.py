"""What a compiled step is made for, and what changes from call to call without another trace.

A problem says what is optimised, how it is looked at and what is wanted, and holds nothing but
formulas and weak handles.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import keras

from vis.backend.graph import TensorRef
from vis.utils.layout import Layout


class Formula(NamedTuple):
    """A loss that is a function of one tensor, sample by sample."""

    function: Callable  # Called as `function(value, **parameters, **settings)`; gives (samples,).
    target: TensorRef  # Where the value is found.
    settings: tuple[tuple[str, Hashable], ...] = ()  # Names and values, fixed in the trace.
    before_softmax: bool = False  # Whether the layer of the target runs without its softmax.
    couples_samples: bool = False  # Whether a sample's value depends on the others in the batch.


class Expression(NamedTuple):
    """A loss that is a symbolic scalar over tensors of the graph. Keeps the model alive."""

    target: keras.KerasTensor
    couples_samples: bool = True


Term = Formula | Expression


class OptimisedInput(NamedTuple):
    """An input that is optimised: how its image is made, and how the model sees it."""

    number: int  # Which of what is fed it is.
    parametrization: Any  # Makes images of variables.
    layout: Layout
    # What happens to the variables themselves before each step, and what the model sees the image
    # through. Each is called with images, seeds and axes.
    moves: tuple[Any, ...]
    transforms: tuple[Any, ...]


class StepSpec(NamedTuple):
    """Everything that a trace depends on."""

    fed: tuple[TensorRef, ...]  # What is given values: the graph's inputs, or what is made of them.
    optimised_inputs: tuple[OptimisedInput, ...]  # Those that are optimised; the others are fixed.
    terms: tuple[Term, ...]
    wrt: TensorRef | None  # What gradients are taken of; None is the images themselves.
    norm_grads: bool  # Whether they are divided by their L2 norm, by sample and by input.
    grad_modifier: Callable | None  # A function of the gradients in `keras.ops`.
    update: Any  # The rule of the descent, or None where nothing moves.
    activations: tuple[Any, ...]  # Weak references to those that the trace is made with.
    precision: str | None = None  # The type that the network computes in, or None for its own.
    skip_erosion: float = 0.0  # As for `vis.backend.graph.Erosion`.
    threads: int | None = None  # How many share the work on one sample, or None for all.

    @property
    def wrt_places(self) -> list[TensorRef]:
        """What gradients are taken of: one tensor, or the images."""
        return [self.wrt] if self.wrt else [self.fed[c.number] for c in self.optimised_inputs]

    @property
    def is_stateful(self) -> bool:
        """Whether the rule has a memory of its own, filled before a step and read after it."""
        return self.update is not None and not self.update.stateless

    def images(self, variables: list[list[Any]], given: "StepInputs") -> list[Any]:
        """For each canvas the images that its variables stand for."""
        each = zip(self.optimised_inputs, variables, given.input_ranges, strict=True)
        return [
            optimised_input.parametrization.image(v, optimised_input.layout, ends)
            for optimised_input, v, ends in each
        ]


class StepInputs(NamedTuple):
    """What changes from call to call without another trace."""

    parameters: list[dict[str, Any]]  # For each term what its formula is called with, by name.
    weights: Any  # Of each term, (terms,).
    seeds: Any  # One for each sample, (samples, 2).
    input_ranges: list[Any]  # For each canvas the lowest and highest value of an image, (2,).
    fixed: list[Any]  # The values of the inputs that are not optimised, (samples, ...).


class State(NamedTuple):
    """What a step hands to the next."""

    step: Any  # Number of steps taken.
    variables: list[list[Any]]  # What is optimised, for each canvas tensors of (samples, ...).
    slots: list[Any]  # The update rule's own memory.
    best_loss: Any  # Lowest overall loss of each sample, (samples,).
    best_images: list[Any]  # The images that had it, for each canvas (samples, ...).
    failed: Any  # Whether a loss or gradient of the step after `step` was not finite.


class StepOutput(NamedTuple):
    """What one evaluation has seen."""

    losses: Any  # Weighted losses, (terms, samples).
    overall: Any  # Their sum, (samples,).
    grads: list[Any]  # Normalised and modified: of one tensor, or of each canvas's image.
    wrt_values: list[Any]  # The values of what they are of.

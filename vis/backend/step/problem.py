"""What a compiled step is made for, and what changes from call to call without another trace.

A problem says what is optimised, how it is looked at and what is wanted, and holds nothing but
formulas and weak handles.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import keras

from vis.backend.graph import Place
from vis.utils.layout import Layout


class Formula(NamedTuple):
    """A loss that is a function of one tensor, sample by sample.

    Attributes:
        name: What to call it in messages.
        function: Called as `function(value, **parameters, **settings)`; returns `(samples,)`.
        target: Where the value is found that the function is given.
        settings: Names and values that are fixed in the trace.
        before_softmax: Whether the layer whose output the target is runs without its softmax.
        couples_samples: Whether a sample's value depends on the others in the batch.
    """

    name: str
    function: Callable
    target: Place
    settings: tuple[tuple[str, Hashable], ...] = ()
    before_softmax: bool = False
    couples_samples: bool = False


class Expression(NamedTuple):
    """A loss that is a symbolic scalar over tensors of the graph. Keeps the model alive.

    Attributes:
        name: What to call it in messages.
        target: The scalar.
    """

    name: str
    target: keras.KerasTensor


Term = Formula | Expression


class Canvas(NamedTuple):
    """An input that is optimised: how its image is made, and how the model sees it.

    Attributes:
        number: Which of what is fed it is.
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
        fed: What is given values: the graph's inputs, or what is made of them.
        canvases: Those that are optimised; the others are fixed.
        terms: The losses.
        wrt: The tensor that gradients are taken of; None is the images themselves.
        norm_grads: Whether gradients are divided by their L2 norm, sample by sample and input by
            input.
        grad_modifier: A function of the gradients in `keras.ops`, or None.
        update: The rule of the descent, or None where nothing moves.
        activations: Weak references to the activation functions that the trace is made with.
        precision: The type that the network computes in, or None for its own.
        skip_erosion: Of what skip connections carry, as for `vis.backend.graph.skips.Erosion`.
        threads: How many threads share the work on one sample, or None for all that there are.
    """

    fed: tuple[Place, ...]
    canvases: tuple[Canvas, ...]
    terms: tuple[Term, ...]
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
        return [self.wrt] if self.wrt else [self.fed[c.number] for c in self.canvases]

    def images(self, variables: list[list[Any]], given: Given) -> list[Any]:
        """For each canvas the images that its variables stand for."""
        return [
            canvas.parametrization.image(values, canvas.layout, input_range)
            for canvas, values, input_range in zip(
                self.canvases, variables, given.input_ranges, strict=True
            )
        ]


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

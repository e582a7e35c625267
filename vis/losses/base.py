"""What all losses have in common: a name, an expression or a formula, and sums of them."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from vis.backend.graph import Target
from vis.utils.validation import check_number, is_iterable, require


class Loss:
    """Base class of all losses.

    Subclasses set `self.name` and define `build_loss`.

    Example:
        >>> class Brightness(Loss):
        ...     def __init__(self, layer):
        ...         super().__init__()
        ...         self.name = "Brightness"
        ...         self.layer = layer
        ...
        ...     def build_loss(self):
        ...         return -ops.mean(self.layer.output)
        >>> print(Brightness(layer=None))
        Brightness
    """

    def __init__(self) -> None:
        self.name = "Unnamed Loss"

    def __str__(self) -> str:
        return self.name

    def build_loss(self) -> keras.KerasTensor:
        """The loss as a scalar expression in `keras.ops` over `layer.output` and `model.input`.

        Returns:
            A symbolic scalar.
        """
        raise NotImplementedError(
            f"`build_loss` must be defined by subclasses of `Loss`. Received: {type(self)}"
        )

    def __add__(self, other: "Loss | LossSum") -> "LossSum":
        return LossSum([(self, 1.0)]) + other

    def __mul__(self, weight: float) -> "LossSum":
        return LossSum([(self, 1.0)]) * weight

    __rmul__ = __mul__


class LossSum:
    """A weighted sum of losses, as `+` and `*` make it. An optimizer takes it as its `losses`.

    Args:
        pairs: List of `(Loss, weight)`.

    Example:
        >>> class Some(Loss):
        ...     pass
        >>> [weight for _, weight in (2 * (Some() + 0.5 * Some())).pairs]
        [2.0, 1.0]
    """

    def __init__(self, pairs: Sequence[tuple[Loss, float]]) -> None:
        self.pairs: list[Any] = list(pairs) if is_iterable(pairs) else [pairs]
        for pair in self.pairs:
            is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2
            holds_loss = is_pair and isinstance(pair[0], Loss)
            require(holds_loss, "pairs", "be a list of `(Loss, weight)`", pairs, TypeError)

    def __add__(self, other: "Loss | LossSum") -> "LossSum":
        if isinstance(other, Loss):
            other = LossSum([(other, 1.0)])
        if not isinstance(other, LossSum):
            return NotImplemented
        return LossSum([*self.pairs, *other.pairs])

    def __mul__(self, weight: float) -> "LossSum":
        weight = check_number("weight", weight)
        return LossSum([(loss, weight * own) for loss, own in self.pairs])

    __rmul__ = __mul__


class TensorLoss(Loss):
    """Base class of losses that are a formula of one tensor, sample by sample.

    Such a loss is compiled into the step once for all its parameters. A subclass sets
    `formula`, and in its constructor whatever the formula is called with.

    Attributes:
        target: The layer whose output the formula is given, or a symbolic tensor.
        parameters: Arrays the formula is called with by name, which may differ from call to
            call without another trace. Their first axis is the samples', of length 1 where one
            value serves all.
        settings: Hashable values the formula is called with by name, which are fixed in a trace.
        before_softmax: Whether a layer that ends in a softmax is looked at before it.
        couples_samples: Whether a sample's value depends on the others in the batch.
    """

    formula: ClassVar[Callable]

    def __init__(self, target: Target | keras.KerasTensor, name: str) -> None:
        super().__init__()
        self.name = name
        self.target = target
        self.parameters: dict[str, np.ndarray] = {}
        self.settings: dict[str, Hashable] = {}
        self.before_softmax = False
        self.couples_samples = False

    def build_loss(self) -> keras.KerasTensor:
        value = self.target if isinstance(self.target, keras.KerasTensor) else self.target.output
        return ops.mean(type(self).formula(value, **self.parameters, **self.settings))

"""`Loss`, `LossSum` and `TensorLoss`, the base classes of losses."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from vis.backend.graph import Target, check_layer
from vis.utils.validation import check_number, is_iterable, require


class Loss:
    """Base class of losses. Subclasses set `self.name` and define `build_loss`.

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
        """Returns a symbolic scalar, in `keras.ops` of `layer.output` and `model.input`."""
        raise NotImplementedError(
            f"`build_loss` must be defined by subclasses of `Loss`. Received: {type(self)}"
        )

    def __add__(self, other: "Loss | LossSum") -> "LossSum":
        return LossSum([(self, 1.0)]) + other

    def __mul__(self, weight: float) -> "LossSum":
        return LossSum([(self, 1.0)]) * weight

    __rmul__ = __mul__


class LossSum:
    """A weighted sum of losses, the result of `+` and `*`. `Optimizer` accepts it as `losses`.

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
    """Base class of losses that are a formula of one tensor, with a value for each sample.

    A subclass defines the static method `formula(value, **parameters, **settings)`, which returns
    `(samples,)`, and sets `parameters` and `settings` in its constructor. One compiled step serves
    all values of the parameters.

    Attributes:
        target: Layer whose output is the formula's value, or a symbolic tensor.
        parameters: Dict of arrays, `(samples, ...)` or `(1, ...)`, which may change without a new
            trace.
        settings: Dict of hashable values, which are fixed in a trace.
        before_softmax: Whether to take the value before the softmax of the layer, if it has one.
        couples_samples: Whether a sample's value depends on the others in the batch.
    """

    formula: ClassVar[Callable]

    def __init__(self, target: Target | keras.KerasTensor, name: str) -> None:
        super().__init__()
        self.name = name
        self.target = target
        if not isinstance(target, keras.KerasTensor):
            self.layer = check_layer(target)
        self.parameters: dict[str, np.ndarray] = {}
        self.settings: dict[str, Hashable] = {}
        self.before_softmax = False
        self.couples_samples = False

    def is_proportional(self) -> bool:
        """Whether the loss is proportional to the activations of its layer."""
        return False

    def build_loss(self) -> keras.KerasTensor:
        value = self.target if isinstance(self.target, keras.KerasTensor) else self.target.output
        return ops.mean(type(self).formula(value, **self.parameters, **self.settings))

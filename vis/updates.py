"""Rules of descent: what a gradient does to what is optimised."""

from __future__ import annotations

import json
from typing import Any

import keras
from keras import ops

from vis.utils.value import Value


class Update(Value):
    """Base class of rules. All attributes are hashable."""

    def slots(self, variables: list[Any]) -> list[Any]:
        """The rule's memory before the first step, for variables as backend tensors."""
        raise NotImplementedError

    def apply(
        self, variables: list[Any], grads: list[Any], slots: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Variables and memory after a step."""
        raise NotImplementedError


class RMSprop(Update):
    """Gradient descent by a running mean of squared gradients (Tieleman & Hinton, 2012).

    `cache = rho cache + (1 - rho) g^2` and `x -= learning_rate g / sqrt(cache + epsilon)`.

    Args:
        learning_rate: Size of a step.
        rho: Share of the running mean that is kept.

    Example:
        >>> rule = RMSprop()
        >>> x = ops.ones((1, 2))
        >>> (moved,), _ = rule.apply([x], [x], rule.slots([x]))
        >>> round(float(moved[0, 0]), 3)
        -3.472
    """

    def __init__(self, learning_rate: float = 1.0, rho: float = 0.95) -> None:
        self.learning_rate = learning_rate
        self.rho = rho
        self.epsilon = keras.config.epsilon()

    def slots(self, variables):
        return [ops.zeros_like(variable) for variable in variables]

    def apply(self, variables, grads, slots):
        slots = [
            self.rho * cache + (1 - self.rho) * ops.square(g)
            for cache, g in zip(slots, grads, strict=True)
        ]
        moved = [
            x - self.learning_rate * g / ops.sqrt(cache + self.epsilon)
            for x, g, cache in zip(variables, grads, slots, strict=True)
        ]
        return moved, slots


class KerasUpdate(Update):
    """The rule of a Keras optimizer. The optimizer itself is left as it is.

    Args:
        optimizer: Any Keras optimizer.

    Example:
        >>> rule = KerasUpdate(keras.optimizers.SGD(0.5))
        >>> x = ops.ones((1, 2))
        >>> (moved,), _ = rule.apply([x], [x], rule.slots([x]))
        >>> float(moved[0, 0])
        0.5
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        self.kind = type(optimizer)
        self.config = json.dumps(keras.saving.serialize_keras_object(optimizer)["config"])

    def slots(self, variables):
        return [ops.convert_to_tensor(v) for v in self._optimizer(variables).variables]

    def apply(self, variables, grads, slots):
        # Keras makes its variables eagerly, whatever is being traced.
        optimizer = self._optimizer(variables)
        return optimizer.stateless_apply(slots, grads, variables)

    def _optimizer(self, variables: list[Any]) -> keras.optimizers.Optimizer:
        optimizer = self.kind.from_config(json.loads(self.config))
        optimizer.build([keras.Variable("zeros", shape=v.shape, dtype=v.dtype) for v in variables])
        return optimizer

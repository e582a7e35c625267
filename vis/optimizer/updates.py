"""Update rules: RMSprop, Adam and Keras optimizers."""

import json
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from vis.backend.private import without_replicas
from vis.utils.validation import check_not_negative, check_number, check_positive, require
from vis.utils.value import Value


class Update(Value):
    """Base class of update rules. Public attributes must be hashable.

    Attributes:
        stateless: Whether the rule keeps its state in `slots` only.
    """

    stateless = True

    def slots(self, variables: list[Any]) -> list[Any]:
        """The initial state of the rule, a list of tensors, for a list of variables."""
        raise NotImplementedError

    def apply(
        self, variables: list[Any], grads: list[Any], slots: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """The variables and the state after a step."""
        raise NotImplementedError


class RMSprop(Update):
    """RMSprop (Tieleman & Hinton, 2012), with the defaults of keras-vis.

    `cache = rho cache + (1 - rho) g^2` and `x -= learning_rate g / sqrt(cache + epsilon)`.

    Args:
        learning_rate: Learning rate, positive.
        rho: Decay rate of the moving average of squared gradients, in [0, 1).

    Example:
        >>> rule, x = RMSprop(), ops.ones((1, 2))
        >>> (moved,), _ = rule.apply([x], [x], rule.slots([x]))
        >>> round(float(moved[0, 0]), 3)
        -3.472
    """

    def __init__(self, learning_rate: float = 1.0, *, rho: float = 0.95) -> None:
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.rho = _check_rate("rho", rho)
        self.epsilon = keras.config.epsilon()

    def slots(self, variables):
        return [ops.zeros_like(variable) for variable in variables]

    def apply(self, variables, grads, slots):
        slots = _moving_averages(self.rho, slots, map(ops.square, grads))
        updated = [
            x - self.learning_rate * g / ops.sqrt(cache + self.epsilon)
            for x, g, cache in zip(variables, grads, slots, strict=True)
        ]
        return updated, slots


class Adam(Update):
    """Adam (Kingma & Ba, arXiv:1412.6980).

    Args:
        learning_rate: Learning rate, positive.
        beta_1: Decay rate of the moving average of gradients, in [0, 1).
        beta_2: Decay rate of the moving average of squared gradients, in [0, 1).
        decay: Decay of the learning rate, `learning_rate / (1 + decay * steps)`; non-negative.

    Example:
        >>> rule, x = Adam(0.5), ops.ones((1, 2))
        >>> (moved,), _ = rule.apply([x], [x], rule.slots([x]))
        >>> round(float(moved[0, 0]), 3)
        0.5
    """

    def __init__(
        self,
        learning_rate: float = 0.05,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        decay: float = 0.0,
    ) -> None:
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.beta_1 = _check_rate("beta_1", beta_1)
        self.beta_2 = _check_rate("beta_2", beta_2)
        self.decay = check_not_negative("decay", decay)
        self.epsilon = keras.config.epsilon()

    def slots(self, variables):
        zeros = [ops.zeros_like(variable) for variable in variables]
        return [ops.zeros((), variables[0].dtype), zeros, zeros]

    def apply(self, variables, grads, slots):
        step = slots[0] + 1
        means = _moving_averages(self.beta_1, slots[1], grads)
        squares = _moving_averages(self.beta_2, slots[2], map(ops.square, grads))
        rate = self.learning_rate / (1 + self.decay * slots[0])
        rate *= ops.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        updated = [
            x - rate * m / (ops.sqrt(v) + self.epsilon)
            for x, m, v in zip(variables, means, squares, strict=True)
        ]
        return updated, [step, means, squares]


class KerasUpdate(Update):
    """Update rule of a Keras optimizer, which is not changed.

    Args:
        optimizer: Any Keras optimizer.

    Example:
        >>> rule, x = KerasUpdate(keras.optimizers.SGD(0.5)), ops.ones((1, 2))
        >>> (moved,), _ = rule.apply([x], [x], rule.slots([x]))
        >>> float(moved[0, 0])
        0.5
    """

    stateless = False

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        is_optimizer = isinstance(optimizer, keras.optimizers.Optimizer)
        expected = "be a Keras optimizer, such as `keras.optimizers.Adam(0.05)`"
        require(is_optimizer, "optimizer", expected, optimizer, TypeError)
        self.kind = type(optimizer)
        config = keras.saving.serialize_keras_object(optimizer)["config"]
        # Keras numbers its optimizers by name.
        name = {"name": self.kind.__name__} if "name" in config else {}
        self.config = json.dumps({**config, **name})
        self._built: dict[tuple, tuple] = {}

    def slots(self, variables):
        return self._build(variables)[2]

    def apply(self, variables, grads, slots):
        # With TensorFlow, Keras optimizers have no stateless form: their variables are set before
        # the step and read after it.
        optimizer, trainable, _ = self._build(variables)
        all_variables = [*trainable, *optimizer.variables]
        for variable, value in zip(all_variables, [*variables, *slots], strict=True):
            variable.assign(value)
        optimizer.apply(grads, trainable)
        updated = [ops.copy(variable) for variable in trainable]
        return updated, [ops.copy(slot) for slot in optimizer.variables]

    def _build(self, variables: list[Any]) -> tuple[keras.optimizers.Optimizer, list, list]:
        """An optimizer for variables of some shapes, its Keras variables, and its initial state."""
        key = tuple((tuple(v.shape), v.dtype.name) for v in variables)
        if key not in self._built:
            optimizer = self.kind.from_config(json.loads(self.config))
            without_replicas(optimizer)
            trainable = [keras.Variable("zeros", shape=shape, dtype=dtype) for shape, dtype in key]
            optimizer.build(trainable)
            slots = [ops.copy(slot) for slot in optimizer.variables]
            self._built[key] = optimizer, trainable, slots
        return self._built[key]


def _moving_averages(rate: float, averages: Iterable[Any], values: Iterable[Any]) -> list[Any]:
    return [rate * average + (1 - rate) * v for average, v in zip(averages, values, strict=True)]


def _check_rate(name: str, value: Any) -> float:
    require(0 <= check_number(name, value) < 1, name, "be in [0, 1)", value)
    return float(value)


def get(optimizer: keras.optimizers.Optimizer | Update | None) -> Update:
    """The update rule of a Keras optimizer; a rule as it is; `RMSprop` for None."""
    if optimizer is None:
        return RMSprop()
    return optimizer if isinstance(optimizer, Update) else KerasUpdate(optimizer)

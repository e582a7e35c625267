"""Rules of descent: what a gradient does to what is optimised."""

import json
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from vis.backend.private import without_replicas
from vis.utils.validation import check_not_negative, check_number, check_positive, require
from vis.utils.value import Value


class Update(Value):
    """Base class of rules. All public attributes are hashable.

    Attributes:
        stateless: Whether all that the rule remembers is in its slots.
    """

    stateless = True

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
        >>> rule, x = RMSprop(), ops.ones((1, 2))
        >>> (moved,), _ = rule.apply([x], [x], rule.slots([x]))
        >>> round(float(moved[0, 0]), 3)
        -3.472
    """

    def __init__(self, learning_rate: float = 1.0, *, rho: float = 0.95) -> None:
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.rho = _check_share("rho", rho)
        self.epsilon = keras.config.epsilon()

    def slots(self, variables):
        return [ops.zeros_like(variable) for variable in variables]

    def apply(self, variables, grads, slots):
        slots = _running_means(self.rho, slots, map(ops.square, grads))
        moved = [
            x - self.learning_rate * g / ops.sqrt(cache + self.epsilon)
            for x, g, cache in zip(variables, grads, slots, strict=True)
        ]
        return moved, slots


class Adam(Update):
    """Adam (Kingma & Ba, arXiv:1412.6980).

    Args:
        learning_rate: Size of a step.
        beta_1: Share of the running mean of gradients that is kept.
        beta_2: Share of the running mean of squared gradients that is kept.
        decay: How fast the rate falls: after so many steps it is
            `learning_rate / (1 + decay * steps)`. Non-negative.

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
        self.beta_1 = _check_share("beta_1", beta_1)
        self.beta_2 = _check_share("beta_2", beta_2)
        self.decay = check_not_negative("decay", decay)
        self.epsilon = keras.config.epsilon()

    def slots(self, variables):
        zeros = [ops.zeros_like(variable) for variable in variables]
        return [ops.zeros((), variables[0].dtype), zeros, zeros]

    def apply(self, variables, grads, slots):
        step = slots[0] + 1
        means = _running_means(self.beta_1, slots[1], grads)
        squares = _running_means(self.beta_2, slots[2], map(ops.square, grads))
        rate = self.learning_rate / (1 + self.decay * slots[0])
        rate *= ops.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        moved = [
            x - rate * m / (ops.sqrt(v) + self.epsilon)
            for x, m, v in zip(variables, means, squares, strict=True)
        ]
        return moved, [step, means, squares]


class KerasUpdate(Update):
    """The rule of a Keras optimizer. The optimizer itself is left as it is.

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
        is_one = isinstance(optimizer, keras.optimizers.Optimizer)
        expected = "be a Keras optimizer, such as `keras.optimizers.Adam(0.05)`"
        require(is_one, "optimizer", expected, optimizer, TypeError)
        self.kind = type(optimizer)
        config = keras.saving.serialize_keras_object(optimizer)["config"]
        # Keras numbers its optimizers, and the number decides nothing.
        named = {"name": self.kind.__name__} if "name" in config else {}
        self.config = json.dumps({**config, **named})
        self._registers: dict[tuple, tuple] = {}

    def slots(self, variables):
        return self._optimizer(variables)[2]

    def apply(self, variables, grads, slots):
        # On TensorFlow a Keras optimizer has no stateless form: its own variables are registers
        # here, filled before the step and read after it.
        optimizer, registers, _ = self._optimizer(variables)
        all_registers = [*registers, *optimizer.variables]
        for register, value in zip(all_registers, [*variables, *slots], strict=True):
            register.assign(value)
        optimizer.apply(grads, registers)
        moved = [ops.copy(register) for register in registers]
        return moved, [ops.copy(slot) for slot in optimizer.variables]

    def _optimizer(self, variables: list[Any]) -> tuple[keras.optimizers.Optimizer, list, list]:
        """An optimizer for some shapes, its registers and first slots; made before any trace."""
        key = tuple((tuple(v.shape), v.dtype.name) for v in variables)
        if key not in self._registers:
            optimizer = self.kind.from_config(json.loads(self.config))
            without_replicas(optimizer)
            registers = [keras.Variable("zeros", shape=shape, dtype=dtype) for shape, dtype in key]
            optimizer.build(registers)
            start = [ops.copy(slot) for slot in optimizer.variables]
            self._registers[key] = optimizer, registers, start
        return self._registers[key]


def _running_means(share: float, means: Iterable[Any], values: Iterable[Any]) -> list[Any]:
    """Means of which a share is kept, and the rest is that of new values."""
    return [share * mean + (1 - share) * v for mean, v in zip(means, values, strict=True)]


def _check_share(name: str, value: Any) -> float:
    require(0 <= check_number(name, value) < 1, name, "be in [0, 1)", value)
    return float(value)


def get(optimizer: keras.optimizers.Optimizer | Update | None) -> Update:
    """The rule that a Keras optimizer stands for; a rule itself; for None `RMSprop`."""
    if optimizer is None:
        return RMSprop()
    return optimizer if isinstance(optimizer, Update) else KerasUpdate(optimizer)

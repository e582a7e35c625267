"""Copies of models whose rectifiers pass gradients back differently."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph.copies import Copier
from vis.backend.graph.graph import Graph
from vis.backend.private import operation_class
from vis.utils.validation import require

MODIFIERS = ("guided", "rectified", "relu", "deconv")

_RECTIFIERS = [f for m in (keras.activations, keras.ops, tf.nn) for f in (m.relu, m.relu6)]
# Activations that look like rectifiers, but for which neither paper defines a gradient.
_UNDEFINED = {
    "leaky_relu", "leakyrelu", "prelu", "elu", "selu", "celu", "silu", "swish", "gelu", "mish",
    "hard_silu", "hard_swish", "softplus",
}  # fmt: skip

_copies = WeakCache()


@functools.cache
def _passing_positive_gradients(dtype: tf.DType) -> Callable[[Any, Any], Any]:
    """A function `(x, y)` to `y`, whose gradient is the positive part of `y`'s, all of it to `x`.

    One traced function serves all models: a custom gradient stays registered for good, together
    with whatever it refers to.
    """

    @tf.custom_gradient
    def pass_positive(x, y):
        return tf.identity(y), lambda grads: (tf.nn.relu(grads), tf.zeros_like(grads))

    return tf.function(pass_positive, input_signature=[tf.TensorSpec(None, dtype)] * 2)


def _rectified(rectifier: Callable, x: Any, kind: str) -> Any:
    y = rectifier(x)
    if isinstance(y, keras.KerasTensor):
        return y
    # What is guided goes on through the rectifier's own gradient.
    result = _passing_positive_gradients(y.dtype)(y if kind == "guided" else x, y)
    result.set_shape(y.shape)
    return result


@keras.saving.register_keras_serializable("vis")
class ModifiedActivation:
    """A rectifier with another gradient.

    `"guided"` passes back positive gradients where the activation was positive, too, and
    `"rectified"` all positive gradients.
    """

    def __init__(self, activation: Callable, kind: str) -> None:
        self.activation = activation
        self.kind = kind
        self.__name__ = f"{kind}_{getattr(activation, '__name__', 'rectifier')}"

    def __call__(self, x: Any) -> Any:
        return _rectified(self.activation, x, self.kind)

    def get_config(self) -> dict[str, Any]:
        activation = keras.saving.serialize_keras_object(self.activation)
        return {"activation": activation, "kind": self.kind}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ModifiedActivation":
        activation = keras.saving.deserialize_keras_object(config["activation"])
        return cls(activation, config["kind"])


@keras.saving.register_keras_serializable("vis")
class ModifiedReLU(keras.layers.ReLU):
    """A `ReLU` layer with another gradient; see `ModifiedActivation`."""

    def __init__(self, *args: Any, kind: str = "guided", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind

    def call(self, inputs: Any) -> Any:
        return _rectified(super().call, inputs, self.kind)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


def modify_model_backprop(model: keras.Model, backprop_modifier: str) -> keras.Model:
    """A copy of a model whose rectifiers pass gradients back as a backprop modifier says.

    Args:
        model: A Keras model that has been built. It is left as it is.
        backprop_modifier: `"guided"`, or `"rectified"` or one of its other names, `"relu"` and
            `"deconv"`.

    Returns:
        A Keras model with the same outputs that shares the weights of `model`.

    Raises:
        ValueError: If there is no such modifier.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "relu")])
        >>> guided = modify_model_backprop(model, "guided")
        >>> guided.layers[-1].kernel is model.layers[-1].kernel
        True
    """
    is_known = backprop_modifier in MODIFIERS
    require(is_known, "backprop_modifier", f"be one of {MODIFIERS}", backprop_modifier)
    kind = "guided" if backprop_modifier == "guided" else "rectified"
    key = (kind, Graph.of(model).activations())
    return _copies.get(model, key, lambda: _rewritten(model, kind))


def _rewritten(model: keras.Model, kind: str) -> keras.Model:
    rewriter = _Rewriter(kind)
    rewritten = rewriter.layer(model)
    if rewriter.undefined:
        warnings.warn(
            f"'{kind}' is defined for rectifiers; these activations keep their gradients: "
            f"{', '.join(sorted(rewriter.undefined))}.",
            stacklevel=4,
        )
    elif not rewriter.found:
        warnings.warn(
            f"'{kind}' changes nothing: no rectifier was found in the model '{model.name}'. One "
            "inside a function of your own, or in a layer's `call`, cannot be found; use a layer "
            "or `activation='relu'` in its place.",
            stacklevel=4,
        )
    return rewritten


class _Rewriter(Copier):
    """Copies layers, and changes the rectifiers among the copies."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.found = False
        self.undefined: set[str] = set()

    def by_attributes(self, layer: Any) -> Any:
        copy = super().by_attributes(layer)
        for name in ("activation", "recurrent_activation"):
            activation = vars(copy).get(name)
            if activation in _RECTIFIERS:
                vars(copy)[name] = ModifiedActivation(activation, self.kind)
                self.found = True
            elif getattr(activation, "__name__", None) in _UNDEFINED:
                self.undefined.add(activation.__name__)
        kind = type(copy)
        if getattr(copy, "negative_slope", 0) and issubclass(kind, (keras.layers.ReLU, _RELU)):
            self.undefined.add(f"{kind.__name__} with a negative slope")
        elif kind is keras.layers.ReLU:
            copy.__class__ = ModifiedReLU
            vars(copy)["kind"] = self.kind
        elif isinstance(copy, keras.layers.ReLU) or kind.__name__.lower() in _UNDEFINED:
            self.undefined.add(kind.__name__)
        elif kind in _RELU_OPERATIONS:
            rectifier = functools.partial(kind.call, copy)
            vars(copy)["call"] = ModifiedActivation(rectifier, self.kind)
        elif kind is keras.layers.Lambda and copy.function in _RECTIFIERS:
            vars(copy)["function"] = ModifiedActivation(copy.function, self.kind)
        else:
            return copy
        self.found = True
        return copy


# What symbolic calls of these functions leave in a model's graph.
_RELU = operation_class(keras.activations.relu)
_RELU_OPERATIONS = {_RELU, *map(operation_class, (keras.ops.relu, keras.ops.relu6))}

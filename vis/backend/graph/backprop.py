"""Guided and rectified backpropagation: copies of models whose rectifiers have other gradients."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph.copies import Copier
from vis.backend.graph.graph import Graph
from vis.backend.private import operation_class
from vis.utils.validation import require, warn

MODIFIERS = ("guided", "rectified", "relu", "deconv")

_RECTIFIERS = [f for m in (keras.activations, keras.ops, tf.nn) for f in (m.relu, m.relu6)]
# Activations similar to rectifiers for which the papers define no gradient.
_UNDEFINED = {
    "leaky_relu", "leakyrelu", "prelu", "elu", "selu", "celu", "silu", "swish", "gelu", "mish",
    "hard_silu", "hard_swish", "softplus",
}  # fmt: skip

_copies = WeakCache()


@functools.cache
def _passing_positive_gradients(dtype: tf.DType) -> Callable[[Any, Any], Any]:
    """A function `(x, y)` that returns `y` and passes the positive part of its gradient to `x`.

    All models share one traced function, because TensorFlow never releases a custom gradient or
    the objects that it refers to.
    """

    @tf.custom_gradient
    def pass_positive(x, y):
        return tf.identity(y), lambda grads: (tf.nn.relu(grads), tf.zeros_like(grads))

    return tf.function(pass_positive, input_signature=[tf.TensorSpec(None, dtype)] * 2)


def _call_rectifier(rectifier: Callable, x: Any, kind: str) -> Any:
    y = rectifier(x)
    if isinstance(y, keras.KerasTensor):
        return y
    # Guided backpropagation applies the rectifier's own gradient as well.
    result = _passing_positive_gradients(y.dtype)(y if kind == "guided" else x, y)
    result.set_shape(y.shape)
    return result


@keras.saving.register_keras_serializable("vis")
class ModifiedActivation:
    """A rectifier with a modified gradient.

    `"guided"` passes back positive gradients where the activation is positive as well, and
    `"rectified"` all positive gradients.
    """

    def __init__(self, activation: Callable, kind: str) -> None:
        self.activation = activation
        self.kind = kind
        self.__name__ = f"{kind}_{getattr(activation, '__name__', 'rectifier')}"

    def __call__(self, x: Any) -> Any:
        return _call_rectifier(self.activation, x, self.kind)

    def get_config(self) -> dict[str, Any]:
        activation = keras.saving.serialize_keras_object(self.activation)
        return {"activation": activation, "kind": self.kind}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ModifiedActivation":
        activation = keras.saving.deserialize_keras_object(config["activation"])
        return cls(activation, config["kind"])


@keras.saving.register_keras_serializable("vis")
class ModifiedReLU(keras.layers.ReLU):
    """A `ReLU` layer with a modified gradient; see `ModifiedActivation`."""

    def __init__(self, *args: Any, kind: str = "guided", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind

    def call(self, inputs: Any) -> Any:
        return _call_rectifier(super().call, inputs, self.kind)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


def modify_model_backprop(model: keras.Model, backprop_modifier: str) -> keras.Model:
    """Copies a model and modifies the gradients of its rectifiers.

    Args:
        model: A Keras model that has been built. It is not changed.
        backprop_modifier: `"guided"` (Springenberg et al., 2014) or `"rectified"` (Zeiler and
            Fergus, 2013), which is also called `"relu"` or `"deconv"`.

    Returns:
        A Keras model with the same outputs, which shares the weights of `model`.

    Raises:
        ValueError: If `backprop_modifier` is unknown.

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
    return _copies.get(model, key, lambda: _modified_copy(model, kind))


def _modified_copy(model: keras.Model, kind: str) -> keras.Model:
    modifier = _RectifierModifier(kind)
    copy = modifier.copy(model)
    if modifier.undefined:
        warn(
            f"'{kind}' is defined for rectifiers only. These activations keep their gradients: "
            f"{', '.join(sorted(modifier.undefined))}.",
        )
    elif not modifier.has_modified:
        warn(
            f"'{kind}' changes nothing, because no rectifier was found in the model "
            f"'{model.name}'. A rectifier in a custom function or in a layer's `call` cannot be "
            "found: use a layer or `activation='relu'` instead."
        )
    return copy


class _RectifierModifier(Copier):
    """Copies layers, and modifies the rectifiers of the copies."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.has_modified = False
        self.undefined: set[str] = set()

    def copy_attributes(self, layer: Any) -> Any:
        copy = super().copy_attributes(layer)
        for name in ("activation", "recurrent_activation"):
            activation = vars(copy).get(name)
            if activation in _RECTIFIERS:
                vars(copy)[name] = ModifiedActivation(activation, self.kind)
                self.has_modified = True
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
        self.has_modified = True
        return copy


# Operations that symbolic calls of rectifiers add to a graph.
_RELU = operation_class(keras.activations.relu)
_RELU_OPERATIONS = {_RELU, *map(operation_class, (keras.ops.relu, keras.ops.relu6))}

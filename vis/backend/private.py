"""What is used here of Keras and TensorFlow that neither promises to keep, in one place.

Each name says what it is for, and what would take its place. No other module reaches for such
names.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

# What layers make, which is no `keras.Variable` before Keras 3.7. In its place: that.
from keras.src.backend import Variable as Variable

# Where Keras's layers look up their convolutions, which are replaced while a network is traced. In
# its place: a way to register one's own kernels.
from keras.src.backend import nn as kernels  # noqa: F401

# Padding travels with a tensor. In their place: `mask` arguments of all layers.
from keras.src.backend.common.masking import get_keras_mask as get_keras_mask
from keras.src.backend.common.masking import set_keras_mask as set_keras_mask

# Tells models whose own graph says what they compute. In its place: an attribute.
from keras.src.models.functional import Functional as Functional

# What `a + b` leaves in a graph. In its place: `keras.ops.Add`, if it were public.
from keras.src.ops.numpy import Add as Add

# Attributes of oneDNN's operations. In its place: oneDNN's kernels in `tf.raw_ops`.
from tensorflow.core.framework.attr_value_pb2 import AttrValue as AttrValue

# Keras's old functions, whose errors are told from a user's own by the file that raises them.
LEGACY_FUNCTIONS = ("src", "legacy", "backend.py")
# The attribute by which a stand-in for a layer computes in another type.
DTYPE_POLICY = "_dtype_policy"
# The module of layers that change an image and not the range of its values.
IMAGE_PREPROCESSING = "keras.src.layers.preprocessing.image"

# Operations that TensorFlow has, and no Python function for. `Select` chooses whole tensors where
# `tf.where` looks at the condition anew for each value.
select = tf.raw_ops.Select
map_function = tf.raw_ops.MapDefun
empty_list = tf.raw_ops.EmptyTensorList
list_with = tf.raw_ops.TensorListPushBack
item_of_list = tf.raw_ops.TensorListGetItem
projective_transform = tf.raw_ops.ImageProjectiveTransformV3


# A graph of Keras's is made of operations and their calls, its nodes. In place of these five: a
# public walk over `keras.Model`.
def operation_of(tensor: keras.KerasTensor) -> Any:
    """The operation that a symbolic tensor is an output of."""
    return tensor._keras_history.operation


def ref_of(tensor: keras.KerasTensor) -> tuple[Any, int, int]:
    """The operation of a symbolic tensor, which of its calls, and which output of that."""
    return tuple(tensor._keras_history)


def node_of(tensor: keras.KerasTensor) -> Any:
    """The call that a symbolic tensor is an output of."""
    operation, call, _ = tensor._keras_history
    return operation._inbound_nodes[call]


def calls_of(operation: Any) -> list[Any]:
    """All calls of an operation, in whatever model; the list itself."""
    return getattr(operation, "_inbound_nodes", [])


def consumers_of(operation: Any) -> list[Any]:
    """The calls that take what an operation returns; the list itself."""
    return operation._outbound_nodes


def layers_inside(layer: Any, recursive: bool = True) -> list[keras.Layer]:
    """The layers inside a layer, at any depth or right inside. In its place: `layer.layers`."""
    return list(layer._flatten_layers(recursive=recursive, include_self=False))


def with_layers_inside(layer: Any) -> Iterator[keras.Layer]:
    """A layer and those inside it."""
    return layer._flatten_layers()


def losses_added_by(layer: keras.Layer) -> tuple[list, set]:
    """What a layer has added to the losses of its model. In its place: a public `clear_losses`."""
    return layer._losses, layer._loss_ids


def shapes_built_with(model: keras.Model) -> list[Any]:
    """The shapes that a subclassed model was built with. In its place: `model.input_shape`."""
    return list((getattr(model, "_build_shapes_dict", None) or {}).values())


def attributes_to_copy(layer: Any) -> dict[str, Any]:
    """The attributes of a layer that a copy may have: no model has called that yet.

    In its place: `copy.copy` of a layer, if Keras supported it.
    """
    # The wrappers that Keras puts around these are bound to the layer, and keep it alive.
    kept = {name: v for name, v in vars(layer).items() if name not in ("build", "quantize")}
    # What Keras has compiled of a model is of the original; it makes these anew.
    compiled = ("train_function", "test_function", "predict_function")
    anew = {name: None for name in compiled if name in kept}
    return {**kept, **anew, "_inbound_nodes": [], "_outbound_nodes": []}


def without_compilation(model: keras.Model) -> None:
    """Makes a copy of a model one that was never compiled."""
    vars(model).update(_compile_config=None, compiled=False, optimizer=None)


def without_replicas(optimizer: keras.optimizers.Optimizer) -> None:
    """Lets an optimizer take gradients as they are.

    There are no replicas to sum over, and TensorFlow keeps each graph that it has summed in for
    good. In its place: an optimizer's stateless form, which Keras has on other backends.
    """
    vars(optimizer)["_all_reduce_sum_gradients"] = list


def add_operation(
    graph: tf.Graph, kind: str, inputs: list[Any], attributes: dict[str, AttrValue], name: str
) -> Any:
    """The output of an operation in float32 that TensorFlow has no function for."""
    operation = graph.create_op(kind, inputs, [tf.float32], attrs=attributes, name=name)
    return operation.outputs[0]


def operation_class(function: Callable) -> type:
    """The class of the operation that a symbolic call of a function leaves in a graph."""
    return type(operation_of(function(keras.KerasTensor((1,)))))

"""All private names of Keras and TensorFlow in use, and what would replace each ("Instead")."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

# The variables of layers. Instead: `keras.Variable`, which is another class before Keras 3.7.
from keras.src.backend import Variable as Variable

# Convolutions that Keras's layers call, replaced in a trace. Instead: a registry of kernels.
from keras.src.backend import nn as kernels  # noqa: F401

# The masks that tensors carry. Instead: `mask` arguments of all layers.
from keras.src.backend.common import global_state
from keras.src.backend.common.masking import get_keras_mask as get_keras_mask
from keras.src.backend.common.masking import set_keras_mask as set_keras_mask

# The class of models with a graph. Instead: a public attribute of models.
from keras.src.models.functional import Functional as Functional

# The operation of `a + b` in a graph. Instead: a public `keras.ops.Add`.
from keras.src.ops.numpy import Add as Add

# Attributes of oneDNN's operations. Instead: oneDNN's kernels in `tf.raw_ops`.
from tensorflow.core.framework.attr_value_pb2 import AttrValue as AttrValue

# The file of Keras's old backend functions, to tell their errors from those of a custom loss.
LEGACY_FUNCTIONS = ("src", "legacy", "backend.py")
# The attribute of a layer with the dtype that it computes in.
DTYPE_POLICY = "_dtype_policy"
# The attributes in which Keras itself keeps the layers of a layer or model.
OWN_ATTRIBUTES = ("_layers", "_functional", "_inbound_nodes", "_outbound_nodes")
# The module of layers that change images but not their range.
IMAGE_PREPROCESSING = "keras.src.layers.preprocessing.image"

# Operations without another Python function; `tf.where` selects single values, `Select` tensors.
select = tf.raw_ops.Select
map_function = tf.raw_ops.MapDefun
empty_list = tf.raw_ops.EmptyTensorList
list_with = tf.raw_ops.TensorListPushBack
item_of_list = tf.raw_ops.TensorListGetItem
projective_transform = tf.raw_ops.ImageProjectiveTransformV3


# The operations of a graph and their calls, the nodes. Instead of the next five: `model.nodes`.
def operation_of(tensor: keras.KerasTensor) -> Any:
    """The operation that returned a symbolic tensor."""
    return tensor._keras_history.operation


def history_of(tensor: keras.KerasTensor) -> tuple[Any, int, int]:
    """The operation, node index and tensor index of a symbolic tensor."""
    return tuple(tensor._keras_history)


def node_of(tensor: keras.KerasTensor) -> Any:
    """The node that returned a symbolic tensor."""
    operation, node_index, _ = tensor._keras_history
    return operation._inbound_nodes[node_index]


def calls_of(operation: Any) -> list[Any]:
    """The nodes of all calls of an operation, in any model; the list itself."""
    return getattr(operation, "_inbound_nodes", [])


def consumers_of(operation: Any) -> list[Any]:
    """The nodes that take outputs of an operation; the list itself."""
    return operation._outbound_nodes


def layers_inside(layer: Any, recursive: bool = True) -> list[keras.Layer]:
    """The layers inside a layer, at any depth or directly. Instead: `layer.layers`."""
    return list(layer._flatten_layers(recursive=recursive, include_self=False))


def with_layers_inside(layer: Any) -> Iterator[keras.Layer]:
    """A layer and the layers inside it."""
    return layer._flatten_layers()


def losses_added_by(layer: keras.Layer) -> tuple[list, set]:
    """The losses that a layer has added to its model. Instead: a public `clear_losses`."""
    return layer._losses, layer._loss_ids


def shapes_built_with(model: keras.Model) -> list[Any]:
    """The shapes that a subclassed model was built with. Instead: `model.input_shape`."""
    return list((getattr(model, "_build_shapes_dict", None) or {}).values())


def attributes_to_copy(layer: Any) -> dict[str, Any]:
    """The attributes of a layer for a copy without nodes. Instead: `copy.copy` for layers."""
    # Keras's wrappers of these methods are bound to the layer and would keep it alive.
    kept = {name: v for name, v in vars(layer).items() if name not in ("build", "quantize")}
    # Keras compiles these again for the copy.
    compiled = ("train_function", "test_function", "predict_function")
    reset = {name: None for name in compiled if name in kept}
    return {**kept, **reset, "_inbound_nodes": [], "_outbound_nodes": []}


def without_compilation(model: keras.Model) -> None:
    """Resets a copy of a model to one that was never compiled."""
    vars(model).update(_compile_config=None, compiled=False, optimizer=None)


def without_replicas(optimizer: keras.optimizers.Optimizer) -> None:
    """Stops an optimizer from summing over replicas. Instead: stateless optimizers."""
    # TensorFlow never releases a graph in which it has summed.
    vars(optimizer)["_all_reduce_sum_gradients"] = list


def add_operation(
    graph: tf.Graph, kind: str, inputs: list[Any], attributes: dict[str, AttrValue], name: str
) -> Any:
    """The float32 output of an operation without a Python function."""
    operation = graph.create_op(kind, inputs, [tf.float32], attrs=attributes, name=name)
    return operation.outputs[0]


def gradients(outputs: Any, inputs: Any, names: str = "the losses") -> list[Any]:
    """`tf.gradients`, with a `ValueError` for operations of TensorFlow that have none."""
    try:
        return tf.gradients(outputs, inputs)
    except LookupError as error:
        kind = re.search(r"op type: (\w+)", str(error))
        raise ValueError(
            f"`model` must have gradients between its input and {names}, and TensorFlow has none "
            f"of the operation {kind[1] if kind else 'in between'}. Use a method without gradients "
            "at the image, such as `GradCAM` or `Occlusion`, or remove the operation from the "
            f"model. Received: {str(error).splitlines()[0]}"
        ) from None


def operation_class(function: Callable, shape: tuple[int, ...] = (1,)) -> type:
    """The class of the operation that a symbolic call of a function leaves in a graph."""
    return type(operation_of(function(keras.KerasTensor(shape))))


# Keras keeps whether layers train in a context of the outermost call. In its place: a public way to
# run a model and everything inside it in inference mode.
global_attribute = global_state.get_global_attribute
set_global_attribute = global_state.set_global_attribute
CALL_CONTEXT = "current_call_ctx"
# The class of TensorFlow's variables, whose methods write. In its place: a public way to run a
# function without side effects.
RESOURCE_VARIABLE = next(
    cls for cls in tf.Variable.__subclasses__() if cls.__name__ == "BaseResourceVariable"
)


def writing_methods() -> list[tuple[type, str]]:
    """The methods by which variables are written, with the classes that define them."""
    classes = [RESOURCE_VARIABLE]
    for cls in classes:
        classes += cls.__subclasses__()
    prefixes = ("assign", "scatter_", "batch_scatter")
    return [(cls, name) for cls in classes for name in vars(cls) if name.startswith(prefixes)]

"""Inference mode for everything that runs in a trace, without changes to the model."""

import contextlib
import inspect
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from vis.backend.private import (
    CALL_CONTEXT,
    global_attribute,
    set_global_attribute,
    with_layers_inside,
    writing_methods,
)

_lock = threading.RLock()


class _InferenceContext:
    """A call context of Keras in which `training` stays False, whatever layers set it to."""

    entry_layer = None

    @property
    def training(self) -> bool:
        return False

    @training.setter
    def training(self, value: Any) -> None:
        pass

    def get_value(self, name: str, default: Any = None) -> Any:
        return getattr(self, name, default)

    def set_value(self, name: str, value: Any) -> None:
        setattr(self, name, value)


@contextlib.contextmanager
def inference_mode(operations: Iterable[Any]) -> Iterator[None]:
    """A context for traces in which layers neither train nor write to variables.

    Layers whose callers do not pass `training` on run in inference mode too. What a layer assigns
    to a variable, such as a counter, a codebook or the state of a `SeedGenerator`, is dropped. A
    `call` that is decorated with `tf.function` is traced inline, so that inner layers can be read.
    """
    layers = [
        layer
        for operation in operations
        if isinstance(operation, keras.Layer)
        for layer in with_layers_inside(operation)
    ]
    with _lock, contextlib.ExitStack() as stack:
        outer = global_attribute(CALL_CONTEXT)
        set_global_attribute(CALL_CONTEXT, _InferenceContext())
        stack.callback(set_global_attribute, CALL_CONTEXT, outer)
        _drop_writes(stack)
        for layer in layers:
            _trace_inline(layer, stack)
        yield


def _drop_writes(stack: contextlib.ExitStack) -> None:
    """Replaces the methods of variables that write, for the current thread."""
    thread = threading.get_ident()

    def dropping(write: Any) -> Any:
        def dropped(variable: Any, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == thread:
                return variable
            return write(variable, *args, **kwargs)

        return dropped

    for cls, name in writing_methods():
        write = vars(cls)[name]
        setattr(cls, name, dropping(write))
        stack.callback(setattr, cls, name, write)


def plain_call(layer: keras.Layer) -> Callable:
    """The `call` of a layer, without its decoration with `tf.function` if it has one."""
    call = inspect.getattr_static(type(layer), "call", None)
    is_function = isinstance(call, tf.types.experimental.PolymorphicFunction)
    if is_function and "call" not in vars(layer):
        return types.MethodType(call.python_function, layer)
    return layer.call


def _trace_inline(layer: keras.Layer, stack: contextlib.ExitStack) -> None:
    call = plain_call(layer)
    if call != layer.call:
        vars(layer)["call"] = call
        stack.callback(vars(layer).pop, "call", None)

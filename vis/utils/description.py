"""Descriptions of objects as text, equal in every process."""

import functools
import hashlib
import operator
import random
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from vis.utils.value import Value

_ADDRESS = r" at 0x[0-9a-fA-F]+"
# Types of global variables that are part of a function's description.
_DATA = (bool, int, float, complex, str, bytes, list, tuple, dict, np.ndarray, np.generic)
# Classes of these are described by name: their code depends on the installed version only.
_LIBRARIES = {"keras", "numpy", "tensorflow", "vis", *sys.stdlib_module_names}
# A variable of an enclosing function that has no value yet.
_EMPTY_CELL = types.CellType()
# Objects nested more deeply are described by their types.
_DEPTH = 8


def digest(values: Iterable[Any]) -> str:
    """A hash of arrays: of their types, shapes and values."""
    state = hashlib.sha256()
    for value in values:
        array = np.asarray(value)
        state.update(f"{array.dtype}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()[:32]


def describe(value: Any, depth: int = _DEPTH) -> str:
    """Describes an object: its type and attributes, a function's code, an array's values.

    The description contains no addresses and no order of sets, so that it can be compared between
    processes. Layers, models and objects nested more deeply than `depth` are described by type.
    """
    if isinstance(value, np.generic):
        value = value.item()
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    inner = functools.partial(describe, depth=depth - 1)
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    if isinstance(value, (type, types.BuiltinFunctionType)):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, types.ModuleType):
        return value.__name__
    if depth == 0 or isinstance(value, (keras.Layer, keras.KerasTensor)):
        return name
    is_variable = keras.ops.is_tensor(getattr(value, "value", None))
    if isinstance(value, np.ndarray) or is_variable or keras.ops.is_tensor(value):
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            return inner(value.tolist())
        return f"array of shape {tuple(value.shape)}, {digest([value])}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{inner(k)}: {inner(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(inner, value))) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(inner, value)) + "]"
    if isinstance(value, np.random.Generator):
        return inner(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return inner(value.get_state())
    if isinstance(value, random.Random):
        return inner(value.getstate())
    if isinstance(value, types.CodeType):
        code = [value.co_code, value.co_names, value.co_consts]
        return f"code {hashlib.sha256(inner(code).encode()).hexdigest()[:32]}"
    if isinstance(value, types.FunctionType):
        return f"{value.__module__}.{value.__qualname__}{inner(_function_parts(value))}"
    if isinstance(value, types.MethodType):
        return f"{inner(value.__func__)} of {inner(value.__self__)}"
    if isinstance(value, functools.partial):
        return f"{name}{inner([value.func, value.args, value.keywords])}"
    if isinstance(value, Iterator):
        frame = getattr(value, "gi_frame", None)
        state = [operator.length_hint(value), frame and frame.f_lasti]
        return f"{name}{inner(state)}{re.sub(_ADDRESS, '', repr(value))}"
    attributes = value._attributes() if isinstance(value, Value) else _attributes(value)
    methods = _methods(kind)
    if attributes or methods:
        return f"{name}{inner(attributes)}{inner(methods) if methods else ''}"
    return re.sub(_ADDRESS, "", repr(value))


def _function_parts(function: types.FunctionType) -> list[Any]:
    """A function's code, and the values that it uses from elsewhere."""
    code = function.__code__
    cells = [None if c == _EMPTY_CELL else c.cell_contents for c in function.__closure__ or ()]
    outer = {
        key: function.__globals__[key]
        for key in code.co_names
        if isinstance(function.__globals__.get(key), _DATA)
    }
    return [code, cells, outer, function.__defaults__, function.__kwdefaults__, vars(function)]


def _attributes(value: Any) -> dict[str, Any]:
    slots = [
        name
        for cls in type(value).__mro__
        for name in np.atleast_1d(vars(cls).get("__slots__", ())).tolist()
        if isinstance(name, str) and not name.startswith("__") and hasattr(value, name)
    ]
    return {**{name: getattr(value, name) for name in slots}, **getattr(value, "__dict__", {})}


def _methods(kind: type) -> dict[str, Any]:
    """The functions in the body of a user's class and of its base classes."""
    return {
        f"{cls.__qualname__}.{name}": value
        for cls in kind.__mro__
        if cls.__module__.split(".")[0] not in _LIBRARIES
        for name, value in vars(cls).items()
        if isinstance(value, types.FunctionType)
    }

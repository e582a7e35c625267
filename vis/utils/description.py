"""What an object is, as text that is the same in every process."""

from __future__ import annotations

import functools
import hashlib
import random
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from vis.utils.value import Value

# What lies deeper is described by its type alone.
_DEPTH = 8


def digest(values: Iterable[Any]) -> str:
    """A digest of arrays: of their types, shapes and values.

    Example:
        >>> digest([np.zeros(2)]) == digest([np.zeros(2)]) != digest([np.zeros(3)])
        True
    """
    state = hashlib.sha256()
    for value in values:
        array = np.asarray(value)
        state.update(f"{array.dtype}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()[:32]


def describe(value: Any, depth: int = _DEPTH) -> str:
    """What an object is: its type and attributes, a function's code, an array's values.

    Neither addresses nor the order of sets are part of it, so that it can be compared with that
    of an object in another process. Layers and models are described by their types alone.

    Args:
        value: Any object.
        depth: How deep to look into it.

    Example:
        >>> describe([1, None, "a"]), describe(lambda x: x) == describe(lambda x: x + 1)
        ("[1, None, 'a']", False)
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
    if isinstance(value, (np.ndarray, keras.Variable)) or keras.ops.is_tensor(value):
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
        cells = [_content(cell) for cell in value.__closure__ or ()]
        parts = [value.__code__, cells, value.__defaults__, value.__kwdefaults__, vars(value)]
        return f"{value.__module__}.{value.__qualname__}{inner(parts)}"
    if isinstance(value, types.MethodType):
        return f"{inner(value.__func__)} of {inner(value.__self__)}"
    if isinstance(value, functools.partial):
        return f"{name}{inner([value.func, value.args, value.keywords])}"
    attributes = value._attributes() if isinstance(value, Value) else getattr(value, "__dict__", {})
    if attributes:
        return f"{name}{inner(attributes)}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None

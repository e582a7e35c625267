"""Reads the tensors of a legacy PyTorch file (before the zip format) without PyTorch.

Such a file is a row of pickles - a magic number, a protocol version, facts about the machine that
wrote it, the state dict, the keys of its storages - and then the bytes of each storage. Unpickling
runs whatever the file names, so the reader here admits the four names a state dict needs, gives
each a harmless stand-in, and refuses all others.
"""

import math
import os
import pickle
from collections import OrderedDict
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_DTYPES: dict[str, np.dtype] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def load_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, in the order of the file, each an array of its own.

    The file is such as `torch.save(..., _use_new_zipfile_serialization=False)` writes, and as
    `torch.save` wrote before PyTorch 1.6. A `ValueError` says that it is none, is cut short,
    contradicts itself, or asks for anything but 32-bit float and 64-bit integer tensors.
    """
    with open(path, "rb") as file:
        try:
            return _read(file)
        # A damaged pickle can fail in any way its opcodes can: EOFError, IndexError, TypeError...
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise ValueError(
                f"`path` must name a legacy PyTorch file with a state dict, but this one cannot be "
                f"read: {reason}. Received: path={os.fspath(path)!r}"
            ) from error


class _Storage(NamedTuple):
    kind: str
    key: str
    numel: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]


class _RebuildTensor:
    """Stands in for `torch._utils._rebuild_tensor_v2`."""

    # The BUILD opcode sets attributes of whatever is on the stack; without any, nothing that
    # outlives the load can be changed by a file.
    __slots__ = ()

    def __call__(
        self, storage: Any, offset: Any, size: Any, strides: Any, requires_grad: Any, hooks: Any
    ) -> _Tensor:
        # The bytes of the storage come later in the file, so this only notes how to view them.
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError(f"a tensor has {storage!r} for a storage")
        return _Tensor(storage, offset, size, strides)


# The storages stand for themselves as strings, which no opcode can call or change.
_ADMITTED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    **{("torch", kind): kind for kind in _DTYPES},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # A match of the whole name, so that a dotted one cannot step from an admitted name to its
        # attributes; `super().find_class`, which imports, is never called.
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is not among the names a state dict needs"
            )
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        # (the word "storage", type, key, device it was on, elements, what part of another it is)
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"{pid!r} is no reference to a storage")
        _, kind, key, _, numel, view_metadata = pid
        if not isinstance(kind, str) or kind not in _DTYPES:
            raise pickle.UnpicklingError(f"a storage is of the unknown type {kind!r}")
        if not isinstance(key, str) or not _is_count(numel) or view_metadata is not None:
            raise pickle.UnpicklingError(f"{pid!r} is no reference to a storage of its own")
        return _Storage(kind, key, numel)


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if file.read(2) == b"PK":
        raise ValueError("it is in the zip format that PyTorch has used since version 1.6")
    file.seek(0)
    if _Unpickler(file).load() != _MAGIC_NUMBER:
        raise ValueError("it has no magic number")
    if (version := _Unpickler(file).load()) != _PROTOCOL_VERSION:
        raise ValueError(f"its protocol is {version!r}, not {_PROTOCOL_VERSION}")
    # Facts about the machine that wrote the file; the storages are little-endian whatever they say.
    _Unpickler(file).load()
    tensors = _Unpickler(file).load()
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in tensors.items()
    ):
        raise ValueError("it holds something else than tensors by name")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(tensor.storage != storages[tensor.storage.key] for tensor in tensors.values()):
        raise ValueError("two of its tensors disagree about the storage they share")
    keys = _Unpickler(file).load()
    if not isinstance(keys, list) or sorted(keys) != sorted(storages):
        raise ValueError("the storages it lists are not those of its tensors")
    data = {key: _read_storage(file, storages[key]) for key in keys}
    return {name: _view(tensor, data[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, storage: _Storage) -> np.ndarray:
    numel = int.from_bytes(_read_exactly(file, 8), "little", signed=True)
    if numel != storage.numel:
        raise ValueError(f"storage {storage.key!r} has {numel} elements, not {storage.numel}")
    dtype = _DTYPES[storage.kind]
    return np.frombuffer(_read_exactly(file, numel * dtype.itemsize), dtype)


def _read_exactly(file: BinaryIO, count: int) -> bytes:
    # Asked of the file's size first: `read` sets aside all that is claimed before it reads.
    if count > os.fstat(file.fileno()).st_size - file.tell():
        raise ValueError("it is cut short")
    return file.read(count)


def _view(tensor: _Tensor, data: np.ndarray) -> np.ndarray:
    storage, offset, size, strides = tensor
    # A tensor larger than its storage repeats elements, which no weight does and which lets a small
    # file ask for all the memory there is. The rest is for NumPy to check: that all elements lie
    # within `data`. Kernels are often stored with their axes permuted: the strides, not the order
    # of the bytes, say which element is which.
    try:
        if not isinstance(size, tuple) or not all(map(_is_count, (offset, *size, *strides))):
            raise TypeError("what it is made of are not tuples of counts")
        if math.prod(size) > storage.numel:
            raise ValueError("it is larger")
        place, *steps = (data.itemsize * count for count in (offset, *strides))
        return np.ndarray(size, data.dtype, data, place, steps).copy()
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"a tensor is no part of its storage, {tensor}: {error}") from error


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

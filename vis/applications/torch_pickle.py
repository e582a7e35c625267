"""Reads a legacy PyTorch file (before the zip format) without PyTorch.

The file contains pickles (a magic number, a protocol version, system information, the state dict,
the keys of its storages), followed by the bytes of each storage. Because unpickling can run any
code, only the four names of a state dict are allowed, and each has a harmless substitute.
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
    """Loads the tensors of a state dict by name, in the order of the file.

    The file is one of `torch.save` before PyTorch 1.6, or with
    `_use_new_zipfile_serialization=False`. A `ValueError` is raised for other and damaged files,
    and for tensors other than 32-bit floats and 64-bit integers.
    """
    with open(path, "rb") as file:
        try:
            return _read(file)
        # A damaged pickle can raise any error.
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise ValueError(
                "`path` must be a legacy PyTorch file with a state dict, but it cannot be read: "
                f"{reason}. Received: path={os.fspath(path)!r}"
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
    """Substitute of `torch._utils._rebuild_tensor_v2`."""

    # Without attributes, which the BUILD opcode could set.
    __slots__ = ()

    def __call__(
        self, storage: Any, offset: Any, size: Any, strides: Any, requires_grad: Any, hooks: Any
    ) -> _Tensor:
        # The bytes of the storage follow later in the file.
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError(f"a tensor has the storage {storage!r}")
        return _Tensor(storage, offset, size, strides)


# Storages are strings, which no opcode can call or change.
_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    **{("torch", kind): kind for kind in _DTYPES},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # `super().find_class`, which imports modules, is never called.
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it uses {module}.{name}, which a state dict does not need"
            )
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        # ("storage", type, key, device, number of elements, view of another storage)
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"{pid!r} is not a reference to a storage")
        _, kind, key, _, numel, view_metadata = pid
        if not isinstance(kind, str) or kind not in _DTYPES:
            raise pickle.UnpicklingError(f"a storage has the unknown type {kind!r}")
        if not isinstance(key, str) or not _is_count(numel) or view_metadata is not None:
            raise pickle.UnpicklingError(f"{pid!r} is not a reference to a whole storage")
        return _Storage(kind, key, numel)


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if file.read(2) == b"PK":
        raise ValueError("it is in the zip format that PyTorch has used since version 1.6")
    file.seek(0)
    if _Unpickler(file).load() != _MAGIC_NUMBER:
        raise ValueError("it has no magic number")
    if (version := _Unpickler(file).load()) != _PROTOCOL_VERSION:
        raise ValueError(f"its protocol is {version!r}, not {_PROTOCOL_VERSION}")
    # System information. Storages are always little-endian.
    _Unpickler(file).load()
    tensors = _Unpickler(file).load()
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in tensors.items()
    ):
        raise ValueError("it must contain a dict of tensors only")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(tensor.storage != storages[tensor.storage.key] for tensor in tensors.values()):
        raise ValueError("two tensors describe their shared storage differently")
    keys = _Unpickler(file).load()
    if not isinstance(keys, list) or sorted(keys) != sorted(storages):
        raise ValueError("its storages are not those of its tensors")
    data = {key: _read_storage(file, storages[key]) for key in keys}
    return {name: _view(tensor, data[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, storage: _Storage) -> np.ndarray:
    numel = int.from_bytes(_read_exactly(file, 8), "little", signed=True)
    if numel != storage.numel:
        raise ValueError(f"storage {storage.key!r} has {numel} elements, not {storage.numel}")
    dtype = _DTYPES[storage.kind]
    return np.frombuffer(_read_exactly(file, numel * dtype.itemsize), dtype)


def _read_exactly(file: BinaryIO, count: int) -> bytes:
    # `read` would allocate any number of bytes.
    if count > os.fstat(file.fileno()).st_size - file.tell():
        raise ValueError("it is truncated")
    return file.read(count)


def _view(tensor: _Tensor, data: np.ndarray) -> np.ndarray:
    storage, offset, size, strides = tensor
    # A tensor that is larger than its storage could allocate any amount of memory. NumPy checks
    # that all elements are within `data`. Kernels often have permuted axes, and therefore strides.
    try:
        if not isinstance(size, tuple) or not all(map(_is_count, (offset, *size, *strides))):
            raise TypeError("offset, size and strides must be counts")
        if math.prod(size) > storage.numel:
            raise ValueError("it is larger")
        start, *steps = (data.itemsize * count for count in (offset, *strides))
        return np.ndarray(size, data.dtype, data, start, steps).copy()
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"a tensor is not part of its storage, {tensor}: {error}") from error


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

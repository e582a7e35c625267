"""`Checkpoint`: a file to resume an optimisation from."""

import contextlib
import functools
import io
import json
import os
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vis._core.descent import Descent
from vis.callbacks import OptimizerCallback
from vis.input_modifiers import InputModifier, is_in_graph
from vis.utils.description import describe
from vis.utils.files import atomic_write
from vis.utils.validation import require

_FORMAT = "vis checkpoint"
_VERSION = 3
# Longer values, and digests, are left out of messages.
_MAX_LENGTH = 100
_DIGEST = re.compile("[0-9a-f]{32}")


class _Contents(NamedTuple):
    """The contents of the file."""

    step: int
    settings: dict[str, str]  # Everything else that the picture depends on, by name.
    arrays: list[np.ndarray]  # The snapshot of the descent.


class Checkpoint:
    """A file to resume a descent from, with bit for bit the same picture.

    Args:
        path: Path of the file, which may not exist yet.
        every: Number of steps between two writes.
    """

    def __init__(self, path: str | os.PathLike, every: int = 50) -> None:
        self._every = every
        self._path = _check_path(path)
        self._contents = self._read() if self._path.exists() else None
        self._settings: dict[str, str] = {}

    @property
    def seed(self) -> int | None:
        """The random seed in the file, or None if there is no file yet."""
        return int(self._contents.settings["`seed`"]) if self._contents else None

    def resume(self, descent: Descent, seed: int, max_iter: int) -> None:
        """Restores the state in the file, if there is one, in a descent without steps.

        Raises a `ValueError` if the file was written with different settings.
        """
        self._settings = {"`seed`": describe(seed), **descent.description()}
        if self._contents is None:
            return
        if differences := _differences(self._contents.settings, self._settings):
            raise self._error(
                "must be of the same run. The file was written with different settings: "
                f"{'; '.join(differences)}. Use these settings, or another path to start a new run"
            )
        if self._contents.step > max_iter:
            raise self._error(
                f"must not be further than `max_iter`={max_iter}. The file is at iteration "
                f"{self._contents.step}. Increase `max_iter`, or use another path"
            )
        descent.restore(self._contents.arrays)

    def descend(self, descent: Descent, max_iter: int, callbacks: list[OptimizerCallback]) -> None:
        """Like `Descent.descend`; writes the file every few steps and at the end."""
        while descent.step < max_iter:
            next_write = descent.step - descent.step % self._every + self._every
            descent.descend(min(next_write, max_iter), callbacks)
            self._write(_Contents(descent.step, self._settings, descent.snapshot()))

    def _write(self, contents: _Contents) -> None:
        header = {"format": _FORMAT, "version": _VERSION, **contents._asdict()}
        arrays = header.pop("arrays")
        header["dtypes"] = [array.dtype.name for array in arrays]
        # NumPy's file format lacks some types of TensorFlow, such as bfloat16.
        plain = [a.view(f"u{a.itemsize}") if a.dtype.kind == "V" else a for a in arrays]
        entries: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), "uint8")}
        entries.update({f"array_{number}": array for number, array in enumerate(plain)})
        with atomic_write(self._path) as unfinished, open(unfinished, "wb") as file:
            np.savez(file, **entries)

    def _read(self) -> _Contents:
        data = io.BytesIO(self._path.read_bytes())
        try:
            with np.load(data, allow_pickle=False) as file:
                # NumPy checks the checksum of an entry only if it reads all of it.
                if file.zip.testzip():
                    raise ValueError("wrong checksum")
                entries = {name: file[name] for name in file.files}
            header = json.loads(entries["header"].tobytes())
            version = int(header["version"])
            is_readable = header["format"] == _FORMAT and version <= _VERSION
            dtypes = header["dtypes"] if is_readable else []
            arrays = [entries[f"array_{i}"].view(dtype) for i, dtype in enumerate(dtypes)]
            contents = _Contents(header["step"], header["settings"], arrays)
        # Damaged files can raise almost any exception in NumPy and zipfile.
        except Exception as error:
            raise self._error(
                "must be a file that a run with `checkpoint` has written. The file is damaged or "
                "something else. Delete it, or use another path to start a new run "
                f"({type(error).__name__})"
            ) from error
        if not is_readable:
            raise self._error(
                f"must be of version {_VERSION}. The file is of version {version}, from a newer "
                "release of this library. Update the library, or use another path"
            )
        return contents

    def _error(self, reason: str) -> ValueError:
        return ValueError(f"`checkpoint` {reason}. Received: checkpoint={os.fspath(self._path)!r}")


def require_stateless(
    modifiers: Sequence[InputModifier], grad_modifier: Callable | None
) -> tuple[list[InputModifier], Callable | None]:
    """Modifiers that raise an error if they keep state between steps.

    The file does not contain such state. Modifiers in the compiled step have none.
    """
    modifiers = [m if is_in_graph(m) else _StatelessModifier(m) for m in modifiers]
    if grad_modifier is not None and not hasattr(grad_modifier, "formula"):
        arguments = "grad_modifier", grad_modifier, grad_modifier
        grad_modifier = functools.partial(_call_stateless, *arguments)
    return modifiers, grad_modifier


class _StatelessModifier(InputModifier):
    def __init__(self, modifier: InputModifier) -> None:
        self.modifier = modifier

    def pre(self, image):
        return _call_stateless("input_modifiers", self.modifier, self.modifier.pre, image)

    def post(self, image):
        return _call_stateless("input_modifiers", self.modifier, self.modifier.post, image)


def _call_stateless(argument: str, modifier: Any, function: Callable, array: Any) -> Any:
    """Calls a function of a modifier; raises a `ValueError` if that changes the modifier."""
    before = _state_of(modifier)
    result = function(array)
    if _state_of(modifier) != before:
        raise ValueError(
            f"`{argument}` must not keep state between steps, or use the global random state, if "
            "`checkpoint` is given, because such state cannot be resumed. For randomness use a "
            f"`vis.input_modifiers.Transform`. Received: {modifier!r}"
        )
    return result


def _state_of(modifier: Any) -> tuple:
    return describe(modifier), random.getstate(), describe(np.random.get_state())  # noqa: NPY002


def _check_path(value: Any) -> Path:
    is_path = isinstance(value, (str, os.PathLike)) and isinstance(os.fspath(value), str)
    require(is_path, "checkpoint", "be the path of a file", value, TypeError)
    try:
        path = Path(value)
        with contextlib.suppress(FileNotFoundError):
            path.stat()
        folder = path.absolute().parent
        failures = {
            "the path of a file": path.exists() and not path.is_file(),
            "in a folder that exists": not folder.is_dir(),
            "in a folder with write permission": not os.access(folder, os.W_OK | os.X_OK),
            "a file with read permission": path.exists() and not os.access(path, os.R_OK),
        }
        expected = next((text for text, failed in failures.items() if failed), None)
    # The operating system refuses some names.
    except (OSError, ValueError) as error:
        expected = f"a valid path ({error})"
    require(not expected, "checkpoint", f"be {expected}", value)
    return path


def _differences(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """The settings that differ, with their values if these are short."""
    differences = []
    for name in {**old, **new}:
        a, b = old.get(name, "unknown"), new.get(name, "unknown")
        if a != b:
            is_short = all(len(v) <= _MAX_LENGTH and not _DIGEST.search(v) for v in (a, b))
            differences.append(f"{name} ({a} in the file, {b} now)" if is_short else name)
    return differences

"""A file that a descent can be continued from."""

import contextlib
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
from vis.utils.files import written_whole
from vis.utils.validation import require

_FORMAT = "vis checkpoint"
_VERSION = 2
# Descriptions longer than this say nothing to a reader.
_READABLE = 100
_DIGEST = re.compile("[0-9a-f]{32}")


class _Contents(NamedTuple):
    """What is in the file: what has decided the picture so far, and the descent's state."""

    step: int
    seed: int
    made_by: dict[str, str]
    arrays: list[np.ndarray]


class Checkpoint:
    """A file that a descent can be continued from, to the same picture bit for bit.

    It is written after each `every` steps, whole or not at all, so that whoever is killed leaves
    the one before.
    """

    def __init__(self, path: str | os.PathLike, every: int = 50) -> None:
        self._every = every
        self._path = _check_path(path)
        self._found = self._read() if self._path.exists() else None
        # That of the descent in the file, or None where there is no file yet.
        self.seed = self._found.seed if self._found else None

    def begin(
        self, descent: Descent, seed: int, max_iter: int
    ) -> Callable[[int, list[OptimizerCallback]], None]:
        """Brings a descent that has not begun to where the one in the file was, if there is one.

        What is returned is like `descent.descend`, and writes the file on the way and at the end.
        """
        made_by = {"`seed`": describe(seed), **descent.description()}
        if self._found:
            differences = _differences(self._found.made_by, made_by)
            if differences:
                raise self._refused(
                    "must be of the same run, and the one that is there differs in "
                    f"{'; '.join(differences)}. With another path a run starts anew"
                )
            if self._found.step > max_iter:
                raise self._refused(
                    f"must not be further than `max_iter`={max_iter}, and the one that is there "
                    f"is at iteration {self._found.step}"
                )
            descent.restore(self._found.arrays)

        def descend(max_iter: int, watchers: list[OptimizerCallback]) -> None:
            while descent.step < max_iter:
                stop = descent.step - descent.step % self._every + self._every
                descent.descend(min(stop, max_iter), watchers)
                self._write(_Contents(descent.step, seed, made_by, descent.snapshot()))

        return descend

    def _write(self, contents: _Contents) -> None:
        header = {"format": _FORMAT, "version": _VERSION, **contents._asdict()}
        arrays = header.pop("arrays")
        header["types"] = [array.dtype.name for array in arrays]
        # NumPy's format does not have all types that TensorFlow has.
        plain = [a.view(f"u{a.itemsize}") if a.dtype.kind == "V" else a for a in arrays]
        entries: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), "uint8")}
        entries.update({f"array_{number}": array for number, array in enumerate(plain)})
        with written_whole(self._path) as unfinished, open(unfinished, "wb") as file:
            np.savez(file, **entries)

    def _read(self) -> _Contents:
        data = io.BytesIO(self._path.read_bytes())
        try:
            with np.load(data, allow_pickle=False) as file:
                # NumPy reads as much of an entry as that says there is, and so not all checksums.
                if file.zip.testzip():
                    raise ValueError("a checksum is wrong")
                entries = {name: file[name] for name in file.files}
            header = json.loads(entries["header"].tobytes())
            version = int(header["version"])
            is_readable = header["format"] == _FORMAT and version <= _VERSION
            types = header["types"] if is_readable else []
            arrays = [entries[f"array_{number}"].view(kind) for number, kind in enumerate(types)]
        # There is no end to what NumPy and zipfile raise on bytes that mean nothing.
        except Exception as error:
            raise self._refused(
                "must be a file that a run with `checkpoint` has written, and the one that is "
                "there is damaged or something else. Delete it, or choose another path, to start "
                f"anew ({type(error).__name__})"
            ) from error
        if not is_readable:
            raise self._refused(
                f"must be of version {_VERSION}, and the one that is there is of version "
                f"{version}. It was written by a newer release of this library"
            )
        return _Contents(header["step"], header["seed"], header["made_by"], arrays)

    def _refused(self, reason: str) -> ValueError:
        return ValueError(f"`checkpoint` {reason}. Received: checkpoint={os.fspath(self._path)!r}")


def without_memory(
    modifiers: Sequence[InputModifier], grad_modifier: Callable | None
) -> tuple[list[InputModifier], Callable | None]:
    """The same modifiers, of which those in NumPy raise an error when they remember something.

    What they remember is not in the file, so that a run could not be continued exactly.
    """
    modifiers = [m if is_in_graph(m) else _Memoryless(m) for m in modifiers]
    if grad_modifier is not None and not hasattr(grad_modifier, "formula"):
        grad_modifier = _MemorylessFunction(grad_modifier)
    return modifiers, grad_modifier


class _Memoryless(InputModifier):
    def __init__(self, modifier: InputModifier) -> None:
        self.modifier = modifier

    def pre(self, image):
        return _unchanged("input_modifiers", self.modifier, self.modifier.pre, image)

    def post(self, image):
        return _unchanged("input_modifiers", self.modifier, self.modifier.post, image)


class _MemorylessFunction:
    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, grads: np.ndarray) -> np.ndarray:
        return _unchanged("grad_modifier", self.function, self.function, grads)


def _unchanged(argument: str, thing: Any, function: Callable, array: np.ndarray) -> np.ndarray:
    """What a function of a thing makes of an array, where the thing remembers nothing of it."""
    before = _memory(thing)
    made = function(array)
    if _memory(thing) != before:
        raise ValueError(
            f"`{argument}` must remember nothing from one step to the next where there is a "
            "`checkpoint`, nor draw from the global random state, as neither can be continued "
            "after an interruption. A `vis.input_modifiers.Transform` may be random. "
            f"Received: {thing!r}"
        )
    return made


def _memory(thing: Any) -> tuple:
    return describe(thing), random.getstate(), describe(np.random.get_state())  # noqa: NPY002


def _check_path(given: Any) -> Path:
    is_path = isinstance(given, (str, os.PathLike)) and isinstance(os.fspath(given), str)
    require(is_path, "checkpoint", "be the path of a file", given, TypeError)
    try:
        path = Path(given)
        with contextlib.suppress(FileNotFoundError):
            path.stat()
        folder = path.absolute().parent
        missing = {
            "the path of a file": path.exists() and not path.is_file(),
            "in a folder that exists": not folder.is_dir(),
            "in a folder that can be written to": not os.access(folder, os.W_OK | os.X_OK),
            "a file that can be read": path.exists() and not os.access(path, os.R_OK),
        }
        expected = next((what for what, is_missing in missing.items() if is_missing), None)
    # So are refused names that the system does not take.
    except (OSError, ValueError) as error:
        expected = f"a path that can be ({error})"
    require(not expected, "checkpoint", f"be {expected}", given)
    return path


def _differences(there: dict[str, str], here: dict[str, str]) -> list[str]:
    """What differs, with the values where these say something to a reader."""
    differences = []
    for name in {**there, **here}:
        values = [values.get(name, "unknown") for values in (there, here)]
        if values[0] != values[1]:
            readable = all(len(v) <= _READABLE and not _DIGEST.search(v) for v in values)
            told = " ({} there, {} here)".format(*values) if readable else ""
            differences.append(f"{name}{told}")
    return differences

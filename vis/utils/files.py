"""Atomic writing of files."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path, which is renamed to `path` if the block ends without an error.

    It is in the same folder, which must exist, and has the same suffix. Temporary files that a
    killed process has left are removed at the next write to `path`.
    """
    path = Path(path)
    # Hashed, because file names have a maximum length.
    prefix = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}."
    for old in path.parent.glob(f"{prefix}*"):
        if not _is_running(old.name.removeprefix(prefix).split(".")[0]):
            old.unlink(missing_ok=True)
    process, thread = os.getpid(), threading.get_ident()
    temporary = path.with_name(f"{prefix}{process}.{thread}{path.suffix[-16:]}")
    try:
        yield temporary
        # After a power failure, the name could otherwise be on the disk without the content.
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_running(process: str) -> bool:
    """Whether there is a process with this id; other names count as running."""
    try:
        # Processes of other users raise a PermissionError.
        with contextlib.suppress(PermissionError, ValueError):
            os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    return True

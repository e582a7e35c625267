"""Files that are there whole, or not at all."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


def _is_at_work(name: str) -> bool:
    """Whether the process still runs whose number a name begins with."""
    number = name.split(".")[0]
    try:
        # That of another user may not be asked; a name may begin with something else.
        with contextlib.suppress(PermissionError, ValueError):
            os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextlib.contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, which takes the name `path` when the block ends without an error.

    It is in the same folder, which must exist, and has the same suffix. What a process has left
    unfinished that was killed is removed when the path is next written to.
    """
    path = Path(path)
    # Short, so that it is no longer than a name may be.
    begins = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}."
    for left in path.parent.glob(f"{begins}*"):
        if not _is_at_work(left.name.removeprefix(begins)):
            left.unlink(missing_ok=True)
    process, thread = os.getpid(), threading.get_ident()
    unfinished = path.with_name(f"{begins}{process}.{thread}{path.suffix[-16:]}")
    try:
        yield unfinished
        # Or after a power failure the name may be there before what was written.
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)

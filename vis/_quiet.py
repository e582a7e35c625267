"""Imports TensorFlow without its start-up messages on standard error."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Imports Keras and TensorFlow silently; the messages are shown if the import fails."""
    if "tensorflow" in sys.modules:
        return
    # TensorFlow reads this once, when it is first imported; a value set by the user wins.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow 2.21 still writes six lines about oneDNN and missing CUDA drivers before it reads
    # its own switches. They would fill the first cell of a notebook.
    with _stderr_held_back():
        importlib.import_module("keras")
        importlib.import_module("tensorflow")


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    try:
        stderr = os.dup(2)
    except OSError:  # The process has no standard error.
        yield
        return
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)

"""Imports TensorFlow without its greetings on standard error."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras silently, unless that has been done already.

    What TensorFlow writes about missing CUDA drivers and CPU instructions comes from C++ before
    its logging is set up, so that no environment variable reaches it. Should the import fail,
    all that it wrote is shown.
    """
    if "tensorflow" in sys.modules:
        return
    # TensorFlow reads this once, when it is first imported; a value set by the user wins.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _stderr_held_back():
        importlib.import_module("keras")
        importlib.import_module("tensorflow")


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    try:
        copy = os.dup(2)
    except OSError:  # no standard error at all: nothing to hold back
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(copy, held.read())
            raise
        finally:
            os.dup2(copy, 2)
            os.close(copy)

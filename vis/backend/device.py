"""What the machine is: the one place that is asked for it."""

import contextlib
import ctypes
import os

import tensorflow as tf

# Parameters of glibc's `mallopt`: memory at the top of the heap that is kept when it is free, and
# the size from which on memory comes from the system, and returns to it, piece by piece.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# What both come to by themselves where nobody has set them, at most.
_KEPT_FREE, _LARGEST_PIECE = 2**26, 2**25


def has_gpu() -> bool:
    """Whether networks run on a GPU, where batches are descended together by its own kernels."""
    return bool(tf.config.list_physical_devices("GPU"))


def processors() -> int:
    """How many threads compute at the same time."""
    return tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1


def share_processors(count: int) -> None:
    """Computes by so many threads, and leaves the other processors to others.

    Where this process has computed something, it is too late, and it goes on as it did.
    """
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(count)


def images_at_once() -> int:
    """How many images fly through a network together; more crowd each other out of the caches."""
    return 32 if has_gpu() else 2 * processors()


def reuse_memory() -> None:
    """Lets what one array frees serve the next, where the environment says otherwise.

    A system that clears each page anew for every tensor takes a third of the time that the
    network takes. Only of GNU systems is it known how to say so.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_TRIM_THRESHOLD, _KEPT_FREE)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_PIECE)

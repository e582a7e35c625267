"""The hardware: GPU, CPU threads and memory."""

import contextlib
import ctypes
import os

import tensorflow as tf

# Parameters of glibc's `mallopt`: how much free memory is kept at the top of the heap, and the
# size from which on an allocation is returned to the system as soon as it is freed.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The largest values that glibc chooses by itself.
_MAX_KEPT, _MAX_MMAP_THRESHOLD = 2**26, 2**25


def has_gpu() -> bool:
    """Whether models run on a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def num_threads() -> int:
    """Number of threads that compute at the same time."""
    return tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1


def set_num_threads(count: int) -> None:
    """Sets the number of threads. Without effect if TensorFlow has already computed something."""
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(count)


def default_batch_size() -> int:
    """The batch size for inference. On a CPU, larger batches do not fit into its caches."""
    return 32 if has_gpu() else 2 * num_threads()


def keep_freed_memory() -> None:
    """Lets new arrays reuse freed memory, on systems with glibc.

    If the environment says otherwise, as Dask's does, each tensor gets new pages from the system.
    Clearing these takes a third of the time of a network.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_TRIM_THRESHOLD, _MAX_KEPT)
        library.mallopt(_MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD)

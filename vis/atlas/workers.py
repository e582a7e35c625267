"""Workers that run tasks: threads, processes, a Dask cluster, or any executor."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import keras
from tqdm import tqdm

from vis.atlas.tasks import MissingData, PackedModel, Task, evict, run_task, store
from vis.backend import device
from vis.utils.validation import check_integer, require

# While one thread traces, which holds Python's lock, the other renders, which does not.
_THREADS = 2
# Executors that may break in a row, without a completed task in between.
_MAX_RESTARTS = 3
# Seconds.
_SCHEDULER_TIMEOUT = 10

AnyTask = TypeVar("AnyTask", bound=Task)


class WorkerPool:
    """Runs tasks on an executor, and sends workers the data that they miss.

    If a worker returns `MissingData`, the task is submitted again with the data. So the model is
    sent to each worker once, without a shared disk. `new_executor` replaces a broken executor;
    without it, that is an error.
    """

    def __init__(
        self,
        executor: futures.Executor,
        shared_data: Mapping[str, Any],
        new_executor: Callable[[], futures.Executor] | None = None,
    ) -> None:
        self._executor = executor
        self._shared_data = shared_data
        self._new_executor = new_executor

    def as_completed(self, tasks: Iterable[AnyTask]) -> Iterator[tuple[AnyTask, Any]]:
        """Yields each task with its result, or with the exception that it raised."""
        pending: dict[futures.Future, AnyTask] = {}
        restarts = 0
        try:
            for task in tasks:
                pending[self._submit(task)] = task
            while pending:
                done, _ = futures.wait(pending, return_when=futures.FIRST_COMPLETED)
                failure: BaseException | None = None
                for future in done:
                    try:
                        result = future.result()
                    except (futures.BrokenExecutor, futures.CancelledError) as error:
                        failure = error
                        continue
                    except Exception as error:
                        result = error
                    task = pending.pop(future)
                    if isinstance(result, MissingData):
                        pending[self._submit(task, result.keys)] = task
                    else:
                        restarts = 0
                        yield task, result
                if failure is not None:
                    restarts += 1
                    if self._new_executor is None or restarts > _MAX_RESTARTS:
                        raise ConnectionError(
                            "The workers of `executor` are lost. Finished pictures are kept. Rerun "
                            "the call to resume. A script that starts processes must call "
                            "`draw_atlas` under `if __name__ == '__main__':`. "
                            f"Received: {failure!r}"
                        ) from failure
                    self._executor.shutdown(cancel_futures=True)
                    self._executor = self._new_executor()
                    pending = {self._submit(task): task for task in pending.values()}
        finally:
            for future in pending:
                future.cancel()

    def _submit(self, task: Task, keys: Iterable[str] = ()) -> futures.Future:
        shared_data = {key: self._shared_data[key] for key in keys}
        try:
            return self._executor.submit(run_task, task, shared_data)
        except futures.BrokenExecutor as error:
            broken: futures.Future = futures.Future()
            broken.set_exception(error)
            return broken
        except RuntimeError as error:
            raise ConnectionError(
                f"`executor` accepts no tasks; is it shut down? Received: {error!r}"
            ) from error

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        # After an error the results of running tasks are useless: do not wait for them.
        self._executor.shutdown(wait=error is None, cancel_futures=True)


@contextlib.contextmanager
def open_pool(
    executor: Any, shared_data: Mapping[str, Any], safe_mode: bool
) -> Iterator[WorkerPool]:
    """The pool for the `executor` argument of `draw_atlas`."""
    if executor is None:
        store(shared_data)
        try:
            with WorkerPool(futures.ThreadPoolExecutor(_THREADS), shared_data) as pool:
                yield pool
        finally:
            evict(shared_data)
        return
    packed = {
        key: PackedModel.pack(item, safe_mode) if isinstance(item, keras.Model) else item
        for key, item in shared_data.items()
    }
    if isinstance(executor, futures.Executor):
        yield WorkerPool(executor, packed)
    elif isinstance(executor, str):
        with _dask_client(executor) as client:
            client.register_plugin(_dask_plugin(packed))
            yield WorkerPool(client.get_executor(pure=False), packed)
    else:
        with _process_pool(executor, packed) as pool:
            yield pool


def check_executor(executor: Any) -> Any:
    """Returns the `executor` argument of `draw_atlas`, or raises if it is invalid."""
    if executor is None or isinstance(executor, futures.Executor):
        return executor
    if isinstance(executor, str):
        expected = "be the address of a scheduler, such as 'tcp://10.0.0.1:8786'"
        require("://" in executor, "executor", expected, executor)
        return executor
    expected = (
        "be None, a number of processes, the address of a Dask scheduler or a "
        "`concurrent.futures.Executor`"
    )
    require(isinstance(executor, int), "executor", expected, executor, TypeError)
    return check_integer("executor", executor, least=1)


@contextlib.contextmanager
def _process_pool(processes: int, packed: Mapping[str, Any]) -> Iterator[WorkerPool]:
    context = multiprocessing.get_context("spawn")
    threads = max(1, device.num_threads() // processes)
    # Nothing is written to this pipe. Its reader sees the end when this process ends, however.
    reader, writer = context.Pipe(duplex=False)

    def new_executor() -> futures.Executor:
        arguments = (packed, reader, threads)
        return futures.ProcessPoolExecutor(processes, context, _start_process, arguments)

    with reader, writer, WorkerPool(new_executor(), packed, new_executor) as pool:
        yield pool


def _start_process(shared_data: Mapping[str, Any], reader: Connection, threads: int) -> None:
    """Initializer of each worker process."""
    device.set_num_threads(threads)
    # Worker bars are disabled. A lock between processes would stay locked by a killed process.
    tqdm.set_lock(threading.RLock())
    # The parent handles Ctrl-C. Workers end when the parent does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, args=(reader,), daemon=True).start()
    # If this fails, the first task that needs the data raises the error.
    with contextlib.suppress(Exception):
        store(shared_data)


def _exit_with_parent(reader: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        reader.recv()
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _dask_client(address: str) -> Iterator[Any]:
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            "A Dask cluster requires the package `distributed`: pip install 'keras3-vis[cluster]'"
        ) from error
    try:
        client = distributed.Client(address, timeout=_SCHEDULER_TIMEOUT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(
            "`executor` must be the address of a Dask scheduler that answers within "
            f"{_SCHEDULER_TIMEOUT} seconds. Received: {address}"
        ) from error
    with client:
        yield client


def _dask_plugin(shared_data: Mapping[str, Any]) -> Any:
    """A plugin that stores the data on all workers of a cluster, including later ones."""
    from distributed import WorkerPlugin

    class StoreSharedData(WorkerPlugin):
        name = "vis.atlas " + " ".join(shared_data)

        def setup(self, worker: Any) -> None:
            device.set_num_threads(worker.state.nthreads)
            # By default, Dask's workers return freed memory to the system at once.
            device.keep_freed_memory()
            store(shared_data)

    return StoreSharedData()

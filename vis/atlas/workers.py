"""Who fulfils orders: this process, processes beside it, a cluster, or any executor."""

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

from vis.atlas.tasks import MissingData, PackedModel, Task, forget, keep, run_task
from vis.backend import device
from vis.utils.validation import check_integer

# One thread traces while another, which leaves Python alone, draws.
_THREADS = 2
# How often processes may die, one time after the other, without any order done in between.
_MOST_DEATHS = 3
# Seconds that a scheduler has to answer.
_PATIENCE = 10

AnyTask = TypeVar("AnyTask", bound=Task)


class WorkerPool:
    """Has orders fulfilled by an executor, and brings its workers what they lack.

    A worker that lacks what an order needs says so, and gets it with the same order once more. So
    a model travels to each once, whatever the executor is, and no disk is shared. Parcels are what
    orders need, by key. `replaced` makes another executor when all workers of one are lost; it is
    None where that is not ours to do.
    """

    def __init__(
        self,
        executor: futures.Executor,
        shared_data: Mapping[str, Any],
        replaced: Callable[[], futures.Executor] | None = None,
    ) -> None:
        self._executor = executor
        self._parcels = shared_data
        self._replaced = replaced

    def as_completed(self, orders: Iterable[AnyTask]) -> Iterator[tuple[AnyTask, Any]]:
        """Orders and what came of them, as they are done: a result, or an `Exception`.

        A `ConnectionError` says that the executor is lost.
        """
        waiting: dict[futures.Future, AnyTask] = {}
        deaths = 0
        try:
            for order in orders:
                waiting[self._ask(order)] = order
            while waiting:
                done, _ = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
                lost: BaseException | None = None
                for future in done:
                    try:
                        result = future.result()
                    except (futures.BrokenExecutor, futures.CancelledError) as error:
                        lost = error
                        continue
                    except Exception as error:
                        result = error
                    order = waiting.pop(future)
                    if isinstance(result, MissingData):
                        waiting[self._ask(order, result.keys)] = order
                    else:
                        deaths = 0
                        yield order, result
                if lost is not None:
                    deaths += 1
                    if self._replaced is None or deaths > _MOST_DEATHS:
                        raise ConnectionError(
                            "The executor's workers are lost. What they have drawn is kept, and "
                            "the same call goes on from there. A script that draws by processes "
                            f"begins under `if __name__ == '__main__':`. Received: {lost!r}"
                        ) from lost
                    self._executor.shutdown(cancel_futures=True)
                    self._executor = self._replaced()
                    waiting = {self._ask(order): order for order in waiting.values()}
        finally:
            for future in waiting:
                future.cancel()

    def _ask(self, order: Task, keys: Iterable[str] = ()) -> futures.Future:
        shared_data = {key: self._parcels[key] for key in keys}
        try:
            return self._executor.submit(run_task, order, shared_data)
        except futures.BrokenExecutor as error:
            broken: futures.Future = futures.Future()
            broken.set_exception(error)
            return broken
        except RuntimeError as error:
            raise ConnectionError(f"`executor` must take orders. Received: {error!r}") from error

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        # What is at hand is of no use after an error.
        self._executor.shutdown(wait=error is None, cancel_futures=True)


@contextlib.contextmanager
def open_pool(
    executor: Any, shared_data: Mapping[str, Any], allow_code: bool
) -> Iterator[WorkerPool]:
    """The crew that an argument of `draw_atlas` stands for; among the parcels are models."""
    if executor is None:
        keep(shared_data)
        try:
            with WorkerPool(futures.ThreadPoolExecutor(_THREADS), shared_data) as crew:
                yield crew
        finally:
            forget(shared_data)
        return
    packed = {
        key: PackedModel.of(item, allow_code) if isinstance(item, keras.Model) else item
        for key, item in shared_data.items()
    }
    if isinstance(executor, futures.Executor):
        yield WorkerPool(executor, packed)
    elif isinstance(executor, str):
        with _connected(executor) as client:
            client.register_plugin(_delivery(packed))
            yield WorkerPool(client.get_executor(pure=False), packed)
    else:
        context = multiprocessing.get_context("spawn")
        each = max(1, device.processors() // executor)
        # Nobody writes to it. Its end is that of the work, whatever has ended it.
        alive, here = context.Pipe(duplex=False)

        def beside() -> futures.Executor:
            return futures.ProcessPoolExecutor(executor, context, _begin, (packed, alive, each))

        with alive, here, WorkerPool(beside(), packed, beside) as crew:
            yield crew


def check_executor(executor: Any) -> Any:
    """Returns an argument that says who draws, or raises unless it is one."""
    if isinstance(executor, str) and "://" not in executor:
        raise ValueError(
            "`executor` must be the address of a scheduler, such as 'tcp://10.0.0.1:8786'. "
            f"Received: executor={executor!r}"
        )
    if executor is None or isinstance(executor, (str, futures.Executor)):
        return executor
    if isinstance(executor, int):
        return check_integer("executor", executor, least=1)
    raise TypeError(
        "`executor` must be None, a number of processes, the address of a Dask scheduler or a "
        f"`concurrent.futures.Executor`. Received: executor={executor!r}"
    )


def _begin(shared_data: Mapping[str, Any], alive: Connection, processors: int) -> None:
    """What a process beside this one does first."""
    device.share_processors(processors)
    # Its bars are silent, and a lock between processes would outlive one that is killed.
    tqdm.set_lock(threading.RLock())
    # Ctrl-C is for the process that asks; and who is left without it goes, too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(alive,), daemon=True).start()
    # What cannot be unpacked here says so when an order needs it.
    with contextlib.suppress(Exception):
        keep(shared_data)


def _end_after(alive: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        alive.recv()
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """A client of a Dask cluster."""
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            "A cluster needs the package `distributed`: pip install 'keras3-vis[cluster]'"
        ) from error
    try:
        client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(
            "`executor` must be the address of a Dask scheduler that answers within "
            f"{_PATIENCE} seconds. Received: {address}"
        ) from error
    with client:
        yield client


def _delivery(shared_data: Mapping[str, Any]) -> Any:
    """Brings parcels to all workers of a cluster, also to those that join it later."""
    from distributed import WorkerPlugin

    class Delivery(WorkerPlugin):
        name = "vis.atlas " + " ".join(shared_data)

        def setup(self, worker: Any) -> None:
            device.share_processors(worker.state.nthreads)
            # Dask has its workers return all memory to the system at once.
            device.reuse_memory()
            keep(shared_data)

    return Delivery()

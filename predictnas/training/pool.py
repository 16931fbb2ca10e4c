"""Jobs done by several worker processes."""

import contextlib
import pickle
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

from predictnas.training.processes import WorkerError, WorkerProcess, prepare_worker

__all__ = ["in_workers"]

Job = TypeVar("Job")


@dataclass(eq=False)
class _Worker:
    """A process and the number of the job that it has."""

    process: WorkerProcess
    job: int | None = None


def in_workers(
    do: Callable[[Job], Any],
    jobs: Sequence[Job],
    count: int,
    *,
    threads: int = 1,
    name: Callable[[Job], str] = str,
) -> Generator[tuple[int, Any], None, None]:
    """Do jobs in processes of their own; yields the number of each with its answer, in any order.

    Close the iterator when leaving it early, so that no worker goes on.

    Parameters
    ----------
    do
        Does one job; sent to the workers, so that it and its answers must be picklable.
    jobs
        What to do.
    count
        How many processes.
    threads
        CPU threads of each.
    name
        Names a job in the message about a worker that died at it.

    Raises
    ------
    WorkerError
        If a worker process dies, or an answer or what a job raised cannot be pickled.
    Exception
        What a job raised.
    """
    queue = iter(range(len(jobs)))
    workers: list[_Worker] = []
    try:
        workers.extend(_Worker(WorkerProcess.start(_work)) for _ in range(count))
        # As plain bytes: tensors sent as such would be shared, and shared memory is scarce.
        payload = pickle.dumps((do, threads))
        dead: _Worker | None = None
        for worker in workers:
            try:
                worker.process.connection.send_bytes(payload)
            except OSError:
                dead = worker
            _hand_out(worker, next(queue, None), jobs)
        while dead is None and (busy := [w for w in workers if w.job is not None]):
            ready = wait([worker.process.connection for worker in busy])
            for worker in (w for w in busy if w.process.connection in ready):
                try:
                    answer = worker.process.connection.recv()
                except (EOFError, OSError):
                    dead = worker
                    continue  # to those that have an answer
                if isinstance(answer, Exception):
                    raise answer
                number = worker.job
                assert number is not None  # it is busy
                _hand_out(worker, next(queue, None), jobs)
                yield number, answer
        if dead is not None:
            where = "" if dead.job is None else f" at {name(jobs[dead.job])}"
            raise WorkerError(
                f"a worker process {dead.process.how_it_ended()}{where}, perhaps for want of "
                "memory; run the same command again with fewer workers: "
                f"--workers {max(count // 2, 1)}"
            )
    finally:
        WorkerProcess.end([worker.process for worker in workers])


def _hand_out(worker: _Worker, number: int | None, jobs: Sequence[Any]) -> None:
    worker.job = number
    if number is not None:
        with contextlib.suppress(OSError):  # its death shows when its answer is read
            worker.process.connection.send(jobs[number])


def _work(connection: Connection) -> None:
    """Do what comes in until the other end is closed, be it that its process was killed."""
    with contextlib.suppress(EOFError, OSError):
        do, threads = pickle.loads(connection.recv_bytes())  # noqa: S301 - our parent's
        prepare_worker(threads)
        while True:
            job = connection.recv()
            try:
                answer = do(job)
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
                answer = error
            connection.send_bytes(_sendable(answer))


def _sendable(answer: Any) -> Any:
    """Return the bytes of an answer or exception, or of an error that says what it was."""
    try:
        if isinstance(answer, Exception):
            pickle.loads(pickle.dumps(answer))  # noqa: S301 - ours; some only fail when read
        return ForkingPickler.dumps(answer)
    except Exception as error:  # noqa: BLE001 - pickling calls whatever the object defines
        if isinstance(answer, Exception):
            text = f"a job in a worker process failed with {_in_words(answer)}"
        else:
            text = (
                f"the answer of a job, of type {type(answer).__name__}, cannot be sent from its "
                f"worker process: {_in_words(error)}"
            )
        return ForkingPickler.dumps(WorkerError(text))


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

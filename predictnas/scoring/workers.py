"""Scoring many architectures, in this process or in several."""

import contextlib
import pickle
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TypeAlias

import torch

from predictnas.scoring.setting import ArchScores, ScoringSetting
from predictnas.spaces import Arch
from predictnas.training.processes import WorkerError, WorkerProcess, usable_cores

__all__ = ["Job", "WorkerError", "score_jobs"]

Job: TypeAlias = tuple[Arch, Sequence[str]]
"""An architecture and the proxies to compute of it."""

START_UP_SECONDS = 5.0
"""What worker processes take until they score: shorter jobs are done without any."""

ARCHITECTURES_A_WORKER = 4
"""Fewest architectures for which an automatic choice starts another worker."""

WORKERS_A_GPU = 4
"""Processes that share a GPU: small networks wait for launches more than for the device."""


def score_jobs(
    setting: ScoringSetting,
    jobs: Sequence[Job],
    *,
    workers: int | None = 1,
    threads: int | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Generator[tuple[int, ArchScores], None, None]:
    """Score architectures; yields the number of each job with its scores, in any order.

    Close the iterator when leaving it early, so that no worker goes on.

    Parameters
    ----------
    setting
        What scores depend on.
    jobs
        What to score.
    workers
        Processes. 1: this one. None: this one for as long as others would take to start, then
        one for every usable core, or four where they share a GPU.
    threads
        CPU threads a process; None: one, and as many as torch uses now where ``workers`` is 1.
    on_step
        Called with a line when worker processes start.

    Raises
    ------
    WorkerError
        If a worker process dies.
    """
    own_threads = torch.get_num_threads() if workers == 1 else 1
    threads = threads or own_threads
    start = time.monotonic()
    for number, (arch, names) in enumerate(jobs):
        left = len(jobs) - number
        count = _automatic(setting, left, threads) if workers is None else min(workers, left)
        elapsed = time.monotonic() - start
        worth_it = elapsed > START_UP_SECONDS and elapsed / max(number, 1) * left > START_UP_SECONDS
        if count > 1 and (workers is not None or worth_it):
            if on_step is not None:
                on_step(f"scoring with {count} worker processes")
            if setting.images.device.type == "cuda":
                torch.cuda.empty_cache()  # for the workers
            with contextlib.closing(_in_workers(setting, jobs, number, count, threads)) as rest:
                yield from rest
            return
        with _using_threads(threads):
            scores = setting.try_score(arch, names)
        yield number, scores


def _automatic(setting: ScoringSetting, left: int, threads: int) -> int:
    usable = {"cpu": usable_cores() // threads, "cuda": WORKERS_A_GPU}
    most = usable.get(setting.images.device.type, 1)
    return max(min(most, left // ARCHITECTURES_A_WORKER), 1)


@dataclass(eq=False)
class _Worker:
    """A process and the number of the job that it has."""

    process: WorkerProcess
    job: int | None = None


def _in_workers(
    setting: ScoringSetting, jobs: Sequence[Job], first: int, count: int, threads: int
) -> Generator[tuple[int, ArchScores], None, None]:
    queue = iter(range(first, len(jobs)))
    workers: list[_Worker] = []
    try:
        workers.extend(_Worker(WorkerProcess.start(_work)) for _ in range(count))
        # As plain bytes: tensors sent as such would be shared, and shared memory is scarce.
        payload = pickle.dumps((setting, threads))
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
            raise _died(dead, setting, jobs, count)
    finally:
        WorkerProcess.end([worker.process for worker in workers])


def _hand_out(worker: _Worker, number: int | None, jobs: Sequence[Job]) -> None:
    worker.job = number
    if number is not None:
        with contextlib.suppress(OSError):  # its death shows when its answer is read
            worker.process.connection.send(jobs[number])


def _work(connection: Connection) -> None:
    """Score what comes in until the other end is closed, be it that its process was killed."""
    with contextlib.suppress(EOFError, OSError):
        setting, threads = pickle.loads(connection.recv_bytes())  # noqa: S301 - our parent's
        torch.set_num_threads(threads)
        while True:
            arch, names = connection.recv()
            answer: ArchScores | Exception
            try:
                answer = setting.try_score(arch, names)
            except Exception as error:  # noqa: BLE001 - it is raised where the scores are awaited
                answer = error
            connection.send(answer)


def _died(worker: _Worker, setting: ScoringSetting, jobs: Sequence[Job], count: int) -> WorkerError:
    where = "" if worker.job is None else f" at {setting.space.format(jobs[worker.job][0])}"
    return WorkerError(
        f"a worker process {worker.process.how_it_ended()}{where}, perhaps for want of memory; "
        f"run the same command again with fewer workers: --workers {max(count // 2, 1)}"
    )


@contextlib.contextmanager
def _using_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Running the jobs of a benchmark, one process a core."""

import contextlib
import pickle
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from predictnas.benchmarking.predictor_benchmark import Job, PredictorBenchmark
from predictnas.benchmarking.record_file import RecordFile
from predictnas.evaluation import noise_ceiling
from predictnas.training.processes import WorkerError, WorkerProcess, usable_cores

__all__ = ["run_benchmark"]


def run_benchmark(
    benchmark: PredictorBenchmark,
    path: Path | None,
    *,
    workers: int | None = None,
    on_step: Callable[[str], None],
    progress: Callable[[str, int], AbstractContextManager[Callable[[], None]]],
) -> RecordFile:
    """Do what a file lacks of the jobs of a benchmark.

    Every job runs on one thread, so that its seconds are those of one core. However this ends,
    the records of finished jobs are in the file.

    Parameters
    ----------
    benchmark
        The experiment.
    path
        JSON file of the records, gone on with where it exists; None for none.
    workers
        Processes; 1 is this one, None is one for every usable core.
    on_step
        Called with a line about what happens.
    progress
        Shows progress: given a title and the number of jobs, it yields the function to call after
        each (see :func:`predictnas.console.progress`).

    Raises
    ------
    InputError
        If the file cannot be gone on with, or a predictor cannot be fitted.
    WorkerError
        If a worker process dies.
    """
    replicates = benchmark.table.replicates
    ceiling = None if replicates is None else noise_ceiling(replicates.matrix())
    file = RecordFile(benchmark, path, None if ceiling is None else ceiling.to_dict())
    jobs = file.missing()
    total = len(benchmark.jobs())
    if len(jobs) < total:
        on_step(f"{path} holds {total - len(jobs)} of {total} records already")
    count = min(usable_cores() if workers is None else workers, len(jobs))
    with (
        progress("benchmarking", len(jobs)) as advance,
        contextlib.closing(_measure(benchmark, jobs, count)) as measured,
    ):
        for record in measured:
            file.add([record])
            advance()
    if path is not None and not path.exists():
        file.add([])
    return file


def _measure(
    benchmark: PredictorBenchmark, jobs: Sequence[Job], count: int
) -> Generator[dict[str, Any], None, None]:
    if count > 1:
        yield from _in_workers(benchmark, jobs, count)
        return
    before = torch.get_num_threads()
    for job in jobs:
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1):
                record = benchmark.measure(job)
        finally:
            torch.set_num_threads(before)
        yield record


@dataclass(eq=False)
class _Worker:
    """A process and the job that it has."""

    process: WorkerProcess
    job: Job | None = None


def _in_workers(
    benchmark: PredictorBenchmark, jobs: Sequence[Job], count: int
) -> Generator[dict[str, Any], None, None]:
    queue = iter(jobs)
    payload = pickle.dumps(benchmark)
    workers: list[_Worker] = []
    try:
        workers.extend(_Worker(WorkerProcess.start(_work)) for _ in range(count))
        for worker in workers:
            with contextlib.suppress(OSError):  # its death shows when its answer is read
                worker.process.connection.send_bytes(payload)
            _hand_out(worker, next(queue, None))
        while busy := [worker for worker in workers if worker.job is not None]:
            ready = wait([worker.process.connection for worker in busy])
            for worker in (w for w in busy if w.process.connection in ready):
                try:
                    answer = worker.process.connection.recv()
                except (EOFError, OSError):
                    raise _died(worker, count) from None
                if isinstance(answer, Exception):
                    raise answer
                _hand_out(worker, next(queue, None))
                yield answer
    finally:
        WorkerProcess.end([worker.process for worker in workers])


def _hand_out(worker: _Worker, job: Job | None) -> None:
    worker.job = job
    if job is not None:
        with contextlib.suppress(OSError):  # its death shows when its answer is read
            worker.process.connection.send(job)


def _work(connection: Connection) -> None:
    """Do jobs until the other end is closed, be it that its process was killed."""
    with contextlib.suppress(EOFError, OSError):
        benchmark: PredictorBenchmark = pickle.loads(connection.recv_bytes())  # noqa: S301 - ours
        torch.set_num_threads(1)
        with threadpool_limits(1):
            while True:
                job = connection.recv()
                answer: dict[str, Any] | Exception
                try:
                    answer = benchmark.measure(job)
                except Exception as error:  # noqa: BLE001 - raised where the record is awaited
                    answer = error
                connection.send(answer)


def _died(worker: _Worker, count: int) -> WorkerError:
    return WorkerError(
        f"a worker process {worker.process.how_it_ended()} at {worker.job}, perhaps for want of "
        "memory; run the same command again with fewer workers: "
        f"--workers {max(count // 2, 1)}"
    )

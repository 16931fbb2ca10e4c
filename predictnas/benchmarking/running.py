"""Running the jobs of a benchmark, one process a core."""

import contextlib
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from predictnas.benchmarking.predictor_benchmark import Job, PredictorBenchmark
from predictnas.benchmarking.record_file import RecordFile
from predictnas.evaluation import noise_ceiling
from predictnas.predictors.threads import single_thread
from predictnas.training.pool import in_workers
from predictnas.training.processes import usable_cores

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
    ceiling = None if replicates is None else noise_ceiling(replicates.matrix()[benchmark.rows])
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
    measure = partial(_on_one_thread, benchmark)
    if count > 1:
        with contextlib.closing(in_workers(measure, jobs, count)) as answers:
            for _, record in answers:
                yield record
        return
    for job in jobs:
        yield measure(job)


def _on_one_thread(benchmark: PredictorBenchmark, job: Job) -> dict[str, Any]:
    with single_thread():
        return benchmark.measure(job)

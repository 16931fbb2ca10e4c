"""Scoring many architectures, in this process or in several."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import torch

from predictnas.scoring.setting import ArchScores, ScoringSetting
from predictnas.spaces import Arch
from predictnas.training.pool import in_workers
from predictnas.training.processes import WorkerError, usable_cores

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
    for number, job in enumerate(jobs):
        left = len(jobs) - number
        count = _automatic(setting, left, threads) if workers is None else min(workers, left)
        elapsed = time.monotonic() - start
        worth_it = elapsed > START_UP_SECONDS and elapsed / max(number, 1) * left > START_UP_SECONDS
        if count > 1 and (workers is not None or worth_it):
            if on_step is not None:
                on_step(f"scoring with {count} worker processes")
            if setting.images.device.type == "cuda":
                torch.cuda.empty_cache()  # for the workers
            rest = in_workers(
                partial(_score, setting),
                jobs[number:],
                count,
                threads=threads,
                name=lambda job: setting.space.format(job[0]),
            )
            with contextlib.closing(rest):
                for following, scores in rest:
                    yield number + following, scores
            return
        with _using_threads(threads):
            scores = _score(setting, job)
        yield number, scores


def _automatic(setting: ScoringSetting, left: int, threads: int) -> int:
    usable = {"cpu": usable_cores() // threads, "cuda": WORKERS_A_GPU}
    most = usable.get(setting.images.device.type, 1)
    return max(min(most, left // ARCHITECTURES_A_WORKER), 1)


def _score(setting: ScoringSetting, job: Job) -> ArchScores:
    arch, names = job
    return setting.try_score(arch, names)


@contextlib.contextmanager
def _using_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)

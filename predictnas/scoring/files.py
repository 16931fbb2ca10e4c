"""Scoring architectures into a file, going on where an earlier run stopped."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.scoring.score_file import ScoreFile
from predictnas.scoring.scorer import ProxyScorer
from predictnas.scoring.workers import WorkerError

__all__ = ["score_to_file"]


def score_to_file(
    scorer: ProxyScorer,
    archs: NDArray[np.int64],
    path: Path,
    *,
    on_step: Callable[[str], None],
    progress: Callable[[str, int], AbstractContextManager[Callable[[], None]]],
) -> pd.DataFrame:
    """Score what a file lacks of architectures and proxies, and add it to the file.

    Isomorphic architectures are scored once, in the spelling that came first, be it that of an
    earlier run. Nothing that the file holds is computed again or lost: rows and columns that are
    not asked for stay. However this ends, what was scored is on disk.

    Parameters
    ----------
    scorer
        What to compute, and how.
    archs
        Shape ``(n, choices)``.
    path
        Parquet or CSV file, see :class:`~predictnas.scoring.score_file.ScoreFile`.
    on_step
        Called with a line about what happens.
    progress
        Shows progress: given a title and the number of architectures to score, it yields the
        function to call after each (see :func:`predictnas.console.progress`).

    Returns
    -------
    DataFrame
        The rows and columns that were asked for, in the order of ``archs``.

    Raises
    ------
    InputError
        If the file holds scores of other conditions or something else, or cannot be written.
    WorkerError
        If a worker process dies.
    """
    space = scorer.space
    distinct: dict[str, tuple[int, ...]] = {}
    for row, key in zip(archs, space.keys(archs), strict=True):
        distinct.setdefault(key, tuple(int(i) for i in row))
    keys = list(distinct)
    with ScoreFile.open(path, space, scorer.conditions()) as file:
        lacking = {key: names for key in keys if (names := file.missing(key, scorer.names))}
        if len(lacking) < len(keys):
            on_step(f"{path} holds {len(keys) - len(lacking)} of {len(keys)} architectures already")
        todo = list(lacking)
        # In the spelling that the file has: another one builds another network.
        jobs = [(file.arch(key) or distinct[key], lacking[key]) for key in todo]
        try:
            with (
                progress("scoring", len(jobs)) as advance,
                contextlib.closing(scorer.score_jobs(jobs)) as scored,
            ):
                for number, scores in scored:
                    file.add(todo[number], space.format(jobs[number][0]), scores)
                    advance()
        except WorkerError as error:
            raise WorkerError(f"{error}; {path} keeps what has been scored") from error
        finally:
            file.write(keys, scorer.provenance())
        others = len(file) - len(keys)
        if others:
            on_step(f"{path} keeps its {others} other architectures behind these")
        return file.table(keys, scorer.names)

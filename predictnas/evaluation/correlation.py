"""How well each column of scores ranks architectures, against their labels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from predictnas.errors import InputError
from predictnas.evaluation.json_values import json_value
from predictnas.evaluation.rank_correlation import (
    MIN_GROUPS,
    Interval,
    kendall_interval,
    kendall_tau,
    spearman,
    spearman_interval,
)
from predictnas.evaluation.top_ranks import ndcg, precision_at, top_count

__all__ = ["Correlation", "correlate"]


@dataclass(frozen=True)
class Correlation:
    """How one column of scores ranks the rows of a table.

    Attributes
    ----------
    column
        Name of the column.
    n, n_missing
        Rows with a finite score, on which everything here is measured, and rows without one.
    kendall, spearman
        Kendall's τ-b and Spearman's ρ, signed as measured; NaN where undefined.
    kendall_interval, spearman_interval
        Lower and upper ends of their confidence intervals.
    precision
        For each top share (``"top 10 %"``) the share of the best by score that are the best by
        target; a score without information gets the share itself (0.1).
    ndcg
        For each top share the normalised discounted cumulative gain of that many ranks; the gain of
        a row is its target less the smallest target.
    direction
        Which end of the column counts as its top: 1 the largest values, −1 the smallest. It does
        not touch the correlations.
    note
        Why something is undefined, in words; empty when nothing is.
    """

    column: str
    n: int
    n_missing: int
    kendall: float
    kendall_interval: Interval
    spearman: float
    spearman_interval: Interval
    precision: dict[str, float]
    ndcg: dict[str, float]
    direction: int = 1
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON; what is undefined is ``None``."""
        values: dict[str, Any] = json_value(asdict(self))
        return values


def correlate(
    scores: pd.DataFrame,
    target: ArrayLike,
    *,
    directions: Mapping[str, int] | None = None,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    top: Sequence[float] = (0.01, 0.05, 0.1),
) -> list[Correlation]:
    """Measure how every column of `scores` ranks the rows, against `target`.

    Each column is measured on the rows where it is finite. Intervals are analytic (see
    :mod:`predictnas.evaluation.rank_correlation`): nothing is drawn at random, and 21 columns of
    15,625 rows take about a second. They regard the rows as a sample of a larger space.

    Parameters
    ----------
    scores
        Numeric columns, ``n`` rows.
    target
        What the scores should rank, higher is better, shape ``(n,)``.
    directions
        For columns where the smallest values are the best, −1; 1 for the others, which need not be
        named. Names without a column are ignored. Only `precision` and `ndcg` depend on it: the
        correlations keep the sign that was measured.
    groups
        Labels, shape ``(n,)``, of rows that depend on each other, such as the keys of isomorphic
        architectures; intervals then count groups instead of rows.
    confidence
        Coverage of the intervals, between 0 and 1.
    top
        Shares of the rows at which precision and nDCG are measured.

    Returns
    -------
    list of Correlation
        One per column, in the order of the columns.

    Raises
    ------
    InputError
        When lengths differ, a column is not numeric, the target is not finite, or a direction,
        a share or `confidence` is out of range.
    """
    labels = np.asarray(target, dtype=np.float64)
    directions = directions or {}
    clusters = None if groups is None else np.asarray(groups)
    _check(scores, labels, directions, clusters)
    return [
        _correlate_column(
            str(name),
            np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan)),
            labels,
            direction=directions.get(str(name), 1),
            groups=clusters,
            confidence=confidence,
            top=top,
        )
        for name, column in scores.items()
    ]


def _check(
    scores: pd.DataFrame,
    labels: NDArray[np.float64],
    directions: Mapping[str, int],
    groups: NDArray[Any] | None,
) -> None:
    if labels.shape != (len(scores),):
        raise InputError(
            f"correlate expects one target per row: {len(scores)} rows of scores, "
            f"found targets of shape {labels.shape}"
        )
    if groups is not None and groups.shape != (len(scores),):
        raise InputError(
            f"correlate expects one group per row: {len(scores)} rows of scores, "
            f"found groups of shape {groups.shape}"
        )
    if not np.isfinite(labels).all():
        raise InputError(
            f"correlate expects finite targets, found {np.sum(~np.isfinite(labels))} NaN or "
            "infinite; leave those rows out"
        )
    for name, column in scores.items():
        if not pd.api.types.is_numeric_dtype(column.dtype):
            raise InputError(f"correlate expects numeric columns, found {column.dtype} in {name!r}")
    for name, direction in directions.items():
        if direction not in (1, -1):
            raise InputError(f"the direction of {name!r} must be 1 or -1, found {direction}")


def _correlate_column(
    name: str,
    column: NDArray[np.float64],
    labels: NDArray[np.float64],
    *,
    direction: int,
    groups: NDArray[Any] | None,
    confidence: float,
    top: Sequence[float],
) -> Correlation:
    finite = np.isfinite(column)
    x, y = column[finite], labels[finite]
    clusters = None if groups is None else groups[finite]
    gains = y - y.min() if len(y) else y
    return Correlation(
        column=name,
        n=len(x),
        n_missing=int(np.sum(~finite)),
        kendall=kendall_tau(x, y),
        kendall_interval=kendall_interval(x, y, confidence=confidence, groups=clusters),
        spearman=spearman(x, y),
        spearman_interval=spearman_interval(x, y, confidence=confidence, groups=clusters),
        precision={_top_label(share): precision_at(direction * x, y, share) for share in top},
        ndcg={
            _top_label(share): ndcg(direction * x, gains, top_count(share, len(x))) for share in top
        },
        direction=direction,
        note=_note(x, y, clusters),
    )


def _top_label(share: float) -> str:
    return f"top {100 * share:g} %"


def _note(x: NDArray[np.float64], y: NDArray[np.float64], groups: NDArray[Any] | None) -> str:
    if len(x) < 2:
        return f"{len(x)} finite values: a rank correlation needs two or more"
    if np.ptp(x) == 0:
        return "all values are equal: rank correlation is undefined"
    if np.ptp(y) == 0:
        return "all targets are equal: rank correlation is undefined"
    independent = len(x) if groups is None else len(np.unique(groups))
    if independent < MIN_GROUPS:
        return f"{independent} independent rows: an interval needs {MIN_GROUPS} or more"
    return ""

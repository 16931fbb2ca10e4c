"""How well scores from several seeds rank architectures, in the mean over the seeds."""

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictnas.errors import InputError
from predictnas.evaluation.bootstrap import Bootstrapped, Resamples
from predictnas.evaluation.json_values import json_value
from predictnas.evaluation.rank_correlation import kendall_tau, spearman
from predictnas.evaluation.top_ranks import ndcg, precision_at, top_count

__all__ = ["RankingQuality", "ranking_quality", "seed_agreement"]

Floats = NDArray[np.float64]

TOP = (0.01, 0.05, 0.1)
# The part of the rows in which a search has to decide.
BEST = 0.1


@dataclass(frozen=True, eq=False)
class RankingQuality:
    """How the scores of several seeds rank the rows of a table, each measure a mean over seeds.

    Attributes
    ----------
    n, n_missing
        Rows with a finite score at every seed, on which everything here is measured, and the
        others.
    spearman, kendall
        Spearman's ρ and Kendall's τ-b with the target, of scores turned into the declared
        direction: negative where the declaration fails.
    spearman_best
        Spearman's ρ among the best 10 % of all rows by target alone.
    precision, ndcg
        For each top share (``"top 10 %"``) the share of the best by score that are the best by
        target, and the normalised discounted cumulative gain of that many ranks; the gain of a
        row is its target less the smallest target.
    per_seed
        Spearman's ρ of each seed.
    agreement
        Mean of Kendall's τ-b between the scores of two seeds; NaN with one seed.
    """

    n: int
    n_missing: int
    spearman: Bootstrapped
    kendall: Bootstrapped
    spearman_best: Bootstrapped
    precision: dict[str, Bootstrapped]
    ndcg: dict[str, Bootstrapped]
    per_seed: tuple[float, ...]
    agreement: float

    def to_dict(self, confidence: float = 0.95) -> dict[str, Any]:
        """Return values and interval ends as plain values for JSON; undefined is ``None``."""
        found: dict[str, Any] = {"n": self.n, "n_missing": self.n_missing}
        for name in ("spearman", "kendall", "spearman_best"):
            found[name] = getattr(self, name).to_dict(confidence)
        for name in ("precision", "ndcg"):
            measured = getattr(self, name)
            found[name] = {top: each.to_dict(confidence) for top, each in measured.items()}
        found |= {"per_seed": self.per_seed, "agreement": self.agreement}
        values: dict[str, Any] = json_value(found)
        return values


def ranking_quality(
    scores: ArrayLike, target: ArrayLike, resamples: Resamples, *, direction: int = 1
) -> RankingQuality:
    """Measure how scores rank the rows, against `target`.

    Intervals regard the rows as a sample of a larger space; seeds are not resampled.

    Parameters
    ----------
    scores
        One row of scores per seed, shape ``(seeds, n)``; not finite where undefined.
    target
        What the scores should rank, higher is better, shape ``(n,)``, finite.
    resamples
        Of the ``n`` rows; measures of the same resamples can be subtracted.
    direction
        1 if high scores are declared to be good, −1 if low ones are.

    Raises
    ------
    InputError
        When shapes differ, the target is not finite, or the direction is neither 1 nor −1.
    """
    labels, columns = np.asarray(target, dtype=np.float64), _columns(scores)
    if labels.shape != columns.shape[1:] or not np.isfinite(labels).all():
        raise InputError(
            f"expected one finite target for each of {columns.shape[1]} rows of scores, found "
            f"shape {labels.shape} with {np.sum(~np.isfinite(labels))} NaN or infinite"
        )
    if direction not in (1, -1):
        raise InputError(f"the direction of scores must be 1 or -1, found {direction}")
    known: NDArray[np.bool_] = np.asarray(np.isfinite(columns).all(axis=0))
    border = np.sort(labels)[-top_count(BEST, len(labels))]

    def mean(statistic: Any, target: Floats, rows: NDArray[np.bool_] = known) -> Bootstrapped:
        return Bootstrapped.mean(
            [resamples.measure(statistic, direction * row, target, rows=rows) for row in columns]
        )

    gains = labels - labels.min()
    by_seed = [spearman(direction * row[known], labels[known]) for row in columns]
    return RankingQuality(
        n=int(known.sum()),
        n_missing=int(np.sum(~known)),
        spearman=mean(spearman, labels),
        kendall=mean(kendall_tau, labels),
        spearman_best=mean(spearman, labels, known & (labels >= border)),
        precision={
            f"top {100 * share:g} %": mean(partial(precision_at, fraction=share), labels)
            for share in TOP
        },
        ndcg={f"top {100 * share:g} %": mean(partial(_ndcg_at, share), gains) for share in TOP},
        per_seed=tuple(by_seed),
        agreement=seed_agreement(columns),
    )


def seed_agreement(scores: ArrayLike) -> float:
    """Return the mean of Kendall's τ-b over all pairs of seeds.

    Parameters
    ----------
    scores
        One row of scores per seed, shape ``(seeds, n)``. Rows that are not finite at some seed are
        left out.

    Returns
    -------
    float
        NaN with one seed, or where the scores of a seed are constant.

    Raises
    ------
    InputError
        When `scores` is not such a table.
    """
    columns = _columns(scores)
    columns = columns[:, np.isfinite(columns).all(axis=0)]
    pairs = [kendall_tau(first, second) for first, second in combinations(columns, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")


def _columns(scores: ArrayLike) -> Floats:
    columns = np.asarray(scores, dtype=np.float64)
    if columns.ndim != 2 or 0 in columns.shape:
        raise InputError(
            "expected scores of shape (seeds, rows), at least one of each, found shape "
            f"{columns.shape}"
        )
    return columns


def _ndcg_at(share: float, scores: Floats, gains: Floats) -> float:
    return ndcg(scores, gains, top_count(share, len(scores)))

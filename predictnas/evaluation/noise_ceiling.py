"""The noise ceiling: how well a single training predicts the ranking by other trainings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from predictnas.errors import InputError
from predictnas.evaluation.json_values import json_value
from predictnas.evaluation.rank_correlation import kendall_tau
from predictnas.evaluation.ranking_quality import seed_agreement

__all__ = ["NoiseCeiling", "noise_ceiling"]


@dataclass(frozen=True)
class NoiseCeiling:
    """Agreement of repeated labels, which no prediction of them can be expected to exceed by much.

    A prediction from what shares the noise of the labels, such as the beginning of the learning
    curves of the same trainings, can.

    Attributes
    ----------
    n
        Architectures that it is measured on.
    num_seeds
        Labels of each.
    between_seeds
        Mean of Kendall's τ-b between two seeds, over all pairs.
    one_against_others
        Mean of Kendall's τ-b between one seed and the mean of the others, over all seeds: the
        ceiling of a prediction from one training. With two seeds it is `between_seeds`.
    of_mean
        Estimate of Kendall's τ between the expected label and the mean of all seeds: the ceiling
        of a prediction that is compared with that mean. NaN where seeds disagree (τ below zero).
    """

    n: int
    num_seeds: int
    between_seeds: float
    one_against_others: float
    of_mean: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON; what is undefined is ``None``."""
        values: dict[str, Any] = json_value(vars(self))
        return values


def noise_ceiling(labels: ArrayLike) -> NoiseCeiling | None:
    """Measure how well repeated labels agree.

    With the labels y_s of seed s of m seeds, it is the mean over all s of
    τ_b(y_s, Σ_{t≠s} y_t / (m − 1)), and the mean over all pairs of τ_b(y_s, y_t). The latter, τ,
    gives the ceiling of the mean of all seeds as if labels had a Gaussian copula: two seeds
    correlate by r = sin(π τ / 2) (Greiner), the mean of m has the reliability
    R = m r / (1 + (m − 1) r) (Spearman, Brown) and correlates with what is expected by √R, which
    is a τ of 2 / π · arcsin √R.

    Parameters
    ----------
    labels
        A row for every architecture and a column for every seed, shape ``(n, seeds)``; NaN where
        a label is missing. Where architectures have different numbers of labels, m is the number
        that most of those with two or more have, and the first m labels of every architecture that
        has so many count.

    Returns
    -------
    NoiseCeiling or None
        None where fewer than two architectures have two labels.

    Raises
    ------
    InputError
        When `labels` is not a table.

    References
    ----------
    R. Greiner. Über das Fehlersystem der Kollektivmasslehre. Zeitschrift für Mathematik und
    Physik 57, 1909. C. Spearman. Correlation calculated from faulty data. W. Brown. Some
    experimental results in the correlation of mental abilities. British Journal of Psychology 3,
    1910.

    Examples
    --------
    >>> ceiling = noise_ceiling([[1, 1, 2], [2, 3, 1], [3, 2, 3], [4, 4, 4]])
    >>> round(ceiling.between_seeds, 3), round(ceiling.one_against_others, 3)
    (0.556, 0.698)
    >>> round(ceiling.of_mean, 3)
    0.803
    """
    table = np.asarray(labels, dtype=np.float64)
    if table.ndim != 2:
        raise InputError(f"expected labels of shape (architectures, seeds), found {table.shape}")
    known = np.isfinite(table)
    counts = known.sum(axis=1)
    repeated = counts[counts > 1]
    if not repeated.size:
        return None
    # The largest of the most frequent counts.
    frequency = np.bincount(repeated)
    m = int(np.flatnonzero(frequency == frequency.max())[-1])
    rows = np.flatnonzero(counts >= m)
    if len(rows) < 2:
        return None
    first = np.argsort(~known[rows], axis=1, kind="stable")[:, :m]
    seeds = np.take_along_axis(table[rows], first, axis=1).T
    others = (seeds.sum(axis=0) - seeds) / (m - 1)
    against = [kendall_tau(one, rest) for one, rest in zip(seeds, others, strict=True)]
    between = seed_agreement(seeds)
    return NoiseCeiling(len(rows), m, between, float(np.mean(against)), _of_mean(between, m))


def _of_mean(between_seeds: float, m: int) -> float:
    if not between_seeds >= 0:
        return float("nan")
    correlation = np.sin(np.pi / 2 * between_seeds)
    reliability = m * correlation / (1 + (m - 1) * correlation)
    return float(2 / np.pi * np.arcsin(np.sqrt(reliability)))

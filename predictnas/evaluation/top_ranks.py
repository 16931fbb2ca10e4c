"""How much of the true top a ranking finds: precision at the top and nDCG.

Rank correlation over a whole space says little about its best architectures, which is where a
search has to decide.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictnas.errors import InputError

__all__ = ["ndcg", "precision_at", "top_count"]

Floats = NDArray[np.float64]


def top_count(fraction: float, n: int) -> int:
    """Return how many of `n` rows are the top `fraction`: the nearest whole number, at least one.

    Raises
    ------
    InputError
        When `fraction` is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"the top fraction must be above 0 and at most 1, found {fraction}")
    return max(1, round(fraction * n))


def precision_at(scores: ArrayLike, target: ArrayLike, fraction: float = 0.1) -> float:
    """Return the share of the k best by score that belong to the k best by target.

    precision = |top-k by score ∩ top-k by target| / k, with k of :func:`top_count`. Rows tied at
    the border of a top-k enter it by lot: the value is the expectation over both lots, so neither
    the order of the rows nor a constant score can win anything. A score without information has
    precision k / n, that is `fraction`.

    Parameters
    ----------
    scores, target
        Finite values, shape ``(n,)``, higher is better; negate a score where lower is better.
    fraction
        Share of the rows that is the top.

    Returns
    -------
    float
        Between 0 and 1; NaN without rows.

    Raises
    ------
    InputError
        When the shapes differ, a value is not finite, or `fraction` is not above 0 and at most 1.

    Examples
    --------
    >>> precision_at([4, 3, 2, 1], [3, 1, 4, 2], fraction=0.5)
    0.5
    """
    scores, target = _checked(scores, target)
    count = top_count(fraction, len(scores))
    if len(scores) == 0:
        return float("nan")
    return float(_in_top(scores, count) @ _in_top(target, count) / count)


def ndcg(scores: ArrayLike, relevance: ArrayLike, k: int | None = None) -> float:
    """Return the normalised discounted cumulative gain of the `k` best by score.

    DCG = Σ_{r=1}^{k} relevance_r / log₂(r + 1) over the rows in descending order of score, divided
    by the DCG of the best possible order. Rows of equal score share the mean of their relevances
    (McSherry & Najork 2008), as in ``sklearn.metrics.ndcg_score``.

    Parameters
    ----------
    scores
        Finite values, shape ``(n,)``, higher is better.
    relevance
        Finite gains of zero or more, shape ``(n,)``.
    k
        How many ranks count; all by default.

    Returns
    -------
    float
        Between 0 and 1; NaN without rows or when no row has any relevance.

    Raises
    ------
    InputError
        When the shapes differ, a value is not finite, a relevance is negative or `k` is below 1.

    References
    ----------
    Järvelin & Kekäläinen (2002), Cumulated gain-based evaluation of IR techniques. ACM TOIS 20.
    """
    scores, gains = _checked(scores, relevance)
    if np.any(gains < 0):
        raise InputError(f"nDCG expects relevances of zero or more, found {gains.min():g}")
    if k is not None and k < 1:
        raise InputError(f"nDCG expects k of at least 1, found {k}")
    discount = 1 / np.log2(np.arange(len(gains)) + 2)
    if k is not None:
        discount[k:] = 0
    ideal = float(np.sort(gains)[::-1] @ discount)
    if ideal == 0:
        return float("nan")
    _, tie, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    discount_of_tie = np.diff(np.cumsum(discount)[np.cumsum(sizes) - 1], prepend=0)
    gained = float((np.bincount(tie, weights=gains) / sizes) @ discount_of_tie)
    return min(gained / ideal, 1.0)  # a perfect order may exceed 1 by rounding


def _checked(scores: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(scores, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise InputError(
            "a ranking's quality expects one score and one target per row, found shapes "
            f"{first.shape} and {second.shape}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError(
            "a ranking's quality expects finite values; leave out rows with NaN or inf"
        )
    return first, second


def _in_top(values: Floats, count: int) -> Floats:
    """Return for every row the probability that it is among the `count` largest values."""
    border = np.partition(values, len(values) - count)[len(values) - count]
    above, tied = values > border, values == border
    chance = (count - above.sum()) / tied.sum()
    return np.asarray(above + tied * chance, dtype=np.float64)

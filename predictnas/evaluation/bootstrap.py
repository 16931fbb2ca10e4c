"""Bootstrap intervals for statistics of paired columns, those of rank correlations in bulk.

For statistics without an analytic interval, such as the mean of a correlation over seeds or the
difference of two correlations on the same rows. Rows (or groups of rows) are drawn with
replacement as often as there are rows (or groups), and a resample is kept as the counts w of how
often it holds each row: all statistics that are measured on one set of resamples are paired.

The rank correlations of a resample need no copies of rows. With S_ij = sign(x_i − x_j)
sign(y_i − y_j), N = Σ w, and c_v, d_v the counts of all rows that are tied at v in x and in y,

    τ_b(w) = wᵀ S w / √((N² − Σ_v c_v²)(N² − Σ_v d_v²)),

one matrix product for all resamples; and with the centred mid-ranks a_i (counts of smaller minus
counts of larger x) and b_i,

    ρ(w) = Σ w a b / √(Σ w a² · Σ w b²).

References
----------
Efron (1979), Bootstrap methods: another look at the jackknife. Annals of Statistics 7.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictnas.errors import InputError
from predictnas.evaluation.pair_counts import dense_ranks
from predictnas.evaluation.rank_correlation import (
    MIN_GROUPS,
    UNDEFINED,
    Interval,
    kendall_tau,
    spearman,
)

__all__ = ["Bootstrapped", "Resamples", "bootstrap_interval"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Statistic: TypeAlias = Callable[..., float]

# Columns of the sign matrix that are held at a time: 32 MB for 15,625 rows.
BLOCK = 512


@dataclass(frozen=True, eq=False)
class Bootstrapped:
    """A statistic of a sample and of its resamples.

    Attributes
    ----------
    value
        Of the sample itself; NaN where undefined.
    resampled
        Of every resample, shape ``(resamples,)``; NaN where undefined.
    """

    value: float
    resampled: Floats

    def __sub__(self, other: "Bootstrapped") -> "Bootstrapped":
        """Return the difference, resample by resample."""
        return Bootstrapped(self.value - other.value, self.resampled - other.resampled)

    @classmethod
    def mean(cls, measured: Sequence["Bootstrapped"]) -> "Bootstrapped":
        """Return the mean of statistics of the same resamples, resample by resample."""
        value = float(np.mean([each.value for each in measured]))
        return cls(value, np.mean([each.resampled for each in measured], axis=0))

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return the percentile interval: the quantiles (1 ∓ confidence) / 2 over resamples.

        Resamples on which the statistic is undefined are left out; the interval is NaN when they
        are more than a share of 1 − confidence, or the sample's own value is undefined.

        Raises
        ------
        InputError
            When `confidence` is not between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise InputError(f"confidence must lie between 0 and 1, found {confidence}")
        defined = self.resampled[np.isfinite(self.resampled)]
        too_few = len(self.resampled) - len(defined) > (1 - confidence) * len(self.resampled)
        if not np.isfinite(self.value) or too_few:
            return UNDEFINED
        low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    def to_dict(self, confidence: float = 0.95) -> dict[str, float]:
        """Return the value with the ends of its interval."""
        low, high = self.interval(confidence)
        return {"value": self.value, "low": low, "high": high}


class Resamples:
    """Resamples of the rows of a sample, drawn once for all statistics that are to be compared.

    Parameters
    ----------
    n
        Number of rows.
    groups
        Labels, shape ``(n,)``; rows of one group (isomorphic architectures) may depend on each
        other and are drawn together. By default every row is a group.
    resamples
        How many.
    seed
        Seed of the draws.

    Attributes
    ----------
    counts
        How often each resample holds each row, shape ``(resamples, n)``.

    Raises
    ------
    InputError
        When there are no rows or resamples, or not one group per row.
    """

    def __init__(
        self, n: int, *, groups: ArrayLike | None = None, resamples: int = 1000, seed: int
    ) -> None:
        if n < 1 or resamples < 1:
            raise InputError(
                f"the bootstrap expects at least one row and one resample, found {n} rows and "
                f"{resamples} resamples"
            )
        labels = np.arange(n) if groups is None else np.asarray(groups)
        if labels.shape != (n,):
            raise InputError(
                f"groups must name one group per row: {n} rows, found shape {labels.shape}"
            )
        self._group = dense_ranks(labels)
        size = int(self._group.max()) + 1
        rng = np.random.default_rng(seed)
        drawn = rng.integers(0, size, size=(resamples, size)) + size * np.arange(resamples)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)
        self.counts: Ints = counts.astype(np.int64)[:, self._group]

    def measure(
        self, statistic: Statistic, *columns: ArrayLike, rows: NDArray[np.bool_] | None = None
    ) -> Bootstrapped:
        """Return a statistic of the sample and of every resample.

        Parameters
        ----------
        statistic
            Function of the columns, which it gets with rows repeated. For
            :func:`~predictnas.evaluation.kendall_tau` and
            :func:`~predictnas.evaluation.spearman` of two columns all resamples are measured at
            once.
        columns
            Arrays of ``n`` rows.
        rows
            Which rows are measured, shape ``(n,)``; all by default. The others are drawn too, so
            that a statistic of a part is paired with those of other parts.

        Returns
        -------
        Bootstrapped
            All resamples are undefined when fewer than four groups are measured.

        Raises
        ------
        InputError
            When a column or `rows` does not have ``n`` rows.
        """
        n = self.counts.shape[1]
        arrays = [np.asarray(column) for column in columns]
        chosen = np.ones(n, dtype=np.bool_) if rows is None else np.asarray(rows, dtype=np.bool_)
        for array in (*arrays, chosen):
            if array.shape[:1] != (n,):
                raise InputError(
                    f"these are resamples of {n} rows, found a column of shape {array.shape}"
                )
        arrays = [array[chosen] for array in arrays]
        value = float(statistic(*arrays))
        if len(np.unique(self._group[chosen])) < MIN_GROUPS:
            return Bootstrapped(value, np.full(len(self.counts), np.nan))
        counts = self.counts if rows is None else self.counts[:, chosen]
        if statistic in OF_RESAMPLES:
            return Bootstrapped(value, OF_RESAMPLES[statistic](counts, *arrays))
        return Bootstrapped(value, _one_by_one(statistic, counts, arrays))


def bootstrap_interval(
    statistic: Statistic,
    *columns: ArrayLike,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int,
) -> Interval:
    """Return the percentile bootstrap interval of a statistic.

    Parameters
    ----------
    statistic
        Function of the columns, such as :func:`~predictnas.evaluation.spearman`.
    columns
        Arrays of the same number of rows.
    groups, resamples, seed
        As in :class:`Resamples`.
    confidence
        Coverage asked for, between 0 and 1.

    Returns
    -------
    tuple of float
        NaN where the statistic is undefined or there are fewer than four groups.

    Raises
    ------
    InputError
        When there are no columns, rows or resamples, lengths differ, or `confidence` is not
        between 0 and 1.

    Examples
    --------
    >>> from predictnas.evaluation import bootstrap_interval, spearman
    >>> x, y = [1, 2, 3, 4, 5, 6, 7, 8], [2, 1, 3, 5, 4, 6, 8, 7]
    >>> low, high = bootstrap_interval(spearman, x, y, resamples=200, seed=0)
    >>> low < spearman(x, y) < high
    True
    """
    if not columns:
        raise InputError("the bootstrap expects at least one column, found none")
    drawn = Resamples(len(np.asarray(columns[0])), groups=groups, resamples=resamples, seed=seed)
    return drawn.measure(statistic, *columns).interval(confidence)


def _one_by_one(statistic: Statistic, counts: Ints, columns: Sequence[NDArray[Any]]) -> Floats:
    every_row = np.arange(counts.shape[1])
    values = []
    for count in counts:
        rows = np.repeat(every_row, count)
        values.append(float(statistic(*(column[rows] for column in columns))))
    return np.array(values, dtype=np.float64)


def _kendall_of_resamples(counts: Ints, x: NDArray[Any], y: NDArray[Any]) -> Floats:
    ranks_x, ranks_y = dense_ranks(x), dense_ranks(y)
    # Sums of at most N ones: exact in single precision up to 16 million rows.
    weights = counts.astype(np.float32)
    balance = np.zeros(len(counts))
    for start in range(0, len(x), BLOCK):
        block = slice(start, start + BLOCK)
        signs = _signs(ranks_x, ranks_x[block]) * _signs(ranks_y, ranks_y[block])
        partners = weights @ signs.astype(np.float32)
        balance += np.einsum("ri,ri->r", partners, weights[:, block], dtype=np.float64)
    return _ratio(balance, _untied_pairs(counts, ranks_x), _untied_pairs(counts, ranks_y))


def _spearman_of_resamples(counts: Ints, x: NDArray[Any], y: NDArray[Any]) -> Floats:
    a, b = _centred_ranks(counts, dense_ranks(x)), _centred_ranks(counts, dense_ranks(y))
    weighted_a = counts * a
    product = np.einsum("ri,ri->r", weighted_a, b)
    square_a = np.einsum("ri,ri->r", weighted_a, a)
    square_b = np.einsum("ri,ri,ri->r", counts, b, b)
    return _ratio(product, square_a, square_b)


OF_RESAMPLES: dict[Statistic, Callable[..., Floats]] = {
    kendall_tau: _kendall_of_resamples,
    spearman: _spearman_of_resamples,
}


def _signs(rows: Ints, columns: Ints) -> NDArray[np.int8]:
    """Return the signs of all differences, shape ``(len(rows), len(columns))``."""
    first, second = rows.astype(np.int32)[:, None], columns.astype(np.int32)
    return (first > second).view(np.int8) - (first < second).view(np.int8)


def _ratio(product: NDArray[Any], square_x: Ints, square_y: Ints) -> Floats:
    scale = np.sqrt(square_x.astype(np.float64) * square_y)
    undefined = np.full(len(scale), np.nan)
    return np.asarray(np.divide(product, scale, out=undefined, where=scale > 0))


def _tied(counts: Ints, ranks: Ints) -> Ints:
    """Return for every resample how many rows have each rank, shape ``(resamples, ranks)``."""
    order = np.argsort(ranks, kind="stable")
    starts = np.flatnonzero(np.diff(ranks[order], prepend=-1))
    return np.asarray(np.add.reduceat(counts[:, order], starts, axis=1))


def _untied_pairs(counts: Ints, ranks: Ints) -> Ints:
    """Return for every resample twice its number of pairs that differ."""
    return np.asarray(counts.sum(axis=1) ** 2 - (_tied(counts, ranks) ** 2).sum(axis=1))


def _centred_ranks(counts: Ints, ranks: Ints) -> Ints:
    """Return for every resample and row how many of its rows are smaller minus larger."""
    tied = _tied(counts, ranks)
    up_to = np.cumsum(tied, axis=1)
    return np.asarray((2 * up_to - tied - up_to[:, -1:])[:, ranks])

"""Which architectures to label, before or beside any search."""

from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from predictnas.errors import InputError, unknown_name
from predictnas.predictors import GPPredictor, Predictor
from predictnas.predictors.base import PosteriorOver
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import read_inputs

__all__ = [
    "DESIGNS",
    "LABEL_DRIVEN",
    "ROUND",
    "Design",
    "design_of_table",
    "diverse_design",
    "get_design",
    "random_design",
    "uncertain_batch",
    "uncertain_design",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ENCODING = ("graf",)
"""Encodings in which architectures are compared."""

ITERATIONS = 30
"""Steps of Lloyd's algorithm at most; they settle within a dozen as a rule."""

ROUND = 5
"""Architectures that a design that looks at labels chooses before it looks again."""

FEWEST_LABELS = 5
"""Labels from which on a Gaussian process says where they are missing."""

CHUNK_ROWS = 2048


class Design(Protocol):
    """What chooses architectures to label from a pool.

    Called with a table of `n` distinct architectures (a column ``graph``, numeric columns, or
    both) and how many to choose, it returns their rows, the most wanted first. ``seed`` is that
    of everything random. ``held``, an array ``(n,)``, says which rows are not to be chosen: they
    are labelled, about to be, or cannot be. ``labels``, an array ``(n,)``, has the labels of
    those, and NaN; only the designs of `LABEL_DRIVEN` look at it. Where there are not so many to
    choose from, it raises InputError.
    """

    def __call__(
        self,
        pool: pd.DataFrame,
        count: int,
        *,
        seed: int,
        held: NDArray[np.bool_] | None = None,
        labels: Floats | None = None,
    ) -> Ints:
        """Return the rows of `count` architectures."""


def random_design(
    pool: pd.DataFrame,
    count: int,
    *,
    seed: int,
    held: NDArray[np.bool_] | None = None,
    labels: Floats | None = None,
) -> Ints:
    """Return the rows of `count` architectures drawn at random, smaller draws inside larger ones.

    Parameters and errors are those of `Design`.
    """
    del labels
    free = _free(pool, count, held)
    order = np.random.default_rng(seed).permutation(len(pool))
    return order[free[order]][:count]


def diverse_design(
    pool: pd.DataFrame,
    count: int,
    *,
    seed: int,
    held: NDArray[np.bool_] | None = None,
    labels: Floats | None = None,
) -> Ints:
    """Return the rows of `count` architectures that, with those held, stand for the whole pool.

    The pool is clustered by k-means in the features that predictors see (graph encodings and
    warped numeric columns, groups of equal weight), starting from k-means++, into as many
    clusters as there are to be labels; the architecture next to each centre is chosen, those of
    large clusters first. So every architecture has a labelled one nearby, and dense regions get
    more labels than outliers. Clusters that an architecture of ``held`` stands for are left out:
    a choice that was carried out in part, with its part held and its rest asked for, goes on as
    it began.

    Parameters and errors are those of `Design`.

    References
    ----------
    D. Arthur, S. Vassilvitskii. k-means++: the advantages of careful seeding. SODA 2007.
    """
    from sklearn.cluster import KMeans

    del labels
    free = _free(pool, count, held)
    inputs = read_inputs(pool)
    matrix = Features.learn(inputs, ENCODING, None).transform(inputs)
    # Rows may be equal, and clusters of equal rows cannot be told apart.
    number = min(count + int((~free).sum()), len(np.unique(matrix, axis=0)))
    with threadpool_limits(1):  # with several, sums depend on their number, and the choice too
        clusters = KMeans(number, n_init=1, max_iter=ITERATIONS, random_state=seed).fit(matrix)
    closest = _closest(matrix, clusters.cluster_centers_)
    stood_for = ~free[closest]
    stood_for[clusters.labels_[np.setdiff1d(np.flatnonzero(~free), closest)]] = True
    sizes = np.bincount(clusters.labels_, minlength=number)
    order = np.argsort(-sizes, kind="stable")
    chosen = closest[order[~stood_for[order]]]
    rest = np.setdiff1d(np.flatnonzero(free), chosen)
    return np.concatenate([chosen, rest])[:count]


def uncertain_design(
    pool: pd.DataFrame,
    count: int,
    *,
    seed: int,
    held: NDArray[np.bool_] | None = None,
    labels: Floats | None = None,
) -> Ints:
    """Return the rows of `count` architectures that the labels so far say least about.

    A `GPPredictor` is fitted to the labels, and `uncertain_batch` chooses; what is held without
    a label counts as chosen before. What does not vary among the labelled ones, and numbers
    beyond their range, it cannot tell apart. With fewer than five labels it is `diverse_design`,
    which can.

    Parameters and errors are those of `Design`.
    """
    free = _free(pool, count, held)
    labels = np.full(len(pool), np.nan) if labels is None else labels
    known = np.flatnonzero(np.isfinite(labels))
    if len(known) < FEWEST_LABELS:
        return diverse_design(pool, count, seed=seed, held=held)
    # Of the whole pool, since the labelled ones may lack some.
    operations = read_inputs(pool).operations()
    predictor = GPPredictor(operations=operations).fit(pool.iloc[known], labels[known])
    pending = np.flatnonzero(~free & np.isnan(labels))
    rows = np.concatenate([pending, np.flatnonzero(free)])
    return rows[uncertain_batch(predictor, pool.iloc[rows], count, pending=len(pending))]


def uncertain_batch(
    predictor: Predictor, pool: pd.DataFrame, count: int, *, pending: int = 0
) -> Ints:
    r"""Return the rows of `count` architectures that a fitted Gaussian process is least sure of.

    One after the other, the architecture with the largest posterior variance given those chosen
    before is taken, which labels do not change: a pivoted Cholesky factorisation of the posterior
    covariance, and the greedy maximiser of its determinant.

    Parameters
    ----------
    predictor
        A fitted predictor whose posterior over warped targets is Gaussian.
    pool
        A table of `n` architectures with the columns of its training table.
    count
        How many to choose.
    pending
        How many rows, the first ones, are being labelled already: they count as chosen before.

    Raises
    ------
    InputError
        If there are not so many, or the posterior is not Gaussian.

    References
    ----------
    A. Krause, A. Singh, C. Guestrin. Near-optimal sensor placements in Gaussian processes. JMLR 9,
    2008, the entropy criterion.
    """
    import torch
    from botorch.posteriors.gpytorch import GPyTorchPosterior

    _free(pool, count, np.arange(len(pool)) < pending)
    posterior_over = predictor.posterior_over(pool, warped=True)
    if not isinstance(posterior_over(torch.arange(1)), GPyTorchPosterior):
        raise InputError(
            "expected a predictor with a Gaussian posterior such as gp, found "
            f"{type(predictor).__name__}; fit a Gaussian process to choose a batch by it"
        )
    variances = _joint(posterior_over, 0, len(pool))[:, 1, 1]
    factor = np.zeros((pending + count, len(pool)))
    chosen: list[int] = []
    for step in range(pending + count):
        row = step if step < pending else int(np.argmax(variances))
        covariances = _joint(posterior_over, row, len(pool))[:, 0, 1]
        explained = factor[:step].T @ factor[:step, row]
        factor[step] = (covariances - explained) / np.sqrt(variances[row])
        variances -= factor[step] ** 2
        chosen.append(row)
        variances[chosen] = -np.inf  # what is left of them is rounding
    return np.array(chosen[pending:], dtype=np.int64)


DESIGNS: dict[str, Design] = {
    "random": random_design,
    "diverse": diverse_design,
    "uncertain": uncertain_design,
}

LABEL_DRIVEN = frozenset({"uncertain"})
"""Designs that look at labels, and so choose a few architectures at a time."""


def get_design(name: str) -> Design:
    """Return a design.

    Raises
    ------
    InputError
        If there is no design of that name.
    """
    if name not in DESIGNS:
        raise unknown_name("design", name, DESIGNS)
    return DESIGNS[name]


def design_of_table(
    name: str, pool: pd.DataFrame, targets: Floats, count: int, *, seed: int
) -> Ints:
    """Return the rows that a design chooses where all labels are known and told as it asks.

    Parameters
    ----------
    name
        One of `DESIGNS`. Those of `LABEL_DRIVEN` choose `ROUND` architectures at a time and are
        told the labels of these; what they choose are the first ones of a larger number.
    pool
        A table of `n` distinct architectures.
    targets
        Their labels, ``(n,)``.
    count
        How many to choose.
    seed
        Of everything random.

    Raises
    ------
    InputError
        If there is no such design, or there are not so many architectures.
    """
    design = get_design(name)
    if name not in LABEL_DRIVEN:
        return design(pool, count, seed=seed)
    _free(pool, count, None)
    held = np.zeros(len(pool), dtype=np.bool_)
    chosen = np.zeros(0, dtype=np.int64)
    while len(chosen) < count:
        # Whole rounds, so that what is chosen does not depend on how many are asked for.
        size = min(ROUND, len(pool) - len(chosen))
        labels = np.where(held, targets, np.nan)
        found = design(pool, size, seed=seed, held=held, labels=labels)
        held[found] = True
        chosen = np.concatenate([chosen, found])
    return chosen[:count]


def _free(pool: pd.DataFrame, count: int, held: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return which rows may be chosen, if `count` of them can."""
    free = np.ones(len(pool), dtype=np.bool_) if held is None else ~held
    number = int(free.sum())
    if not 1 <= count <= number:
        raise InputError(
            f"expected from 1 to {number} architectures to choose, as many as there are, found "
            f"{count}"
        )
    return free


def _closest(matrix: Floats, centres: Floats) -> Ints:
    """Return the row next to each centre, never the same one twice."""
    rows: list[int] = []
    free = np.ones(len(matrix), dtype=np.bool_)
    for centre in centres:
        distances = np.where(free, ((matrix - centre) ** 2).sum(axis=1), np.inf)
        rows.append(int(np.argmin(distances)))
        free[rows[-1]] = False
    return np.array(rows, dtype=np.int64)


def _joint(posterior_over: PosteriorOver, row: int, number: int) -> Floats:
    """Return the covariance matrices of a row with each of a number of rows, ``(n, 2, 2)``."""
    import torch
    from botorch.posteriors.gpytorch import GPyTorchPosterior

    parts = []
    for start in range(0, number, CHUNK_ROWS):
        others = torch.arange(start, min(start + CHUNK_ROWS, number))
        posterior = posterior_over(torch.stack([torch.full_like(others, row), others], dim=-1))
        assert isinstance(posterior, GPyTorchPosterior)
        parts.append(posterior.distribution.covariance_matrix.detach().numpy())
    return np.concatenate(parts)

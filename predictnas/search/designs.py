"""Which architectures to label, before or beside any search."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.errors import InputError, unknown_name
from predictnas.predictors import Predictor
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import read_inputs

__all__ = ["DESIGNS", "Design", "diverse_design", "get_design", "random_design", "uncertain_batch"]

Design = Callable[..., NDArray[np.int64]]

ENCODING = ("graf",)
"""Encodings in which architectures are compared."""

ITERATIONS = 30
"""Steps of Lloyd's algorithm at most; they settle within a dozen as a rule."""


def random_design(pool: pd.DataFrame, count: int, *, seed: int) -> NDArray[np.int64]:
    """Return the rows of `count` architectures drawn at random, smaller draws inside larger ones.

    Parameters
    ----------
    pool
        A table of `n` architectures.
    count
        How many to choose.
    seed
        Seed of the draw.

    Raises
    ------
    InputError
        If there are not so many.
    """
    _check(pool, count)
    return np.random.default_rng(seed).permutation(len(pool))[:count]


def diverse_design(pool: pd.DataFrame, count: int, *, seed: int) -> NDArray[np.int64]:
    """Return the rows of `count` architectures that stand for the whole pool.

    The pool is clustered by k-means in the features that predictors see (graph encodings and
    warped numeric columns, groups of equal weight), starting from k-means++; the architecture next
    to each centre is chosen. So every architecture has a labelled one nearby, and dense regions
    get more labels than outliers.

    Parameters
    ----------
    pool
        A table of `n` distinct architectures: a column ``graph``, numeric columns, or both.
    count
        How many to choose.
    seed
        Seed of the first centres.

    Raises
    ------
    InputError
        If there are not so many.

    References
    ----------
    D. Arthur, S. Vassilvitskii. k-means++: the advantages of careful seeding. SODA 2007.
    """
    from sklearn.cluster import KMeans

    _check(pool, count)
    inputs = read_inputs(pool)
    matrix = Features.learn(inputs, ENCODING, None).transform(inputs)
    clusters = KMeans(count, n_init=1, max_iter=ITERATIONS, random_state=seed).fit(matrix)
    chosen: list[int] = []
    free = np.ones(len(matrix), dtype=np.bool_)
    for centre in clusters.cluster_centers_:
        # Centres may share their nearest row, where rows are equal.
        distances = np.where(free, ((matrix - centre) ** 2).sum(axis=1), np.inf)
        chosen.append(int(np.argmin(distances)))
        free[chosen[-1]] = False
    return np.array(chosen, dtype=np.int64)


def uncertain_batch(predictor: Predictor, pool: pd.DataFrame, count: int) -> NDArray[np.int64]:
    r"""Return the rows of `count` architectures that a fitted Gaussian process is least sure of.

    One after the other, the architecture with the largest posterior variance given those chosen
    before is taken, which labels do not change: a pivoted Cholesky factorisation of the posterior
    covariance, and the greedy maximiser of its determinant.

    Parameters
    ----------
    predictor
        A fitted predictor whose posterior over warped targets is Gaussian.
    pool
        A table of `n` architectures with the columns of its training table. Memory grows with
        :math:`n^2`.
    count
        How many to choose.

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

    _check(pool, count)
    posterior = predictor.posterior_over(pool, warped=True)(torch.arange(len(pool)))
    if not isinstance(posterior, GPyTorchPosterior):
        raise InputError(
            "expected a predictor with a Gaussian posterior such as gp, found "
            f"{type(predictor).__name__}; fit a Gaussian process to choose a batch by it"
        )
    covariance = posterior.distribution.covariance_matrix.detach().numpy()
    variances = covariance.diagonal().copy()
    factor = np.zeros((count, len(pool)))
    chosen: list[int] = []
    for step in range(count):
        row = int(np.argmax(variances))
        explained = factor[:step].T @ factor[:step, row]
        factor[step] = (covariance[row] - explained) / np.sqrt(variances[row])
        variances -= factor[step] ** 2
        chosen.append(row)
        variances[chosen] = -np.inf  # what is left of them is rounding
    return np.array(chosen, dtype=np.int64)


def _check(pool: pd.DataFrame, count: int) -> None:
    if not 1 <= count <= len(pool):
        raise InputError(
            f"expected from 1 to {len(pool)} architectures to choose, as many as there are, found "
            f"{count}"
        )


DESIGNS: dict[str, Design] = {"random": random_design, "diverse": diverse_design}


def get_design(name: str) -> Design:
    """Return what chooses training sets: called with a table, a number and ``seed=``.

    Raises
    ------
    InputError
        If there is no design of that name.
    """
    if name not in DESIGNS:
        raise unknown_name("design", name, DESIGNS)
    return DESIGNS[name]

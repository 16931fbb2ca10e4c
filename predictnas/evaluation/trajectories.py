"""Comparing searches over seeds: best value so far, means and paired differences with intervals."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from predictnas.errors import InputError
from predictnas.evaluation.json_values import json_value

__all__ = ["MeanInterval", "best_so_far", "mean_interval", "paired_difference"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeanInterval:
    """A mean over seeds with its confidence interval, at one point or along a trajectory.

    Attributes
    ----------
    mean, low, high
        Arrays of the shape of one seed's values; zero-dimensional for single values.
    n
        Number of seeds.
    """

    mean: Floats
    low: Floats
    high: Floats
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON; what is undefined is ``None``."""
        values: dict[str, Any] = json_value(asdict(self))
        return values


def best_so_far(values: ArrayLike) -> Floats:
    """Return at every trial the highest value up to and including it.

    Parameters
    ----------
    values
        Values in the order of the trials, higher is better, shape ``(..., trials)``; NaN for a
        trial that failed.

    Returns
    -------
    ndarray
        Same shape; NaN before the first trial that did not fail.

    Examples
    --------
    >>> best_so_far([1.0, 3.0, 2.0])
    array([1., 3., 3.])
    """
    return np.asarray(np.fmax.accumulate(np.asarray(values, dtype=np.float64), axis=-1))


def mean_interval(samples: ArrayLike, *, confidence: float = 0.95) -> MeanInterval:
    """Return the mean over seeds and Student's t interval for it.

    mean ± t_{n−1} · s / √n. With the handful of seeds that searches are repeated, the t interval
    keeps its coverage where the bootstrap's is too narrow.

    Parameters
    ----------
    samples
        One value or trajectory per seed, shape ``(seeds, ...)``.
    confidence
        Coverage asked for, between 0 and 1.

    Returns
    -------
    MeanInterval
        Its ends are NaN with a single seed; a point where a seed has NaN is NaN.

    Raises
    ------
    InputError
        When there are no seeds or `confidence` is not between 0 and 1.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim == 0 or len(values) == 0:
        raise InputError(f"a mean over seeds expects at least one seed, found shape {values.shape}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1, found {confidence}")
    n = len(values)
    mean = np.asarray(values.mean(axis=0))
    if n == 1:
        undefined = np.full_like(mean, np.nan)
        return MeanInterval(mean, undefined, undefined, n)
    error = values.std(axis=0, ddof=1) / np.sqrt(n)
    half = np.asarray(stats.t.ppf((1 + confidence) / 2, n - 1) * error)
    return MeanInterval(mean, np.asarray(mean - half), np.asarray(mean + half), n)


def paired_difference(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> MeanInterval:
    """Return the mean of a − b over seeds, with Student's t interval of the paired differences.

    Runs that share a seed share their warm start, so that pairing takes its luck out of the
    comparison.

    Parameters
    ----------
    a, b
        One value or trajectory per seed in the same order of seeds, shape ``(seeds, ...)``.
    confidence
        Coverage asked for, between 0 and 1.

    Raises
    ------
    InputError
        When the shapes differ, there are no seeds or `confidence` is not between 0 and 1.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise InputError(
            "a paired difference expects the same seeds and trials on both sides, found shapes "
            f"{first.shape} and {second.shape}"
        )
    return mean_interval(first - second, confidence=confidence)

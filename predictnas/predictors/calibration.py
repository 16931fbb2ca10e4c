"""Turning the spread of an ensemble into an honest predictive variance."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

__all__ = ["calibrate"]

# Logarithms of the medians of the priors of noise variance and spread factor, and their widths.
# Targets have unit variance; with a dozen labels or more the residuals outweigh the priors.
PRIOR_MEANS = np.array([np.log(0.3), 0.0])
PRIOR_STDS = np.array([2.0, 1.0])
SMALLEST_NOISE = 1e-4


def calibrate(residuals: NDArray[np.float64], spreads: NDArray[np.float64]) -> tuple[float, float]:
    r"""Fit predictive variances to residuals on held-out labels.

    The variance of a new label is modelled as :math:`\sigma^2 + \kappa v` with `v` the variance
    between the members of the ensemble. Both parameters maximise

    .. math:: \sum_i \log \mathcal{N}(r_i \mid 0,\ \sigma^2 + \kappa v_i)

    plus log-normal priors: wide around 0.3 for the noise :math:`\sigma^2`, around 1 for the
    factor :math:`\kappa`.

    Parameters
    ----------
    residuals
        Held-out target minus prediction, in units of the targets' standard deviation, ``(n,)``;
        `n` may be 0, which returns the centres of the priors.
    spreads
        The variance between the members that did not see the label, ``(n,)``.

    Returns
    -------
    noise : float
        :math:`\sigma^2`.
    factor : float
        :math:`\kappa`.
    """
    squares = residuals**2

    def negative_log_posterior(logs: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        noise, factor = np.exp(logs)
        variance = noise + factor * spreads
        centred = (logs - PRIOR_MEANS) / PRIOR_STDS
        value = 0.5 * (np.log(variance) + squares / variance).sum() + 0.5 * (centred**2).sum()
        slope = 0.5 * (1 - squares / variance) / variance
        gradient = np.array([noise * slope.sum(), factor * (slope * spreads).sum()])
        return float(value), gradient + centred / PRIOR_STDS

    start = PRIOR_MEANS
    if len(squares):
        start = np.array([np.log(max(float(squares.mean()), SMALLEST_NOISE)), PRIOR_MEANS[1]])
    bounds = [(np.log(SMALLEST_NOISE), None), (None, None)]
    best = minimize(negative_log_posterior, start, jac=True, method="L-BFGS-B", bounds=bounds)
    noise, factor = np.exp(best.x)
    return float(noise), float(factor)

"""Hyperparameters of Gaussian processes that maximise the marginal likelihood."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from predictnas.predictors.threads import single_thread

__all__ = ["log_likelihood", "log_normal", "maximise", "squared_distances"]

# Relative to the variance of the targets, and lower than any noise that is looked for.
JITTER = 1e-6


def log_likelihood(covariance: Tensor, centred: Tensor) -> Tensor:
    r"""Return :math:`\log \mathcal{N}(r \mid 0, C)` for a covariance ``(n, n)``, noise included.

    Parameters
    ----------
    covariance
        `C`, positive definite.
    centred
        Targets minus the prior mean, `r`, shape ``(n,)``.
    """
    identity = torch.eye(len(centred), dtype=covariance.dtype)
    factor = torch.linalg.cholesky(covariance + JITTER * identity)
    half = torch.linalg.solve_triangular(factor, centred.unsqueeze(-1), upper=False)
    constant = 0.5 * len(centred) * float(np.log(2 * np.pi))
    value: Tensor = -0.5 * half.square().sum() - factor.diagonal().log().sum() - constant
    return value


def log_normal(log_value: Tensor, location: float, width: float) -> Tensor:
    """Return the log density, up to a constant, of numbers under a log-normal prior, summed.

    Parameters
    ----------
    log_value
        The logarithms of the numbers.
    location, width
        Mean and standard deviation of the logarithm.
    """
    return -(0.5 * ((log_value - location) / width).square() + log_value).sum()


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared distances ``(*batch, n, m)`` between rows of two matrices."""
    products = first @ second.mT
    norms = first.square().sum(dim=-1)[..., :, None] + second.square().sum(dim=-1)[..., None, :]
    return (norms - 2 * products).clamp_min(0.0)


def maximise(
    log_posterior: Callable[[Tensor], Tensor], start: NDArray[np.float64], max_iterations: int
) -> tuple[NDArray[np.float64], float]:
    """Maximise a function of a vector by L-BFGS on one thread.

    Parameters
    ----------
    log_posterior
        The function, differentiable, of a double-precision vector ``(p,)``.
    start
        Where to start, shape ``(p,)``.
    max_iterations
        The largest number of iterations.

    Returns
    -------
    vector : array ``(p,)``
        The best vector.
    value : float
        What the function is there.
    """

    def objective(vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point = torch.tensor(vector, dtype=torch.float64, requires_grad=True)
        value = -log_posterior(point)
        (gradient,) = torch.autograd.grad(value, point)
        return float(value.detach()), gradient.numpy()

    with single_thread(), torch.enable_grad():
        options = {"maxiter": max_iterations, "ftol": 1e-7}
        best = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    return best.x, -float(best.fun)

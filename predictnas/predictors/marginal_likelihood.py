"""Hyperparameters of Gaussian processes that maximise the marginal likelihood."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.autograd.function import once_differentiable

from predictnas.predictors.threads import single_thread

__all__ = ["log_likelihood", "log_normal", "maximise", "squared_distances"]

# Relative to the variance of the targets, and lower than any noise that is looked for.
JITTER = 1e-6


def log_likelihood(covariance: Tensor, centred: Tensor) -> Tensor:
    r"""Return :math:`\log \mathcal{N}(r \mid 0, C)` for a covariance ``(n, n)``, noise included.

    It can be derived once.

    Parameters
    ----------
    covariance
        `C`, positive definite; only its symmetric part matters to derivatives.
    centred
        Targets minus the prior mean, `r`, shape ``(n,)``.
    """
    value: Tensor = _LogLikelihood.apply(covariance, centred)  # type: ignore[no-untyped-call]
    return value


class _LogLikelihood(torch.autograd.Function):
    r"""The Gaussian likelihood with its derivatives in closed form.

    With :math:`\alpha = C^{-1} r`, that by `C` is
    :math:`\frac{1}{2} (\alpha \alpha^\top - C^{-1})`: one inverse, where the derivative of a
    Cholesky factor takes two triangular solves with `n` columns.

    References
    ----------
    C. E. Rasmussen, C. K. I. Williams. Gaussian processes for machine learning, equation 5.9. MIT
    Press 2006.
    """

    @staticmethod
    def forward(ctx: Any, covariance: Tensor, centred: Tensor) -> Tensor:
        noisy = covariance.clone()
        noisy.diagonal().add_(JITTER)
        factor = torch.linalg.cholesky(noisy)
        weights = torch.cholesky_solve(centred.unsqueeze(-1), factor).squeeze(-1)
        ctx.save_for_backward(factor, weights)
        constant = 0.5 * len(centred) * float(np.log(2 * np.pi))
        value: Tensor = -0.5 * (centred @ weights) - factor.diagonal().log().sum() - constant
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        factor, weights = ctx.saved_tensors
        by_covariance = torch.cholesky_inverse(factor).sub_(torch.outer(weights, weights))
        return by_covariance.mul_(-0.5 * gradient), -gradient * weights


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

"""What exact Gaussian processes have in common, whatever their kernel."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.base import PosteriorOver, Predictor
from predictnas.predictors.inputs import Inputs
from predictnas.predictors.leave_out import leave_out

if TYPE_CHECKING:
    from botorch.posteriors.gpytorch import GPyTorchPosterior
    from torch import Tensor

__all__ = ["GaussianProcessPredictor", "evenly_spread"]

# Added to the diagonal of joint posteriors, relative to the prior variance: rows whose graphs
# are equal would otherwise have a singular covariance.
JITTER = 1e-6
# Points whose covariances with the training rows are held at once.
CHUNK_POINTS = 1024


class GaussianProcessPredictor(Predictor):
    r"""A Gaussian process that conditions on all labels, exactly and once.

    With the training rows `X`, their covariance `K`, noise variance :math:`\sigma^2`, prior mean
    `m` and the Cholesky factor `L` of :math:`K + \sigma^2 I`, the posterior at `x` has

    .. math::
        \mu(x) = m + k(x, X) (L L^\top)^{-1} (z - m), \qquad
        v(x) = k(x, x) - \|L^{-1} k(X, x)\|^2

    A subclass finds its kernel in `_fit` and ends with `_condition`; it says what a table is to
    the kernel in `_points`, and gives covariances in `_prior`, `_cross` and `_among`.

    Attributes
    ----------
    noise_ : float
        The variance :math:`\sigma^2` of observation noise, in units of warped targets.
    mean_ : float
        The prior mean.
    cholesky_ : array ``(n, n)``
        The lower Cholesky factor `L`.
    weights_ : array ``(n,)``
        :math:`(L L^\top)^{-1} (z - m)`.

    References
    ----------
    C. E. Rasmussen, C. K. I. Williams. Gaussian processes for machine learning, algorithm 2.1.
    MIT Press 2006.
    """

    noise_: float
    mean_: float
    cholesky_: NDArray[np.float64]
    weights_: NDArray[np.float64]

    @abstractmethod
    def _points(self, inputs: Inputs) -> Any:
        """Return what the kernel takes for the rows of a table, which `split` takes apart."""

    @abstractmethod
    def _prior(self, points: Any) -> "Tensor":
        """Return the prior variance of `m` points, noise not included, ``(m,)``."""

    @abstractmethod
    def _cross(self, points: Any) -> "Tensor":
        """Return the prior covariance of the `n` training rows and `m` points, ``(n, m)``."""

    @abstractmethod
    def _among(self, points: Any, rows: "Tensor") -> "Tensor":
        """Return the prior covariance among points with numbers ``(*batch, q)``."""

    def _condition(
        self, covariance: "Tensor", targets: NDArray[np.float64], noise: float, mean: float
    ) -> None:
        """Condition on warped targets ``(n,)`` of rows with a prior covariance ``(n, n)``."""
        import torch

        from predictnas.predictors.threads import single_thread

        with single_thread():
            factor = torch.linalg.cholesky(
                covariance + noise * torch.eye(len(targets), dtype=torch.float64)
            )
            centred = torch.from_numpy(targets - mean).unsqueeze(-1)
            weights = torch.cholesky_solve(centred, factor).squeeze(-1)
        self.noise_, self.mean_ = noise, mean
        self.cholesky_, self.weights_ = factor.numpy(), weights.numpy()

    def _predict(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import torch

        from predictnas.predictors.threads import single_thread

        with single_thread():
            parts = self._points(inputs).split(CHUNK_POINTS)
            moments = [self._moments(part) for part in parts]
        means, variances = (torch.cat(each) for each in zip(*moments, strict=True))
        return means.numpy(), (variances + self.noise_).sqrt().numpy()

    def _moments(self, points: Any) -> tuple["Tensor", "Tensor"]:
        """Return mean and variance ``(m,)`` of the noise-free function at `m` points."""
        import torch

        mean, half = self._solve(points)
        prior = self._prior(points)
        return mean, torch.maximum(prior - half.square().sum(dim=0), JITTER * prior)

    def _held_out(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        residuals, variances = leave_out(self.cholesky_, self.weights_, self.architectures_)
        targets = self.mean_ + self.cholesky_ @ (self.cholesky_.T @ self.weights_)
        return targets - residuals, np.sqrt(variances)

    def _posterior_over(self, inputs: Inputs) -> PosteriorOver:
        from botorch.posteriors.gpytorch import GPyTorchPosterior
        from gpytorch.distributions import MultivariateNormal

        points = self._points(inputs)
        mean, half = self._solve(points)
        jitter = JITTER * self._prior(points)

        def posterior(rows: "Tensor") -> "GPyTorchPosterior":
            selected = half[:, rows].movedim(0, -1)  # (*batch, q, n)
            covariance = self._among(points, rows) - selected @ selected.mT
            covariance.diagonal(dim1=-2, dim2=-1).add_(jitter[rows])
            return GPyTorchPosterior(MultivariateNormal(mean[rows], covariance))

        return posterior

    def _solve(self, points: Any) -> tuple["Tensor", "Tensor"]:
        """Return the posterior mean ``(m,)`` and :math:`L^{-1} k(X, x)`, shape ``(n, m)``."""
        import torch

        from predictnas.predictors.dense import solve_lower

        cross = self._cross(points)
        mean = cross.mT @ torch.from_numpy(self.weights_) + self.mean_
        return mean, solve_lower(torch.from_numpy(self.cholesky_), cross)


def evenly_spread(
    rows: NDArray[np.float64], targets: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Return the numbers of at most `count` rows, evenly spread over their sorted order.

    Which they are does not depend on the order of the rows.
    """
    if len(rows) <= count:
        return np.arange(len(rows))
    order = np.lexsort((targets, *rows.T))  # targets decide among equal rows
    return np.sort(order[np.linspace(0, len(rows) - 1, count).astype(np.int64)])

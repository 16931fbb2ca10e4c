"""The Gaussian process predictor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.base import PosteriorOver, Predictor
from predictnas.predictors.checks import check_whole_number
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import Inputs

if TYPE_CHECKING:
    from botorch.posteriors.gpytorch import GPyTorchPosterior
    from torch import Tensor

__all__ = ["GPPredictor"]

# Added to the diagonal of joint posteriors, relative to the prior variance: rows whose graphs
# are equal would otherwise have a singular covariance.
JITTER = 1e-6


class GPPredictor(Predictor):
    r"""An exact Gaussian process with an RBF kernel and automatic relevance.

    Every encoding of the graph and every numeric column has a lengthscale of its own,

    .. math:: k(x, x') = s^2 \exp\Big(-\frac{1}{2} \sum_g \|x_g - x'_g\|^2 / \ell_g^2\Big),

    with `x` the rows of `Features`. Lengthscales for every single column of a one-hot encoding
    would outnumber the labels. Hyperparameters, noise among them, are point estimates of highest
    posterior density, see `exact_gp`. There is nothing random. Hyperparameters are sought on at
    most ``max_search_labels`` labels, since each of their many steps takes :math:`O(n^3)`; the
    posterior conditions on all labels, exactly and once.

    Parameters
    ----------
    encoding
        One or several names of `encoders.ENCODERS`; an empty tuple to leave the graph out.
    operations
        The operations that graphs may carry (`Space.operations`); None takes those of the
        training graphs.
    warp
        The warp of the targets: ``"yeo-johnson"`` or ``"none"``.
    max_iterations
        The largest number of L-BFGS iterations from the better of two starts.
    max_search_labels
        The largest number of labels that hyperparameters are sought on, spread evenly over the
        rows in lexicographic order, so that the order of the table does not matter.

    Attributes
    ----------
    hyperparameters_ : Hyperparameters
        Lengthscales, outputscale, noise and mean, in units of warped targets.
    features_ : Features
        The map from tables to rows.
    rows_ : array ``(n, d)``
        The training rows.
    cholesky_ : array ``(n, n)``
        The lower Cholesky factor `L` of their covariance with noise.
    weights_ : array ``(n,)``
        :math:`(L L^\top)^{-1} (z - m)`.

    References
    ----------
    C. E. Rasmussen, C. K. I. Williams. Gaussian processes for machine learning, algorithm 2.1.
    MIT Press 2006.
    """

    def __init__(
        self,
        encoding: str | Sequence[str] = ("adjacency", "path"),
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        max_iterations: int = 200,
        max_search_labels: int = 1000,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.max_iterations = max_iterations
        self.max_search_labels = max_search_labels

    def _check_parameters(self) -> None:
        check_whole_number("max_iterations", self.max_iterations, 1)
        check_whole_number("max_search_labels", self.max_search_labels, 1)

    def _fit(self, inputs: Inputs, targets: NDArray[np.float64]) -> None:
        import torch

        from predictnas.predictors import exact_gp
        from predictnas.predictors.threads import single_thread

        self.features_ = Features.learn(inputs, self.encoding, self.operations)
        self.rows_ = self.features_.transform(inputs)
        searched = _spread(self.rows_, targets, self.max_search_labels)
        self.hyperparameters_ = exact_gp.fit(
            self.rows_[searched], targets[searched], self.features_.groups, self.max_iterations
        )
        with single_thread():
            rows = torch.from_numpy(self.rows_)
            covariance = self._covariance(rows, rows)
            covariance.diagonal().add_(self.hyperparameters_.noise)
            factor = torch.linalg.cholesky(covariance)
            centred = torch.from_numpy(targets - self.hyperparameters_.mean)
            weights = torch.cholesky_solve(centred.unsqueeze(-1), factor).squeeze(-1)
        self.cholesky_ = factor.numpy()
        self.weights_ = weights.numpy()

    def _predict(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import torch

        mean, half = self._solve(torch.from_numpy(self.features_.transform(inputs)))
        prior = self.hyperparameters_.outputscale
        variance = (prior - half.square().sum(dim=0)).clamp_min(JITTER * prior)
        return mean.numpy(), (variance + self.hyperparameters_.noise).sqrt().numpy()

    def _posterior_over(self, inputs: Inputs) -> PosteriorOver:
        import torch
        from botorch.posteriors.gpytorch import GPyTorchPosterior
        from gpytorch.distributions import MultivariateNormal

        features = torch.from_numpy(self.features_.transform(inputs))
        mean, half = self._solve(features)

        def posterior(rows: "Tensor") -> "GPyTorchPosterior":
            selected = half[:, rows].movedim(0, -1)  # (*batch, q, n)
            prior = self._covariance(features[rows], features[rows])
            covariance = prior - selected @ selected.mT
            covariance.diagonal(dim1=-2, dim2=-1).add_(JITTER * self.hyperparameters_.outputscale)
            return GPyTorchPosterior(MultivariateNormal(mean[rows], covariance))

        return posterior

    def _solve(self, features: "Tensor") -> tuple["Tensor", "Tensor"]:
        """Return the posterior mean ``(m,)`` and :math:`L^{-1} k(X, x)`, shape ``(n, m)``."""
        import torch

        cross = self._covariance(torch.from_numpy(self.rows_), features)
        mean = cross.mT @ torch.from_numpy(self.weights_) + self.hyperparameters_.mean
        factor = torch.from_numpy(self.cholesky_)
        return mean, torch.linalg.solve_triangular(factor, cross, upper=False)

    def _covariance(self, first: "Tensor", second: "Tensor") -> "Tensor":
        import torch

        from predictnas.predictors.exact_gp import covariance

        groups = torch.from_numpy(self.features_.groups)
        return covariance(self.hyperparameters_, groups, first, second)


def _spread(
    rows: NDArray[np.float64], targets: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Return the numbers of at most ``count`` rows, evenly spread over their sorted order."""
    if len(rows) <= count:
        return np.arange(len(rows))
    order = np.lexsort((targets, *rows.T))  # targets decide among equal rows
    return np.sort(order[np.linspace(0, len(rows) - 1, count).astype(np.int64)])

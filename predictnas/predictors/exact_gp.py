"""The Gaussian process of `GPPredictor`, with kernel and priors on GPyTorch."""

from typing import Any

import gpytorch
import numpy as np
import torch
from gpytorch.constraints import GreaterThan, Positive
from gpytorch.kernels import Kernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.means import ConstantMean
from gpytorch.priors import LogNormalPrior
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from predictnas.predictors.dense import product
from predictnas.predictors.hyperparameters import Hyperparameters
from predictnas.predictors.marginal_likelihood import log_likelihood
from predictnas.predictors.threads import single_thread

__all__ = ["ExactGP", "GroupRBFKernel", "covariance", "fit"]

# The noise variance is bounded below for the sake of the Cholesky factor.
SMALLEST_NOISE = 1e-4
# Little noise and much; after a few iterations the search goes on from the better one.
NOISE_STARTS = (0.02, 0.3)
TRIAL_ITERATIONS = 8


class GroupRBFKernel(Kernel):  # type: ignore[misc]
    r"""An RBF kernel with one lengthscale for every group of columns.

    .. math:: k(x, x') = \exp\Big(-\frac{1}{2} \sum_g \|x_g - x'_g\|^2 / \ell_g^2\Big)

    Parameters
    ----------
    groups
        The group of every column, from 0 to `g - 1`, shape ``(d,)``.
    prior
        The prior of each lengthscale, None for a flat one.
    """

    def __init__(self, groups: Tensor, prior: LogNormalPrior | None = None) -> None:
        super().__init__()
        self.register_buffer("groups", groups)
        number = int(groups.max()) + 1
        self.register_parameter("raw_lengthscales", torch.nn.Parameter(torch.zeros(number)))
        self.register_constraint("raw_lengthscales", Positive())
        if prior is not None:
            self.register_prior("lengthscales_prior", prior, lambda kernel: kernel.lengthscales)

    @property
    def lengthscales(self) -> Tensor:
        """The lengthscale of every group, shape ``(g,)``."""
        lengthscales: Tensor = self.raw_lengthscales_constraint.transform(self.raw_lengthscales)
        return lengthscales

    @lengthscales.setter
    def lengthscales(self, values: Tensor) -> None:
        self.initialize(raw_lengthscales=self.raw_lengthscales_constraint.inverse_transform(values))

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Return covariances ``(*batch, n, m)``, or their diagonal ``(*batch, n)``."""
        scale = self.lengthscales[self.groups]
        squared = self.covar_dist(x1 / scale, x2 / scale, diag=diag, square_dist=True, **params)
        covariances: Tensor = squared.div(-2).exp()
        return covariances


class ExactGP(gpytorch.models.ExactGP):  # type: ignore[misc]
    """A constant mean, a scaled `GroupRBFKernel` and Gaussian noise, each with a prior.

    Features come in groups of unit variance, so the expected squared distance between two
    architectures is twice the number of groups. The prior of the lengthscales grows with the
    square root of that number, as Hvarfner et al. propose for the number of dimensions: without
    it, functions of many groups would look like noise.

    Parameters
    ----------
    features
        Training rows ``(n, d)``.
    targets
        Their targets ``(n,)``, of about zero mean and unit variance.
    groups
        The group of every column, shape ``(d,)``.

    References
    ----------
    C. Hvarfner, E. O. Hellsten, L. Nardi. Vanilla Bayesian optimization performs great in high
    dimensions. ICML 2024 (arXiv:2402.02229).
    """

    def __init__(self, features: Tensor, targets: Tensor, groups: Tensor) -> None:
        likelihood = GaussianLikelihood(
            noise_prior=_log_normal(-2.0, 1.0), noise_constraint=GreaterThan(SMALLEST_NOISE)
        )
        super().__init__(features, targets, likelihood)
        location = 0.5 * float(np.log(int(groups.max()) + 1))
        self.mean_module = ConstantMean()
        self.covar_module = ScaleKernel(
            GroupRBFKernel(groups, _log_normal(location, 0.7)),
            outputscale_prior=_log_normal(0.0, 1.0),
        )
        self.median_lengthscale = float(np.exp(location))
        self.double()

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        """Return the prior over the rows of `x`."""
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    def log_posterior(self) -> Tensor:
        """Return the log posterior density of the hyperparameters, up to a constant.

        It is that of GPyTorch's `ExactMarginalLogLikelihood` times the number of labels, with the
        jitter of `log_likelihood`, and derivatives in closed form.
        """
        (rows,) = self.train_inputs
        covariance = self.likelihood(self(rows)).covariance_matrix
        value = log_likelihood(covariance, self.train_targets - self.mean_module(rows))
        for _, module, prior, closure, _ in self.named_priors():
            value = value + prior.log_prob(closure(module)).sum()
        return value

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The current hyperparameters."""
        return Hyperparameters(
            lengthscales=self.covar_module.base_kernel.lengthscales.detach().numpy().copy(),
            outputscale=float(self.covar_module.outputscale.detach()),
            noise=float(self.likelihood.noise.detach()),
            mean=float(self.mean_module.constant.detach()),
        )

    @hyperparameters.setter
    def hyperparameters(self, values: Hyperparameters) -> None:
        self.covar_module.base_kernel.lengthscales = torch.from_numpy(values.lengthscales)
        self.covar_module.outputscale = _double(values.outputscale)
        self.likelihood.noise = _double(values.noise)
        self.mean_module.constant = _double(values.mean)


def _double(value: float) -> Tensor:
    """Return a tensor of double precision; GPyTorch makes single ones of plain numbers."""
    return torch.tensor(value, dtype=torch.float64)


def _log_normal(location: float, width: float) -> LogNormalPrior:
    return LogNormalPrior(_double(location), _double(width))


def covariance(
    hyperparameters: Hyperparameters, groups: Tensor, first: Tensor, second: Tensor
) -> Tensor:
    """Return the prior covariance between rows, without noise: that of the scaled `GroupRBFKernel`.

    No derivatives are recorded.

    Parameters
    ----------
    hyperparameters
        Lengthscales and outputscale.
    groups
        The group of every column, shape ``(d,)``.
    first, second
        Rows ``(*batch, n, d)`` and ``(*batch, m, d)``.

    Returns
    -------
    Tensor
        Covariances ``(*batch, n, m)``.
    """
    scale = torch.from_numpy(hyperparameters.lengthscales)[groups]
    # Distances do not change when everything moves; products lose fewer digits near the origin.
    centre = first.mean(dim=-2, keepdim=True)
    a, b = (first - centre) / scale, (second - centre) / scale
    exponents = product(a, b.mT)
    exponents -= a.square().sum(dim=-1).div(2).unsqueeze(-1)
    exponents -= b.square().sum(dim=-1).div(2).unsqueeze(-2)
    return exponents.clamp_(max=0).exp_().mul_(hyperparameters.outputscale)


def fit(
    features: NDArray[np.float64],
    targets: NDArray[np.float64],
    groups: NDArray[np.int64],
    max_iterations: int,
) -> Hyperparameters:
    """Maximise the posterior of the hyperparameters by L-BFGS.

    Parameters
    ----------
    features
        Training rows ``(n, d)``.
    targets
        Their targets ``(n,)``, of about zero mean and unit variance.
    groups
        The group of every column, shape ``(d,)``.
    max_iterations
        The largest number of iterations from the better of two starts.
    """
    with single_thread(), torch.enable_grad():
        model = ExactGP(
            torch.from_numpy(features), torch.from_numpy(targets), torch.from_numpy(groups)
        )
        model.train()
        parameters = list(model.parameters())

        def load(vector: NDArray[np.float64]) -> None:
            pieces = torch.split(torch.from_numpy(vector), [p.numel() for p in parameters])
            with torch.no_grad():
                for parameter, piece in zip(parameters, pieces, strict=True):
                    parameter.copy_(piece.view_as(parameter))

        def objective(vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            load(vector)
            loss = -model.log_posterior() / len(targets)
            gradients = torch.autograd.grad(loss, parameters)
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            return float(loss.detach()), flat.numpy()

        def search(start: NDArray[np.float64], iterations: int) -> Any:
            options = {"maxiter": iterations, "ftol": 1e-7}
            return minimize(objective, start, jac=True, method="L-BFGS-B", options=options)

        starts = []
        for noise in NOISE_STARTS:
            model.hyperparameters = Hyperparameters(
                lengthscales=np.full(int(groups.max()) + 1, model.median_lengthscale),
                outputscale=1.0,
                noise=noise,
                mean=0.0,
            )
            start = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
            starts.append(search(start.numpy(), min(TRIAL_ITERATIONS, max_iterations)))
        best = min(starts, key=lambda result: float(result.fun))
        load(search(best.x, max_iterations).x)
        return model.hyperparameters

"""Posteriors of BoTorch, in the unit of the targets."""

import numpy as np
import torch
from botorch.posteriors.ensemble import EnsemblePosterior
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from botorch.posteriors.transformed import TransformedPosterior
from gpytorch.distributions import MultivariateNormal
from torch import Tensor

from predictnas.predictors.mixture import MixturePosterior
from predictnas.predictors.warp import YeoJohnson

__all__ = ["in_target_unit"]


def in_target_unit(posterior: Posterior, warp: YeoJohnson) -> Posterior:
    """Undo the warp of the targets in a posterior over warped targets.

    Parameters
    ----------
    posterior
        A posterior over warped targets.
    warp
        The warp to undo.

    Returns
    -------
    Posterior
        An ensemble stays an ensemble, a mixture is one of transformed components. A Gaussian stays
        Gaussian where the warp is affine (power 1); otherwise its samples are transformed, and
        mean and variance are the exact moments of the transformed marginals up to quadrature,
        which is the moment matching that analytic acquisition functions need.
    """
    if isinstance(posterior, MixturePosterior):
        return posterior.map(lambda each: in_target_unit(each, warp))
    if isinstance(posterior, EnsemblePosterior):
        return EnsemblePosterior(_inverse(posterior.values, warp))
    if warp.power == 1.0 and isinstance(posterior, GPyTorchPosterior):
        normal = posterior.distribution
        unit = warp.std * warp.scale
        mean = _inverse(normal.mean, warp)
        return GPyTorchPosterior(MultivariateNormal(mean, normal.covariance_matrix * unit**2))
    return TransformedPosterior(
        posterior,
        sample_transform=lambda samples: _inverse(samples, warp),
        mean_transform=lambda mean, variance: _moments(mean, variance, warp)[0],
        variance_transform=lambda mean, variance: _moments(mean, variance, warp)[1],
    )


def _inverse(values: Tensor, warp: YeoJohnson) -> Tensor:
    return torch.from_numpy(warp.inverse(values.detach().numpy()))


def _moments(mean: Tensor, variance: Tensor, warp: YeoJohnson) -> tuple[Tensor, Tensor]:
    means, stds = warp.moments(mean.detach().numpy(), np.sqrt(variance.detach().numpy()))
    return torch.from_numpy(means), torch.from_numpy(stds**2)

"""A posterior that is a mixture of others."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from botorch.posteriors.ensemble import EnsemblePosterior
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.posterior import Posterior
from botorch.posteriors.transformed import TransformedPosterior
from botorch.sampling.get_sampler import GetSampler
from botorch.sampling.stochastic_samplers import ForkedRNGSampler
from gpytorch.distributions import MultivariateNormal
from torch import Tensor

__all__ = ["MixturePosterior", "shifted", "stretched"]


class MixturePosterior(Posterior):
    r"""One of several posteriors holds for all rows at once, each with its probability.

    A joint sample comes from one of the components, so correlations between rows are theirs. Of
    `k` samples a component with weight `w` gives `kw`, rounded up or down: systematic sampling,
    which leaves samples exchangeable.

    Parameters
    ----------
    posteriors
        The components, over the same rows.
    weights
        Their probabilities, shape ``(components,)``.
    """

    def __init__(self, posteriors: Sequence[Posterior], weights: Tensor) -> None:
        # BoTorch declares mean and variance for some kinds of posterior only.
        self.posteriors: tuple[Any, ...] = tuple(posteriors)
        self.weights = weights

    def map(self, change: Callable[[Posterior], Posterior]) -> "MixturePosterior":
        """Return the mixture of changed components."""
        return MixturePosterior([change(each) for each in self.posteriors], self.weights)

    @property
    def device(self) -> torch.device:
        """The device of samples."""
        device: torch.device = self.posteriors[0].device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type of samples."""
        dtype: torch.dtype = self.posteriors[0].dtype
        return dtype

    @property
    def mean(self) -> Tensor:
        """The mean, shape ``(*batch, q, 1)``."""
        return sum(
            (w * each.mean for w, each in zip(self.weights, self.posteriors, strict=True)),
            start=torch.zeros((), dtype=self.dtype),
        )

    @property
    def variance(self) -> Tensor:
        """The variance by the law of total variance, shape ``(*batch, q, 1)``."""
        mean = self.mean
        return sum(
            (
                w * (each.variance + (each.mean - mean) ** 2)
                for w, each in zip(self.weights, self.posteriors, strict=True)
            ),
            start=torch.zeros((), dtype=self.dtype),
        )

    def _extended_shape(self, sample_shape: torch.Size = torch.Size()) -> torch.Size:  # noqa: B008
        return sample_shape + self.mean.shape

    def rsample(self, sample_shape: torch.Size | None = None) -> Tensor:
        """Return joint samples, shape ``(*sample_shape, *batch, q, 1)``."""
        shape = sample_shape if sample_shape else torch.Size([1])
        count = shape.numel()
        places = (torch.arange(count) + torch.rand((), dtype=torch.float64)) / count
        component = torch.searchsorted(self.weights.cumsum(0), places)
        component = component.clamp_max(len(self.posteriors) - 1)  # rounding of the sum
        component = component[torch.randperm(count)]
        samples = torch.empty(self._extended_shape(torch.Size([count])), dtype=self.dtype)
        for number, posterior in enumerate(self.posteriors):
            chosen = component == number
            if chosen.any():
                samples[chosen] = posterior.rsample(torch.Size([int(chosen.sum())]))
        return samples.reshape(shape + samples.shape[1:])


def stretched(posterior: Posterior, centre: Tensor, factor: float) -> Posterior:
    """Return the posterior of ``centre + factor * (f - centre)``.

    Parameters
    ----------
    posterior
        The posterior of `f`.
    centre
        Shape ``(*batch, q, 1)``.
    factor
        Above zero.

    Returns
    -------
    Posterior
        Gaussians, ensembles and mixtures stay what they are.
    """
    if isinstance(posterior, MixturePosterior):
        return posterior.map(lambda each: stretched(each, centre, factor))
    if isinstance(posterior, GPyTorchPosterior):
        normal = posterior.distribution
        middle = centre.squeeze(-1)
        mean = middle + factor * (normal.mean - middle)
        return GPyTorchPosterior(MultivariateNormal(mean, normal.covariance_matrix * factor**2))
    if isinstance(posterior, EnsemblePosterior):
        middle = centre.unsqueeze(-3)
        return EnsemblePosterior(middle + factor * (posterior.values - middle), posterior.weights)
    return TransformedPosterior(
        posterior,
        sample_transform=lambda samples: centre + factor * (samples - centre),
        mean_transform=lambda mean, _: centre + factor * (mean - centre),
        variance_transform=lambda _, variance: factor**2 * variance,
    )


def shifted(posterior: Posterior, by: Tensor) -> Posterior:
    """Return the posterior of ``f + by``.

    Parameters
    ----------
    posterior
        The posterior of `f`.
    by
        Shape ``(*batch, q, 1)``.

    Returns
    -------
    Posterior
        Gaussians, ensembles and mixtures stay what they are.
    """
    if isinstance(posterior, MixturePosterior):
        return posterior.map(lambda each: shifted(each, by))
    if isinstance(posterior, GPyTorchPosterior):
        normal = posterior.distribution
        mean = normal.mean + by.squeeze(-1)
        return GPyTorchPosterior(MultivariateNormal(mean, normal.covariance_matrix))
    if isinstance(posterior, EnsemblePosterior):
        return EnsemblePosterior(posterior.values + by.unsqueeze(-3), posterior.weights)
    return TransformedPosterior(
        posterior,
        sample_transform=lambda samples: samples + by,
        mean_transform=lambda mean, _: mean + by,
        variance_transform=lambda _, variance: variance,
    )


@GetSampler.register(MixturePosterior)  # type: ignore[untyped-decorator]
def _sampler(
    posterior: MixturePosterior,  # noqa: ARG001 (BoTorch passes it)
    sample_shape: torch.Size,
    *,
    seed: int | None = None,
) -> ForkedRNGSampler:
    """Return what BoTorch's acquisition functions draw samples with."""
    return ForkedRNGSampler(sample_shape=sample_shape, seed=seed)

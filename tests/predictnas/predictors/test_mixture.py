import numpy as np
import pytest
import torch
from botorch.posteriors.ensemble import EnsemblePosterior
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.posteriors.transformed import TransformedPosterior
from botorch.sampling.get_sampler import get_sampler
from gpytorch.distributions import MultivariateNormal

from predictnas.predictors.mixture import MixturePosterior, shifted, stretched

WEIGHTS = torch.tensor([0.25, 0.75], dtype=torch.float64)


@pytest.fixture
def components():
    """A correlated Gaussian around 0 and an ensemble of four around 100, over three rows."""
    covariance = torch.tensor([[2.0, 1.9, 0.0], [1.9, 2.0, 0.0], [0.0, 0.0, 1.0]]).double()
    gaussian = GPyTorchPosterior(MultivariateNormal(torch.zeros(3).double(), covariance))
    generator = np.random.default_rng(0)
    return gaussian, EnsemblePosterior(torch.from_numpy(generator.normal(100, 1, (4, 3, 1))))


def test_moments_by_the_law_of_total_variance(components):
    mixture = MixturePosterior(components, WEIGHTS)
    values = components[1].values
    mean = 0.75 * values.mean(0)
    expected = 0.25 * (torch.tensor([[2.0], [2.0], [1.0]]) + mean**2)
    expected = expected + 0.75 * (values.var(0) + (values.mean(0) - mean) ** 2)
    torch.testing.assert_close(mixture.mean, mean)
    torch.testing.assert_close(mixture.variance, expected)


@pytest.mark.parametrize(("count", "gaussian"), [(8, 2), (400, 100), (4000, 1000)])
def test_samples_come_in_the_proportions_of_the_weights(components, count, gaussian):
    torch.manual_seed(0)
    samples = MixturePosterior(components, WEIGHTS).rsample(torch.Size([count]))
    assert samples.shape == (count, 3, 1)
    low = samples[..., 0] < 50
    assert (low.all(dim=1) | ~low.any(dim=1)).all()  # a sample is one component's for all rows
    assert int(low[:, 0].sum()) == gaussian


def test_order_of_samples_says_nothing_about_their_component(components):
    torch.manual_seed(0)
    mixture = MixturePosterior(components, WEIGHTS)
    first = torch.stack([mixture.rsample(torch.Size([4]))[0, 0, 0] < 50 for _ in range(800)])
    assert first.double().mean().item() == pytest.approx(0.25, abs=0.06)


def test_samples_have_the_correlations_of_their_component(components):
    torch.manual_seed(0)
    samples = MixturePosterior(components, WEIGHTS).rsample(torch.Size([16_000]))[..., 0]
    correlation = np.corrcoef(samples[samples[:, 0] < 50].T)
    assert correlation[0, 1] == pytest.approx(0.95, abs=0.02)
    assert correlation[0, 2] == pytest.approx(0.0, abs=0.06)


def test_shapes_of_batches(components):
    gaussian, ensemble = components
    normal = gaussian.distribution.expand(torch.Size([5]))
    batch = MixturePosterior(
        [GPyTorchPosterior(normal), EnsemblePosterior(ensemble.values.expand(5, -1, -1, -1))],
        WEIGHTS,
    )
    assert batch.mean.shape == batch.variance.shape == (5, 3, 1)
    assert batch.rsample(torch.Size([7, 2])).shape == (7, 2, 5, 3, 1)
    assert batch.rsample().shape == (1, 5, 3, 1)
    sampler = get_sampler(batch, torch.Size([6]), seed=3)
    torch.testing.assert_close(sampler(batch), sampler(batch))


def test_stretching_moves_samples_away_from_the_centre(components):
    centre = torch.tensor([[1.0], [2.0], [3.0]]).double()
    transformed = TransformedPosterior(
        components[0], lambda x: x, lambda mean, _: mean, lambda _, variance: variance
    )
    for posterior in (*components, transformed):
        wide = stretched(posterior, centre, 3.0)
        torch.testing.assert_close(wide.mean, centre + 3 * (posterior.mean - centre))
        torch.testing.assert_close(wide.variance, 9 * posterior.variance)
        draws = []
        for each in (posterior, wide):
            torch.manual_seed(1)
            draws.append(each.rsample(torch.Size([5])))
        torch.testing.assert_close(draws[1], centre + 3 * (draws[0] - centre), rtol=1e-5, atol=1e-5)
    assert type(stretched(components[0], centre, 2.0)) is GPyTorchPosterior
    assert type(stretched(components[1], centre, 2.0)) is EnsemblePosterior


def test_shifted_posteriors_differ_by_the_shift(components):
    by = torch.tensor([[1.0], [-2.0], [0.5]]).double()
    mixture = MixturePosterior(components, WEIGHTS)
    transformed = TransformedPosterior(
        components[0],
        sample_transform=torch.exp,
        mean_transform=lambda mean, variance: (mean + variance / 2).exp(),
        variance_transform=lambda mean, variance: variance.exp(),
    )
    for posterior in (*components, mixture, transformed):
        moved = shifted(posterior, by)
        assert type(moved) is type(posterior)
        torch.testing.assert_close(moved.mean, posterior.mean + by)
        torch.testing.assert_close(moved.variance, posterior.variance)
        samples = []
        for each in (posterior, moved):
            torch.manual_seed(0)
            samples.append(each.rsample(torch.Size([6])))
        torch.testing.assert_close(samples[1], samples[0] + by)


def test_stretched_mixture_has_the_stretched_moments(components):
    mixture = MixturePosterior(components, WEIGHTS)
    wide = stretched(mixture, mixture.mean, 2.0)
    assert isinstance(wide, MixturePosterior)
    torch.testing.assert_close(wide.mean, mixture.mean)
    torch.testing.assert_close(wide.variance, 4 * mixture.variance)

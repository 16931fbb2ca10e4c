import numpy as np
import pytest
from scipy.optimize import check_grad, minimize
from scipy.stats import norm

from predictnas.predictors.stacking import _objective, combine, stack_weights, variance_factor


@pytest.fixture
def stacked():
    """Three members: good, biased and useless, with deviations that are about right."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=80)
    errors = np.array([[0.3], [0.5], [1.2]])
    means = truth + errors * rng.normal(size=(3, 80))
    return means, np.broadcast_to(errors, (3, 80)).copy(), truth


def objective_of(stacked, strength, excess=None):
    means, stds, truth = stacked
    excess = np.zeros_like(means) if excess is None else excess
    return _objective(means, stds, excess, truth, strength, np.random.default_rng(0))


def log_likelihood_of_order(mean, variance, truth, noise):
    """Mean over pairs of log Φ and of what is added to it for noise, by finite differences."""
    better, worse = np.nonzero(truth[:, None] > truth)
    scale = variance[better] + variance[worse]
    margin = (mean[better] - mean[worse]) / np.sqrt(scale)
    step = 1e-3
    curvature = norm.logcdf(margin + step) - 2 * norm.logcdf(margin) + norm.logcdf(margin - step)
    lost = -0.5 * curvature / step**2 * (noise[better] + noise[worse]) / scale
    return norm.logcdf(margin).mean(), lost.mean()


def weights(stacked, strength=20.0):
    return stack_weights(*stacked, strength, np.random.default_rng(0))


def test_moments_are_those_of_samples_of_the_mixture():
    rng = np.random.default_rng(0)
    shares = np.array([0.2, 0.5, 0.3])
    means, stds = rng.normal(size=(3, 4)), rng.uniform(0.5, 1.5, size=(3, 4))
    member = rng.choice(3, size=200_000, p=shares)
    samples = means[member] + stds[member] * rng.normal(size=(200_000, 4))
    mean, variance = combine(shares, means, stds)
    np.testing.assert_allclose(mean, samples.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(variance, samples.var(axis=0), rtol=0.02)


def test_objective_is_the_sum_of_its_terms(stacked):
    means, stds, truth = stacked
    shares = np.array([0.2, 0.5, 0.3])
    excess = np.random.default_rng(1).uniform(0, 0.1, size=means.shape)
    value, _ = objective_of(stacked, 7.0)(np.log(shares))
    corrected, _ = objective_of(stacked, 7.0, excess)(np.log(shares))
    score = np.log(shares @ norm.pdf(truth, means, stds)).sum()
    order, lost = log_likelihood_of_order(*combine(shares, means, stds), truth, shares**2 @ excess)
    expected = -score / 16 - 80 * order - 7.0 * np.log(shares).mean()
    assert value == pytest.approx(expected, rel=1e-10)
    assert corrected == pytest.approx(expected - 80 * lost, rel=1e-6)


def test_correction_gives_back_what_noise_of_held_out_means_takes():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200)
    clean = truth + 0.5 * rng.normal(size=200)
    excess, stds, strength = 0.15, np.full((2, 200), 0.6), 1e-9
    point = np.log([0.6, 0.4])
    other = truth + 0.7 * rng.normal(size=200)
    without, plain, corrected = [], [], []
    for _ in range(300):
        noisy = np.stack([clean + np.sqrt(excess) * rng.normal(size=200), other])
        known = np.array([[excess], [0.0]]) * np.ones((2, 200))
        without.append(objective_of((np.stack([clean, other]), stds, truth), strength)(point)[0])
        plain.append(objective_of((noisy, stds, truth), strength)(point)[0])
        corrected.append(objective_of((noisy, stds, truth), strength, known)(point)[0])
    # Variances of the mixture and the log score see the noise too: order makes up most of it.
    assert abs(np.mean(corrected) - without[0]) < 0.4 * abs(np.mean(plain) - without[0])


def test_an_ensemble_of_which_few_members_are_held_out_gets_its_due():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=300)
    errors = rng.normal(size=(2, 300))
    good, bad = truth + 0.40 * errors[0], truth + 0.55 * errors[1]
    noisy = good + 0.45 * rng.normal(size=300)
    stds = np.full((2, 300), 0.6)
    draw = np.random.default_rng
    deserved = stack_weights(np.stack([good, bad]), stds, truth, 5.0, draw(0))
    found = stack_weights(np.stack([noisy, bad]), stds, truth, 5.0, draw(0))
    excess = np.array([[0.45**2], [0.0]]) * np.ones((2, 300))
    corrected = stack_weights(np.stack([noisy, bad]), stds, truth, 5.0, draw(0), excess=excess)
    assert found[0] < corrected[0]
    assert abs(corrected[0] - deserved[0]) < 0.5 * abs(found[0] - deserved[0])


@pytest.mark.parametrize("excess", [0.0, 0.1])
def test_gradient_is_that_of_the_value(stacked, excess):
    objective = objective_of(stacked, 7.0, np.full_like(stacked[0], excess))
    point = np.array([0.3, -0.8, 0.1])
    error = check_grad(lambda x: objective(x)[0], lambda x: objective(x)[1], point)
    assert error < 1e-4


def test_weights_are_the_minimum_on_the_simplex(stacked):
    found = weights(stacked)
    assert found.sum() == pytest.approx(1)
    assert (found > 0).all()
    assert found[0] > found[1] > found[2]
    objective = objective_of(stacked, 20.0)
    best = minimize(lambda x: objective(x)[0], np.zeros(3), method="Nelder-Mead", tol=1e-10)
    np.testing.assert_allclose(found, np.exp(best.x) / np.exp(best.x).sum(), atol=1e-3)


def test_prior_draws_towards_equal_weights(stacked):
    distances = [np.abs(weights(stacked, s) - 1 / 3).max() for s in (1, 20, 400, 1e6)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.01
    few = tuple(array[..., :6] for array in stacked)
    assert np.abs(weights(few) - 1 / 3).max() < np.abs(weights(stacked) - 1 / 3).max()


def test_equal_labels_and_none_at_all(stacked):
    means, stds, truth = stacked
    constant = stack_weights(means, stds, truth * 0, 20.0, np.random.default_rng(0))
    assert np.isfinite(constant).all()
    empty = stack_weights(means[:, :0], stds[:, :0], truth[:0], 20.0, np.random.default_rng(0))
    np.testing.assert_array_equal(empty, np.full(3, 1 / 3))
    assert weights((means[:1], stds[:1], truth)) == [1.0]


def test_more_labels_than_are_compared_pair_by_pair(monkeypatch, stacked):
    monkeypatch.setattr("predictnas.predictors.stacking.MOST_COMPARED", 40)
    assert np.abs(weights(stacked) - 1 / 3).max() > 0.1


def test_variance_factor_is_the_mean_square_of_residuals_where_there_are_many():
    rng = np.random.default_rng(0)
    variances = rng.uniform(0.5, 2, size=4000)
    residuals = 1.5 * np.sqrt(variances) * rng.normal(size=4000)
    assert variance_factor(residuals, variances) == pytest.approx(2.25, rel=0.05)
    few = variance_factor(residuals[:3], variances[:3])
    assert abs(np.log(few)) < abs(np.log(np.mean(residuals[:3] ** 2 / variances[:3])))
    assert variance_factor(residuals[:0], variances[:0]) == pytest.approx(1)

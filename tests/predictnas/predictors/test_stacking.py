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
    value, _ = _objective(*stacked, 7.0, np.random.default_rng(0))(np.log(shares))
    mean, variance = combine(shares, means, stds)
    score = np.log(shares @ norm.pdf(truth, means, stds)).sum()
    orders = [
        norm.logcdf((mean[i] - mean[j]) / np.sqrt(variance[i] + variance[j]))
        for i in range(80)
        for j in range(80)
        if truth[i] > truth[j]
    ]
    expected = -score / 16 - 80 * np.mean(orders) - 7.0 * np.log(shares).mean()
    assert value == pytest.approx(expected, rel=1e-10)


def test_gradient_is_that_of_the_value(stacked):
    objective = _objective(*stacked, 7.0, np.random.default_rng(0))
    point = np.array([0.3, -0.8, 0.1])
    error = check_grad(lambda x: objective(x)[0], lambda x: objective(x)[1], point)
    assert error < 1e-4


def test_weights_are_the_minimum_on_the_simplex(stacked):
    found = weights(stacked)
    assert found.sum() == pytest.approx(1)
    assert (found > 0).all()
    assert found[0] > found[1] > found[2]
    objective = _objective(*stacked, 20.0, np.random.default_rng(0))
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

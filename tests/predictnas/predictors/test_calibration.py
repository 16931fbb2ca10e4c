import numpy as np
import pytest
from scipy.stats import norm

from predictnas.predictors.calibration import calibrate


@pytest.mark.parametrize(("noise", "factor"), [(0.05, 2.0), (0.5, 0.5)])
def test_noise_and_factor_are_recovered(noise, factor):
    rng = np.random.default_rng(0)
    spreads = rng.exponential(1.0, 20_000)
    residuals = rng.standard_normal(20_000) * np.sqrt(noise + factor * spreads)
    assert calibrate(residuals, spreads) == pytest.approx((noise, factor), rel=0.1)


def test_result_has_the_highest_posterior_density():
    rng = np.random.default_rng(1)
    spreads, residuals = rng.exponential(1.0, 25), rng.standard_normal(25)

    def log_density(noise, factor):
        likelihood = norm.logpdf(residuals, scale=np.sqrt(noise + factor * spreads)).sum()
        prior = norm.logpdf(np.log(noise / 0.3), scale=2) + norm.logpdf(np.log(factor))
        return likelihood + prior

    noise, factor = calibrate(residuals, spreads)
    best = log_density(noise, factor)
    for up in (0.98, 1.02):
        assert log_density(noise * up, factor) < best
        assert log_density(noise, factor * up) < best


def test_without_labels_the_priors_are_all_there_is():
    assert calibrate(np.zeros(0), np.zeros(0)) == pytest.approx((0.3, 1.0))


def test_perfect_predictions_leave_a_little_noise():
    noise, factor = calibrate(np.zeros(30), np.zeros(30))
    assert noise == pytest.approx(1e-4)
    assert factor == pytest.approx(1.0)

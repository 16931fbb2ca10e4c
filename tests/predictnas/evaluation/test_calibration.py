import json

import numpy as np
import pytest
from scipy import stats

from predictnas.errors import InputError
from predictnas.evaluation import calibration, constant_nll


def test_values_worked_by_hand():
    # Errors of 0, 1, 2 and 3 standard deviations; the half widths of the intervals are
    # 0.674, 1.282, 1.645 and 1.960.
    result = calibration([0, 2, 4, 6], [0, 0, 0, 0], [2, 2, 2, 2])
    assert result.n == 4
    assert result.coverage == {"50 %": 0.25, "80 %": 0.5, "90 %": 0.5, "95 %": 0.5}
    assert result.nll == pytest.approx(0.5 * np.log(2 * np.pi) + np.log(2) + (0 + 1 + 4 + 9) / 8)
    assert result.baseline_nll == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 14))
    assert result.sharpness == 2.0


def test_likelihood_agrees_with_scipy():
    rng = np.random.default_rng(0)
    y, mean, std = rng.normal(size=50), rng.normal(size=50), rng.uniform(0.1, 3, size=50)
    result = calibration(y, mean, std)
    assert result.nll == pytest.approx(-stats.norm.logpdf(y, mean, std).mean(), rel=1e-12)
    constant = np.sqrt(np.mean((y - mean) ** 2))
    baseline = -stats.norm.logpdf(y, mean, constant).mean()
    assert result.baseline_nll == pytest.approx(baseline, rel=1e-12)
    assert calibration(y, mean, np.full(50, constant)).nll == pytest.approx(baseline, rel=1e-12)


def test_true_standard_deviations_are_calibrated_and_beat_a_constant():
    rng = np.random.default_rng(0)
    std = rng.uniform(0.2, 2, size=20_000)
    y = 5 + std * rng.normal(size=20_000)
    result = calibration(y, np.full(20_000, 5.0), std)
    for level, share in result.coverage.items():
        assert share == pytest.approx(float(level.split()[0]) / 100, abs=0.01)
    assert result.nll < result.baseline_nll - 0.1
    overconfident = calibration(y, np.full(20_000, 5.0), std / 3)
    assert overconfident.coverage["95 %"] < 0.6
    assert overconfident.nll > result.baseline_nll


def test_exact_means_have_no_finite_baseline():
    result = calibration([1.0, 2.0], [1.0, 2.0], [1.0, 1.0])
    assert result.baseline_nll == -np.inf
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["baseline_nll"] is None


def test_arguments_are_checked():
    with pytest.raises(InputError, match=r"found shapes \(2,\), \(2,\) and \(1,\)"):
        calibration([1, 2], [1, 2], [1])
    with pytest.raises(InputError, match="at least one forecast"):
        calibration([], [], [])
    with pytest.raises(InputError, match="NaN or inf in mean"):
        calibration([1, 2], [1, float("nan")], [1, 1])
    with pytest.raises(InputError, match="above zero, found 0"):
        calibration([1, 2], [1, 2], [1, 0])


def test_constant_deviation_is_that_of_the_residuals():
    rng = np.random.default_rng(0)
    y, mean, residuals = rng.normal(size=50), rng.normal(size=50), rng.normal(size=7)
    sigma = np.sqrt(np.mean(residuals**2))
    expected = -stats.norm.logpdf(y, mean, sigma).mean()
    assert constant_nll(y, mean, residuals) == pytest.approx(expected)
    best = calibration(y, mean, np.ones(50)).baseline_nll
    assert constant_nll(y, mean, y - mean) == pytest.approx(best)
    assert constant_nll(y, mean, residuals) > best


def test_constant_deviation_without_residuals_is_undefined():
    assert np.isnan(constant_nll([1.0], [2.0], []))
    assert np.isnan(constant_nll([1.0], [2.0], [0.0, 0.0]))
    with pytest.raises(InputError, match=r"found shapes \(1,\) and \(2,\)"):
        constant_nll([1.0], [2.0, 3.0], [1.0])
    with pytest.raises(InputError, match="finite measurements, means and residuals"):
        constant_nll([1.0], [2.0], [np.nan])

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from predictnas.predictors.warp import YeoJohnson

# Rounded, since scaling the smallest floats by a power of two is not exact.
elements = st.floats(-1e6, 1e6).map(lambda value: round(value, 9))
numbers = arrays(np.float64, st.integers(3, 30), elements=elements)


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0, 1.6, 2.0])
def test_transform_is_scipys_yeo_johnson_standardised(power):
    values = np.random.default_rng(0).standard_t(3, 40)
    warp = YeoJohnson.learn(values, power)
    spread = stats.median_abs_deviation(values, scale=1 / 1.4826)
    expected = stats.zscore(stats.yeojohnson((values - np.median(values)) / spread, power))
    np.testing.assert_allclose(warp.transform(values), expected, rtol=1e-10)


@pytest.mark.parametrize("exponent", [1.1, 1.4])
def test_power_is_the_most_likely_one(exponent):
    # A root of normal numbers has a power of about the exponent; the prior weighs one of 4,000.
    rng = np.random.default_rng(1)
    normal = rng.standard_normal(4000)
    values = np.sign(normal) * (np.abs(normal) + 1) ** (1 / exponent)
    spread = stats.median_abs_deviation(values, scale=1 / 1.4826)
    expected = stats.yeojohnson_normmax((values - np.median(values)) / spread)
    assert YeoJohnson.learn(values).power == pytest.approx(expected, abs=0.02)


def test_long_lower_tail_is_compressed():
    accuracy = 92 - np.random.default_rng(0).exponential(3, 200) ** 1.5
    warped = YeoJohnson.learn(accuracy).transform(accuracy)
    assert abs(stats.skew(warped)) < 0.5 < abs(stats.skew(accuracy))
    assert warped.mean() == pytest.approx(0, abs=1e-12)
    assert warped.std() == pytest.approx(1)


@settings(deadline=None)
@given(numbers)
def test_inverse_undoes_transform_and_order_is_kept(values):
    warp = YeoJohnson.learn(values)
    warped = warp.transform(values)
    assert np.isfinite(warped).all()
    np.testing.assert_allclose(
        warp.inverse(warped), values, rtol=1e-6, atol=1e-6 * max(1e-9, np.abs(values).max())
    )
    order = np.argsort(values)
    assert (np.diff(warped[order]) >= 0).all()


@settings(deadline=None)
@given(numbers, st.integers(-3, 3))
def test_unit_makes_no_difference(values, exponent):
    unit = 2.0**exponent
    warped = YeoJohnson.learn(values).transform(values)
    np.testing.assert_array_equal(YeoJohnson.learn(values * unit).transform(values * unit), warped)


def test_moments_of_a_power_of_one_are_exact():
    warp = YeoJohnson.learn(np.array([1.0, 2.0, 4.0, 9.0]), 1.0)
    mean, std = warp.moments(np.array([0.0, 1.0]), np.array([1.0, 0.5]))
    np.testing.assert_allclose(mean, [4.0, 4.0 + np.sqrt(9.5)])
    np.testing.assert_allclose(std, [np.sqrt(9.5), 0.5 * np.sqrt(9.5)])


def test_moments_of_a_power_of_zero_are_log_normal():
    # Far above zero, power 0 is the logarithm of 1 + x.
    warp = YeoJohnson(power=0.0, centre=3.0, scale=2.0, mean=0.0, std=1.0)
    normal = stats.lognorm(s=0.5, scale=np.exp(6.0))
    mean, std = warp.moments(np.array([6.0]), np.array([0.5]))
    np.testing.assert_allclose(mean, 3 + 2 * (normal.mean() - 1), rtol=1e-9)
    np.testing.assert_allclose(std, 2 * normal.std(), rtol=1e-9)


def test_moments_agree_with_sampling():
    warp = YeoJohnson.learn(92 - np.random.default_rng(0).exponential(3, 50))
    mean, std = warp.moments(np.array([-0.8]), np.array([0.6]))
    samples = warp.inverse(-0.8 + 0.6 * np.random.default_rng(1).standard_normal(400_000))
    assert mean[0] == pytest.approx(samples.mean(), abs=5 * std[0] / np.sqrt(400_000))
    assert std[0] == pytest.approx(samples.std(), rel=0.02)


@pytest.mark.parametrize(("value", "scale"), [(10.0, 1.0), (-50.0, 5.0), (0.0, 1.0)])
def test_equal_numbers_have_a_tenth_of_their_size_as_spread(value, scale):
    warp = YeoJohnson.learn(np.full(5, value))
    np.testing.assert_array_equal(warp.transform(np.full(5, value)), np.zeros(5))
    assert warp.inverse(np.array([2.0]))[0] == pytest.approx(value + 2 * scale)


def test_rounding_errors_are_no_spread():
    values = 0.1 + np.array([0.0, 1e-17, -2e-17, 1.5e-17])
    assert YeoJohnson.learn(values).scale == pytest.approx(0.01)


def test_mostly_tied_numbers_keep_their_differences():
    values = np.array([10.0] * 20 + [80.0, 85.0, 90.0])
    warped = YeoJohnson.learn(values).transform(values)
    assert len(np.unique(warped)) == 4


def test_outliers_stay_finite():
    values = np.array([1.0, 2.0, 3.0, 4.0, -1e8])
    warp = YeoJohnson.learn(values)
    assert np.isfinite(warp.transform(np.array([-1e300, 1e300]))).all()
    assert np.isfinite(warp.inverse(np.array([-1e6, 1e6]))).all()

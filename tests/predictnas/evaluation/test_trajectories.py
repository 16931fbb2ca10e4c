import json

import numpy as np
import pytest
from scipy import stats

from predictnas.errors import InputError
from predictnas.evaluation import best_so_far, mean_interval, paired_difference


def test_best_so_far():
    nan = np.nan
    trials = [[nan, 2.0, nan, 1.0, 5.0], [3.0, 1.0, 4.0, nan, 2.0]]
    best = [[nan, 2.0, 2.0, 2.0, 5.0], [3.0, 3.0, 4.0, 4.0, 4.0]]
    np.testing.assert_array_equal(best_so_far(trials), best)
    np.testing.assert_array_equal(best_so_far([]), [])


def test_mean_interval_is_students():
    samples = np.random.default_rng(0).normal(90, 2, size=(5, 7))
    result = mean_interval(samples, confidence=0.9)
    expected = stats.ttest_1samp(samples, 0, axis=0).confidence_interval(0.9)
    np.testing.assert_allclose(result.mean, samples.mean(axis=0))
    np.testing.assert_allclose(result.low, expected.low)
    np.testing.assert_allclose(result.high, expected.high)
    assert result.n == 5


def test_paired_difference_is_students_and_signed():
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 5, size=6)
    a, b = luck + 1 + 0.1 * rng.normal(size=6), luck
    result = paired_difference(a, b)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose((result.low, result.high), (expected.low, expected.high))
    # Pairing takes the luck of the seed out: unpaired, the interval would include zero.
    assert result.low > 0
    assert stats.ttest_ind(a, b).confidence_interval(0.95).low < 0
    np.testing.assert_allclose(paired_difference(b, a).mean, -result.mean)


def test_one_seed_has_no_interval():
    result = mean_interval([[1.0, 2.0]])
    np.testing.assert_array_equal(result.mean, [1.0, 2.0])
    assert np.isnan(result.low).all()
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False)) == {
        "mean": [1.0, 2.0],
        "low": [None, None],
        "high": [None, None],
        "n": 1,
    }


def test_single_values_stay_single():
    assert mean_interval([1.0, 3.0]).to_dict()["mean"] == 2.0


def test_arguments_are_checked():
    with pytest.raises(InputError, match="at least one seed"):
        mean_interval([])
    with pytest.raises(InputError, match="between 0 and 1, found 95"):
        mean_interval([1, 2], confidence=95)
    with pytest.raises(InputError, match=r"both sides, found shapes \(2,\) and \(3,\)"):
        paired_difference([1, 2], [1, 2, 3])

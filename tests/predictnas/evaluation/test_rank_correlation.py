import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from predictnas.errors import InputError
from predictnas.evaluation import (
    kendall_interval,
    kendall_tau,
    spearman,
    spearman_interval,
)

STATISTICS = [
    pytest.param(kendall_tau, kendall_interval, stats.kendalltau, id="kendall"),
    pytest.param(spearman, spearman_interval, stats.spearmanr, id="spearman"),
]
INTERVALS = [kendall_interval, spearman_interval]

tied = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), min_size=2, max_size=60)
untied = st.lists(
    st.tuples(st.floats(-1e6, 1e6), st.floats(-1e-6, 1e-6)), min_size=2, max_size=60, unique=True
)


def sample(n, rng, strength=0.7):
    x = rng.normal(size=n)
    return x, strength * x + np.sqrt(1 - strength**2) * rng.normal(size=n)


@pytest.mark.parametrize(("value", "_", "oracle"), STATISTICS)
@given(pairs=st.one_of(tied, untied))
def test_value_agrees_with_scipy(value, _, oracle, pairs):
    x, y = np.array(pairs, dtype=float).T
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    assert value(x, y) == pytest.approx(oracle(x, y)[0], abs=1e-12)


@pytest.mark.parametrize(("value", "_", "oracle"), STATISTICS)
def test_value_agrees_with_scipy_on_many_rows(value, _, oracle):
    rng = np.random.default_rng(0)
    x, y = sample(20_000, rng)
    y = np.maximum(y, -1).round(3)
    assert value(x, y) == pytest.approx(oracle(x, y)[0], abs=1e-12)


def test_values_worked_by_hand():
    # Six pairs: (1,2) tied in x; (3,4) discordant; the other four concordant.
    x, y = [1, 1, 2, 3], [1, 2, 4, 3]
    assert kendall_tau(x, y) == pytest.approx((4 - 1) / np.sqrt(5 * 6), abs=1e-15)
    # Mid-ranks 1.5, 1.5, 3, 4 and 1, 2, 4, 3.
    assert spearman(x, y) == pytest.approx(3.5 / np.sqrt(4.5 * 5), abs=1e-15)


@pytest.mark.parametrize("value", [kendall_tau, spearman])
def test_sign_is_as_measured(value):
    assert value([1, 2, 3], [3, 2, 1]) == -1.0
    assert value([1, 2, 3], [1, 2, 3]) == 1.0


@pytest.mark.parametrize("value", [kendall_tau, spearman])
@pytest.mark.parametrize(
    ("x", "y"), [([], []), ([1], [2]), ([3, 3, 3], [1, 2, 3]), ([1, 2], [5, 5])]
)
def test_value_is_undefined_without_order(value, x, y):
    assert np.isnan(value(x, y))


@pytest.mark.parametrize(("value", "interval", "oracle"), STATISTICS)
def test_interval_is_that_of_the_infinitesimal_jackknife(value, interval, oracle):
    # The derivatives are measured by repeating every row 1000 times and one of them once more
    # or once less.
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 6, 14), rng.integers(0, 9, 14)
    n, repeats = len(x), 1000

    def repeated(counts):
        return oracle(np.repeat(x, counts), np.repeat(y, counts))[0]

    derivatives = []
    for row in range(n):
        step = np.zeros(n, dtype=int)
        step[row] = 1
        difference = repeated(repeats + step) - repeated(repeats - step)
        derivatives.append(difference / 2 * repeats)
    centre = oracle(x, y)[0]
    error = np.sqrt(n / (n - 1) * np.sum(np.square(derivatives)))
    half = stats.t.ppf(0.95, n - 1) * error / (1 - centre**2)
    expected = np.tanh([np.arctanh(centre) - half, np.arctanh(centre) + half])
    np.testing.assert_allclose(interval(x, y, confidence=0.9), expected, atol=1e-6)


@pytest.mark.parametrize(("value", "interval", "oracle"), STATISTICS)
@pytest.mark.parametrize("ties", [False, True], ids=["untied", "tied"])
def test_interval_covers_the_truth(value, interval, oracle, ties):
    def draw(n, rng):
        x, y = sample(n, rng)
        return (x.round(), np.maximum(y, -0.8)) if ties else (x, y)

    truth = oracle(*draw(200_000, np.random.default_rng(0)))[0]
    rng = np.random.default_rng(1)
    intervals = [interval(*draw(30, rng), confidence=0.9) for _ in range(500)]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    # Three standard errors of 500 draws around 0.90.
    assert 0.86 <= covered <= 0.94


@pytest.mark.parametrize("interval", INTERVALS)
def test_interval_depends_on_order_alone(interval):
    x, y = sample(50, np.random.default_rng(0))
    low, high = interval(x, y)
    assert interval(np.exp(x), y**3) == (low, high)
    np.testing.assert_allclose(interval(x, -y), (-high, -low), atol=1e-14)
    np.testing.assert_allclose(interval(y, x), (low, high), atol=1e-14)


@pytest.mark.parametrize("interval", INTERVALS)
def test_interval_is_wider_with_more_confidence_and_within_one(interval):
    x, y = sample(12, np.random.default_rng(5), strength=0.97)
    inner, outer = interval(x, y, confidence=0.5), interval(x, y, confidence=0.999)
    assert -1 < outer[0] < inner[0] < inner[1] < outer[1] < 1


@pytest.mark.parametrize("interval", INTERVALS)
def test_copies_in_a_group_add_no_certainty(interval):
    x, y = sample(30, np.random.default_rng(2))
    groups = np.array([f"key {row}" for row in range(30)])
    order = np.random.default_rng(3).permutation(90)
    copies = (np.tile(x, 3)[order], np.tile(y, 3)[order])
    grouped = interval(*copies, groups=np.tile(groups, 3)[order])
    np.testing.assert_allclose(grouped, interval(x, y), atol=1e-12)
    assert np.diff(interval(*copies)) < np.diff(grouped)


@pytest.mark.parametrize("interval", INTERVALS)
def test_interval_without_variation(interval):
    assert interval(range(9), range(9)) == (1.0, 1.0)
    assert interval(range(9), range(9, 0, -1)) == (-1.0, -1.0)
    assert np.isnan(interval([1, 1, 1, 1, 1], range(5))).all()
    assert np.isnan(interval([1, 2, 3], [1, 3, 2])).all()
    assert np.isnan(interval([1, 2, 3, 4], [1, 3, 2, 4], groups=[0, 0, 1, 2])).all()


@pytest.mark.parametrize("value", [kendall_tau, spearman])
def test_values_must_be_pairs_of_finite_numbers(value):
    with pytest.raises(InputError, match=r"same length, found shapes \(3,\) and \(2,\)"):
        value([1, 2, 3], [1, 2])
    with pytest.raises(InputError, match="expects finite values"):
        value([1, 2, float("nan")], [1, 2, 3])
    with pytest.raises(InputError, match="expects finite values"):
        value([1, 2, 3], [1, 2, float("-inf")])


@pytest.mark.parametrize("interval", INTERVALS)
def test_interval_refuses_what_makes_no_sense(interval):
    x, y = sample(9, np.random.default_rng(0))
    with pytest.raises(InputError, match="between 0 and 1, found 95"):
        interval(x, y, confidence=95)
    with pytest.raises(InputError, match=r"9 rows, found shape \(2,\)"):
        interval(x, y, groups=[1, 2])

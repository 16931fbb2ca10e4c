import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from predictnas.errors import InputError
from predictnas.evaluation import (
    Bootstrapped,
    Resamples,
    bootstrap_interval,
    kendall_interval,
    kendall_tau,
    precision_at,
    spearman,
    spearman_interval,
)

STATISTICS = [
    pytest.param(kendall_tau, kendall_interval, stats.kendalltau, id="kendall"),
    pytest.param(spearman, spearman_interval, stats.spearmanr, id="spearman"),
]


def sample(n, rng, strength=0.7):
    x = rng.normal(size=n)
    return x, strength * x + np.sqrt(1 - strength**2) * rng.normal(size=n)


def on_rows(statistic, counts, *columns):
    """Return the statistic of every resample, its rows written out."""
    rows = [np.repeat(np.arange(len(count)), count) for count in counts]
    return np.array([statistic(*(np.asarray(column)[r] for column in columns)) for r in rows])


@pytest.mark.parametrize(("statistic", "_", "oracle"), STATISTICS)
@pytest.mark.parametrize("ties", [False, True], ids=["untied", "tied"])
# 600 rows are more than one block of the sign matrix.
@pytest.mark.parametrize("n", [40, 600])
def test_resamples_are_measured_as_scipy_measures_their_rows(statistic, _, oracle, ties, n):
    x, y = sample(n, np.random.default_rng(0))
    if ties:
        x, y = x.round(), np.maximum(y, -0.8)
    resamples = Resamples(n, resamples=30, seed=1)
    measured = resamples.measure(statistic, x, y)
    assert measured.value == statistic(x, y)
    expected = on_rows(lambda a, b: oracle(a, b)[0], resamples.counts, x, y)
    np.testing.assert_allclose(measured.resampled, expected, rtol=0, atol=1e-13)
    direct = on_rows(statistic, resamples.counts, x, y)
    np.testing.assert_allclose(measured.resampled, direct, rtol=1e-15, atol=0)


@pytest.mark.parametrize("statistic", [kendall_tau, spearman])
@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=12),
    seed=st.integers(0, 1000),
)
def test_resamples_are_undefined_exactly_where_their_rows_are(statistic, pairs, seed):
    x, y = np.array(pairs).T
    resamples = Resamples(len(x), resamples=20, seed=seed)
    measured = resamples.measure(statistic, x, y).resampled
    np.testing.assert_allclose(measured, on_rows(statistic, resamples.counts, x, y), atol=1e-14)


def test_any_statistic_gets_the_rows_of_each_resample():
    x, y = sample(25, np.random.default_rng(2))
    resamples = Resamples(25, resamples=15, seed=0)
    measured = resamples.measure(precision_at, x, y)
    assert measured.value == precision_at(x, y)
    np.testing.assert_array_equal(measured.resampled, on_rows(precision_at, resamples.counts, x, y))


def test_draws_are_uniform_with_replacement_and_depend_on_the_seed_alone():
    counts = Resamples(10, resamples=4000, seed=0).counts
    assert (counts.sum(axis=1) == 10).all()
    # A count is binomial, 10 draws of probability 1/10; five standard errors of its moments.
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=5 * np.sqrt(0.9 / 4000))
    np.testing.assert_allclose(counts.var(axis=0), 0.9, atol=0.15)
    np.testing.assert_array_equal(counts, Resamples(10, resamples=4000, seed=0).counts)
    assert (counts != Resamples(10, resamples=4000, seed=1).counts).any()


def test_groups_are_drawn_together():
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    counts = Resamples(6, groups=groups, resamples=200, seed=0).counts
    for label in "abc":
        assert (np.ptp(counts[:, groups == label], axis=1) == 0).all()
    first_of_group = counts[:, [1, 0, 3]]
    assert (first_of_group.sum(axis=1) == 3).all()


@pytest.mark.parametrize("statistic", [kendall_tau, spearman])
def test_copies_in_a_group_add_no_certainty(statistic):
    x, y = sample(60, np.random.default_rng(2))
    copied, groups = (np.tile(x, 3), np.tile(y, 3)), np.tile(np.arange(60), 3)
    single = bootstrap_interval(statistic, x, y, seed=0)
    grouped = bootstrap_interval(statistic, *copied, groups=groups, seed=0)
    # The same draws: rows 0 to 59 are the groups, and copies change τ-b by their own ties alone.
    np.testing.assert_allclose(grouped, single, atol=0.01)
    naive = bootstrap_interval(statistic, *copied, seed=0)
    assert np.diff(naive) < 0.7 * np.diff(grouped)


@pytest.mark.parametrize(("statistic", "analytic", "_"), STATISTICS)
@pytest.mark.parametrize("strength", [0.0, 0.7])
def test_interval_is_close_to_the_analytic_one(statistic, analytic, _, strength):
    x, y = sample(1000, np.random.default_rng(4), strength)
    expected = analytic(x, y, confidence=0.9)
    found = bootstrap_interval(statistic, x, y, resamples=2000, confidence=0.9, seed=0)
    # A tenth of the interval's width: twice the noise of a 5 % quantile of 2,000 resamples.
    np.testing.assert_allclose(found, expected, atol=0.1 * np.diff(expected)[0])


@pytest.mark.parametrize(("statistic", "_", "oracle"), STATISTICS)
def test_interval_covers_the_truth(statistic, _, oracle):
    truth = oracle(*sample(200_000, np.random.default_rng(0)))[0]
    rng = np.random.default_rng(1)
    intervals = [
        bootstrap_interval(statistic, *sample(60, rng), resamples=300, confidence=0.9, seed=seed)
        for seed in range(400)
    ]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    # Three standard errors of 400 draws around 0.90.
    assert 0.855 <= covered <= 0.945


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    x = np.random.default_rng(0).normal(size=400)
    found = bootstrap_interval(np.mean, x, resamples=4000, seed=0)
    half = stats.norm.ppf(0.975) * x.std() / 20
    np.testing.assert_allclose(found, [x.mean() - half, x.mean() + half], atol=0.1 * half)


def test_measures_of_the_same_resamples_are_paired():
    rng = np.random.default_rng(0)
    target = rng.normal(size=200)
    good, bad = target + rng.normal(size=200), target + 2 * rng.normal(size=200)
    resamples = Resamples(200, seed=0)
    difference = resamples.measure(spearman, good, target) - resamples.measure(
        spearman, bad, target
    )
    assert difference.interval() == bootstrap_interval(
        lambda a, b, y: spearman(a, y) - spearman(b, y), good, bad, target, seed=0
    )
    mean = Bootstrapped.mean([resamples.measure(spearman, x, target) for x in (good, bad)])
    assert mean.interval() == bootstrap_interval(
        lambda a, b, y: (spearman(a, y) + spearman(b, y)) / 2, good, bad, target, seed=0
    )
    itself = resamples.measure(spearman, good, target) - resamples.measure(spearman, good, target)
    assert itself.to_dict() == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_part_of_the_rows_is_measured_on_the_draws_of_all():
    x, y = sample(50, np.random.default_rng(0))
    part = x > 0
    resamples = Resamples(50, resamples=40, seed=0)
    for statistic in (kendall_tau, spearman, precision_at):
        measured = resamples.measure(statistic, x, y, rows=part)
        assert measured.value == statistic(x[part], y[part])
        expected = on_rows(statistic, resamples.counts[:, part], x[part], y[part])
        np.testing.assert_allclose(measured.resampled, expected, rtol=1e-15)


def test_interval_without_variation_or_order():
    nine = np.arange(9)
    assert bootstrap_interval(spearman, nine, nine, seed=0) == (1.0, 1.0)
    assert bootstrap_interval(kendall_tau, nine, -nine, seed=0) == (-1.0, -1.0)
    assert np.isnan(bootstrap_interval(spearman, np.ones(9), nine, seed=0)).all()
    # A single row that differs is missing from a third of the resamples.
    assert np.isnan(bootstrap_interval(kendall_tau, nine == 4, nine, seed=0)).all()
    three = [0, 0, 1, 2]
    assert np.isnan(bootstrap_interval(spearman, nine[:4], nine[:4], groups=three, seed=0)).all()


def test_rare_undefined_resamples_are_left_out():
    values = np.array([np.nan, *np.linspace(0, 1, 101)])
    assert Bootstrapped(0.5, values).interval(0.9) == pytest.approx((0.05, 0.95))
    assert np.isnan(Bootstrapped(0.5, values).interval(0.995)).all()
    assert np.isnan(Bootstrapped(float("nan"), values[1:]).interval()).all()


def test_what_cannot_be_resampled():
    with pytest.raises(InputError, match="at least one column, found none"):
        bootstrap_interval(spearman, seed=0)
    with pytest.raises(
        InputError, match="at least one row and one resample, found 0 rows and 1000"
    ):
        bootstrap_interval(spearman, [], [], seed=0)
    with pytest.raises(InputError, match=r"resamples of 3 rows, found a column of shape \(2,\)"):
        bootstrap_interval(spearman, [1, 2, 3], [1, 2], seed=0)
    with pytest.raises(InputError, match=r"one group per row: 3 rows, found shape \(2,\)"):
        bootstrap_interval(spearman, [1, 2, 3], [1, 2, 3], groups=[0, 1], seed=0)
    with pytest.raises(InputError, match="between 0 and 1, found 95"):
        bootstrap_interval(spearman, range(5), range(5), confidence=95, seed=0)

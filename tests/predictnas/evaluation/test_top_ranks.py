from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from predictnas.errors import InputError
from predictnas.evaluation import ndcg, precision_at
from predictnas.evaluation.top_ranks import top_count

small = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=5)
gains = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30)


def test_precision_worked_by_hand():
    # The three best by target are rows 0, 1, 2; by score 0, 2, 5.
    target = [9, 8, 7, 6, 5, 4]
    scores = [5, 1, 4, 0, 2, 3]
    assert precision_at(scores, target, 0.5) == pytest.approx(2 / 3)
    assert precision_at(scores, target, 1 / 6) == 1.0
    assert precision_at(scores, target, 1.0) == 1.0
    assert precision_at([-s for s in scores], target, 1 / 6) == 0.0


@given(small, st.sampled_from([0.2, 0.4, 0.6, 1.0]))
def test_precision_is_the_mean_over_all_ways_to_break_ties(pairs, fraction):
    scores, target = np.array(pairs).T
    n = len(scores)
    k = top_count(fraction, n)

    def expected_membership(values):
        # In every order of the rows, a stable sort breaks ties by that order.
        tops = [
            {order[row] for row in np.argsort(-values[list(order)], kind="stable")[:k]}
            for order in permutations(range(n))
        ]
        return np.mean([[row in top for row in range(n)] for top in tops], axis=0)

    expected = expected_membership(scores) @ expected_membership(target) / k
    assert precision_at(scores, target, fraction) == pytest.approx(expected, abs=1e-12)


def test_a_constant_score_has_the_precision_of_chance():
    assert precision_at(np.zeros(200), np.arange(200), 0.05) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("fraction", "n", "count"), [(0.1, 200, 20), (0.01, 20, 1), (0.29, 100, 29)]
)
def test_top_count(fraction, n, count):
    assert top_count(fraction, n) == count


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan")])
def test_top_fraction_must_be_a_share(fraction):
    with pytest.raises(InputError, match=f"at most 1, found {fraction}"):
        precision_at([1, 2], [1, 2], fraction)


def test_ndcg_worked_by_hand():
    scores, relevance = [3, 2, 1], [1, 3, 2]
    dcg = 1 / 1 + 3 / np.log2(3) + 2 / 2
    ideal = 3 / 1 + 2 / np.log2(3) + 1 / 2
    assert ndcg(scores, relevance) == pytest.approx(dcg / ideal, abs=1e-15)
    assert ndcg(scores, relevance, k=1) == pytest.approx(1 / 3, abs=1e-15)


@given(gains, st.integers(1, 35))
def test_ndcg_agrees_with_scikit_learn(pairs, k):
    scores, relevance = np.array(pairs, dtype=float).T
    if relevance.any():
        expected = ndcg_score([relevance], [scores], k=k)
        assert ndcg(scores, relevance, k=k) == pytest.approx(expected, abs=1e-12)
    else:
        assert np.isnan(ndcg(scores, relevance, k=k))


def test_without_rows_quality_is_undefined():
    assert np.isnan(precision_at([], []))
    assert np.isnan(ndcg([], []))


def test_arguments_are_checked():
    with pytest.raises(InputError, match=r"found shapes \(2,\) and \(1,\)"):
        precision_at([1, 2], [1])
    with pytest.raises(InputError, match="expects finite values"):
        ndcg([1, float("nan")], [1, 2])
    with pytest.raises(InputError, match="zero or more, found -1"):
        ndcg([1, 2], [-1, 2])
    with pytest.raises(InputError, match="at least 1, found 0"):
        ndcg([1, 2], [1, 2], k=0)

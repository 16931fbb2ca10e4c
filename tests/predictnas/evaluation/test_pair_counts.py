import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from predictnas.evaluation.pair_counts import dense_ranks, pair_counts

rows = st.lists(st.tuples(st.integers(-4, 4), st.integers(-9, 9)), min_size=1, max_size=40)


@given(rows)
def test_counts_equal_the_comparison_of_all_pairs(pairs):
    x, y = np.array(pairs).T
    sign_x, sign_y = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    counts = pair_counts(dense_ranks(x), dense_ranks(y))
    np.testing.assert_array_equal(counts.balance, (sign_x * sign_y).sum(axis=1))
    np.testing.assert_array_equal(counts.untied_x, np.abs(sign_x).sum(axis=1))
    np.testing.assert_array_equal(counts.untied_y, np.abs(sign_y).sum(axis=1))


def test_dense_ranks_leave_no_gap():
    np.testing.assert_array_equal(dense_ranks(np.array([2.5, -1.0, 2.5, 7.0])), [1, 0, 1, 2])

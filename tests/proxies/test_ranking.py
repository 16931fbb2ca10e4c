import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from proxies import DEFAULT_RANKING, PROXIES, ProxyError, rank_aggregate

NUMBERS = st.lists(
    st.floats(allow_nan=False) | st.integers(-2, 2).map(float), min_size=1, max_size=20
)


def test_by_hand():
    table = {"one": [3.0, 1.0, 2.0, 2.0], "other": [4.0, 3.0, 2.0, 1.0]}
    # Ranks 4, 1, 2.5, 2.5 and, lower being better, 1, 2, 3, 4.
    expected = [
        math.log(1) + math.log(1 / 4),
        math.log(1 / 4) + math.log(2 / 4),
        math.log(2.5 / 4) + math.log(3 / 4),
        math.log(2.5 / 4) + math.log(1),
    ]
    assert rank_aggregate(table, {"one": 1, "other": -1}) == pytest.approx(expected)


def test_missing_values_rank_below_everything():
    # Ranks 1.5 (nan), 3, 1.5 (nan), 4.
    values = rank_aggregate({"one": [math.nan, -math.inf, math.nan, 0.0]}, {"one": 1})
    assert values == pytest.approx(np.log(np.array([1.5, 3, 1.5, 4]) / 4))
    lower = rank_aggregate({"one": [math.nan, -math.inf, math.nan, 0.0]}, {"one": -1})
    assert lower == pytest.approx(np.log(np.array([1.5, 4, 1.5, 3]) / 4))


@given(NUMBERS)
def test_agrees_with_scipy(values):
    expected = np.log(rankdata(values) / len(values))
    assert rank_aggregate({"snip": values}) == pytest.approx(expected)


@given(NUMBERS)
def test_depends_on_ranks_only(values):
    ranks = rankdata(values)
    assert np.array_equal(rank_aggregate({"snip": values}), rank_aggregate({"snip": ranks**3}))


def test_directions_come_from_the_registry():
    assert {PROXIES[name].direction for name in DEFAULT_RANKING} == {1}
    table = {name: [1.0, 2.0] for name in DEFAULT_RANKING}
    assert rank_aggregate(table) == pytest.approx([len(table) * math.log(0.5), 0.0])


def test_data_frames_and_chosen_columns():
    frame = pd.DataFrame({"snip": [1.0, 2.0], "arch": ["a", "b"]})
    assert rank_aggregate(frame, {"snip": 1}).tolist() == [math.log(0.5), 0.0]


def test_an_empty_pool_has_no_ranks():
    assert rank_aggregate({"snip": []}).shape == (0,)


@pytest.mark.parametrize(
    ("table", "directions", "message"),
    [
        ({}, None, "expected at least one proxy to rank by, found none"),
        ({"snap": [1.0]}, None, "unknown proxy 'snap'; choose from: params"),
        ({"snip": [1.0]}, {"zen": 1}, "expected a column 'zen'; found: snip"),
        ({"snip": [1.0]}, {"snip": 2}, "expected a direction of +1 or -1 for 'snip', found 2"),
        ({"snip": [[1.0]]}, None, "expected one value a network in 'snip', found shape (1, 1)"),
        (
            {"snip": [1.0], "zen": [1.0, 2.0]},
            None,
            "expected one value a network in 'zen', found shape (2,) beside columns of length 1",
        ),
    ],
)
def test_wrong_tables_are_one_line(table, directions, message):
    with pytest.raises(ProxyError, match=re.escape(message)):
        rank_aggregate(table, directions)

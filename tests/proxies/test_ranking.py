import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from proxies import (
    AGGREGATES,
    DEFAULT_RANKING,
    PROXIES,
    ProxyError,
    rank_aggregate,
    size_regularised,
)

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


def test_aggregates_are_made_of_proxies_that_exist():
    assert AGGREGATES["default"] == DEFAULT_RANKING
    for names in AGGREGATES.values():
        assert set(names) <= set(PROXIES)
        assert len(set(names)) == len(names)


def test_te_nas_is_worst_where_the_condition_number_is_largest():
    table = {"te_nas_condition": [10.0, 1e6, 50.0], "te_nas_regions": [7.0, 7.0, 9.0]}
    assert list(table) == list(AGGREGATES["te_nas"])
    # Ranks 3, 1, 2 and 1.5, 1.5, 3.
    expected = np.log(np.array([3, 1, 2]) / 3) + np.log(np.array([1.5, 1.5, 3]) / 3)
    assert rank_aggregate(table) == pytest.approx(expected)


def test_directions_are_declared_and_do_not_follow_the_data():
    # The mistake: the sign of a proxy's correlation is "fixed" by its absolute value.
    accuracy = np.array([0.1, 0.5, 0.9])
    misleading = -accuracy
    correlation = np.corrcoef(misleading, accuracy)[0, 1]
    assert abs(correlation) == pytest.approx(1.0)
    ranking = rank_aggregate({"naswot": misleading})
    assert np.corrcoef(ranking, accuracy)[0, 1] < 0


def test_networks_without_a_value_do_not_distort_the_others():
    # The mistake: nan replaced by −1e8, beside which standardised values are all alike.
    values = np.array([1.0, 2.0, 3.0, -1e8])
    standard = (values - values.mean()) / values.std()
    assert np.ptp(standard[:3]) < 1e-6
    known = rank_aggregate({"naswot": [1.0, 2.0, 3.0, math.nan]})
    assert known == pytest.approx(np.log(np.array([2, 3, 4, 1]) / 4))


def test_size_regularised_by_hand():
    values = size_regularised([8.0, 8.0, 4.0], [100, 300, 200], centre=100, width=2e4)
    assert values == pytest.approx([8, 8 * math.exp(-2), 4 * math.exp(-0.5)])


def test_size_regularised_keeps_what_is_undefined():
    assert np.isnan(size_regularised([math.nan], [1], centre=1, width=1)).all()


@pytest.mark.parametrize(
    ("sizes", "width", "message"),
    [
        ([1.0], 0.0, "expected a width above 0, found 0.0"),
        ([1.0], math.nan, "expected a width above 0, found nan"),
        ([1.0, 2.0], 1.0, "found scores of shape (1,) and sizes of shape (2,)"),
    ],
)
def test_wrong_regularisation_is_one_line(sizes, width, message):
    with pytest.raises(ProxyError, match=re.escape(message)):
        size_regularised([1.0], sizes, centre=1.0, width=width)

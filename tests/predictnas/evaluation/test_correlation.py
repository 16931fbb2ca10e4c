import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from predictnas.errors import InputError
from predictnas.evaluation import (
    correlate,
    kendall_interval,
    ndcg,
    precision_at,
    spearman_interval,
)

TABLE = Path(__file__).parents[3].parent / "shared" / "data" / "nasbench201_cifar10.parquet"

# Kendall's tau reported for the same proxies and cells, against labels that differ a little.
PUBLISHED = {
    "jacov": 0.632,
    "nwot": 0.603,
    "epe_nas": 0.589,
    "params": 0.568,
    "synflow": 0.536,
    "l2_norm": 0.527,
    "flops": 0.519,
    "snip": 0.400,
    "grad_norm": 0.399,
    "fisher": 0.360,
    "grasp": 0.340,
    "zen": 0.096,
    "plain": -0.244,
}


@pytest.fixture
def target():
    return np.random.default_rng(0).normal(size=60)


def test_every_column_is_measured_where_it_is_finite(target):
    noisy = target + np.random.default_rng(1).normal(size=60)
    holes = noisy.copy()
    holes[[3, 4, 10]] = np.nan, np.inf, -np.inf
    scores = pd.DataFrame({"whole": noisy, "holes": holes, "counts": noisy.round().astype(int)})
    whole, partial, counts = correlate(scores, target, confidence=0.9, top=(0.05, 0.1))
    finite = np.isfinite(holes)
    assert [result.column for result in (whole, partial, counts)] == ["whole", "holes", "counts"]
    assert (whole.n, whole.n_missing) == (60, 0)
    assert (partial.n, partial.n_missing) == (57, 3)
    x, y = holes[finite], target[finite]
    assert partial.kendall == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)
    assert partial.spearman == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    assert partial.kendall_interval == kendall_interval(x, y, confidence=0.9)
    assert partial.spearman_interval == spearman_interval(x, y, confidence=0.9)
    assert partial.precision == {
        "top 5 %": precision_at(x, y, 0.05),
        "top 10 %": precision_at(x, y, 0.1),
    }
    assert partial.ndcg == {
        "top 5 %": ndcg(x, y - y.min(), k=3),
        "top 10 %": ndcg(x, y - y.min(), k=6),
    }
    assert counts.kendall == pytest.approx(stats.kendalltau(noisy.round(), target)[0], abs=1e-12)
    assert whole.note == partial.note == ""


def test_pandas_missing_values_are_missing(target):
    column = pd.Series(target).round(2).astype("Float64").mask(np.arange(60) < 7)
    (result,) = correlate(pd.DataFrame({"score": column}), target)
    assert (result.n, result.n_missing) == (53, 7)


def test_direction_moves_the_top_but_never_the_sign(target):
    scores = pd.DataFrame({"latency": -target})
    (plain,) = correlate(scores, target)
    (known,) = correlate(scores, target, directions={"latency": -1, "not here": 1})
    assert plain.kendall == known.kendall == -1.0
    assert plain.spearman == known.spearman == -1.0
    assert plain.precision["top 10 %"] == 0.0
    assert known.precision["top 10 %"] == 1.0
    assert known.ndcg["top 10 %"] == pytest.approx(1.0)
    assert (plain.direction, known.direction) == (1, -1)


def test_groups_widen_the_intervals(target):
    scores = pd.DataFrame({"score": np.tile(target + np.sin(9 * target), 4)})
    repeated = np.tile(target, 4)
    (rows,) = correlate(scores, repeated)
    (grouped,) = correlate(scores, repeated, groups=np.tile(np.arange(60), 4))
    assert rows.kendall == grouped.kendall
    assert np.diff(grouped.kendall_interval) > 1.9 * np.diff(rows.kendall_interval)
    assert np.diff(grouped.spearman_interval) > 1.9 * np.diff(rows.spearman_interval)


@pytest.mark.parametrize(
    ("column", "note"),
    [
        (np.ones(60), "all values are equal"),
        (np.full(60, np.nan), "0 finite values"),
        (np.where(np.arange(60) < 1, 1.0, np.nan), "1 finite values"),
        (np.where(np.arange(60) < 3, np.arange(60.0), np.nan), "3 independent rows"),
    ],
)
def test_what_is_undefined_is_nan_with_a_note(column, note, target):
    (result,) = correlate(pd.DataFrame({"score": column}), target)
    assert note in result.note
    assert np.isnan(result.kendall_interval).all()
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["kendall_interval"] == [None, None]
    if "independent" not in note:
        assert np.isnan(result.kendall)
        assert np.isnan(result.spearman)
        assert plain["kendall"] is None


def test_a_constant_target_is_noted():
    (result,) = correlate(pd.DataFrame({"score": range(10)}), np.full(10, 90.0))
    assert "all targets are equal" in result.note
    assert np.isnan(result.kendall)
    assert np.isnan(result.ndcg["top 10 %"])


def test_dictionary_holds_plain_values(target):
    (result,) = correlate(pd.DataFrame({"score": target**3}), target, top=(0.1,))
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False)) == {
        "column": "score",
        "n": 60,
        "n_missing": 0,
        "kendall": 1.0,
        "kendall_interval": [1.0, 1.0],
        "spearman": 1.0,
        "spearman_interval": [1.0, 1.0],
        "precision": {"top 10 %": 1.0},
        "ndcg": {"top 10 %": 1.0},
        "direction": 1,
        "note": "",
    }


def test_arguments_are_checked(target):
    scores = pd.DataFrame({"score": target, "name": ["a"] * 60})
    numeric = scores[["score"]]
    with pytest.raises(InputError, match=r"60 rows of scores, found targets of shape \(59,\)"):
        correlate(numeric, target[1:])
    with pytest.raises(InputError, match=r"60 rows of scores, found groups of shape \(1,\)"):
        correlate(numeric, target, groups=[1])
    with pytest.raises(InputError, match=r"numeric columns, found .* in 'name'"):
        correlate(scores, target)
    with pytest.raises(InputError, match="finite targets, found 1 NaN"):
        correlate(numeric, np.where(np.arange(60) == 5, np.nan, target))
    with pytest.raises(InputError, match="direction of 'score' must be 1 or -1, found 0"):
        correlate(numeric, target, directions={"score": 0})
    with pytest.raises(InputError, match="at most 1, found 10"):
        correlate(numeric, target, top=(10,))
    with pytest.raises(InputError, match="between 0 and 1, found 1"):
        correlate(numeric, target, confidence=1)


@pytest.mark.skipif(not TABLE.exists(), reason="the development tables are not here")
def test_published_proxies_of_nasbench201():
    frame = pd.read_parquet(TABLE)
    columns = frame[[f"proxy_{name}" for name in PUBLISHED]]
    results = correlate(columns, frame["valid_accuracy"])
    for result, (name, published) in zip(results, PUBLISHED.items(), strict=True):
        assert (result.n, result.n_missing) == (9_445, 6_180)
        assert result.kendall == pytest.approx(published, abs=0.015), name
        low, high = result.kendall_interval
        assert low < result.kendall < high
        assert high - low < 0.04

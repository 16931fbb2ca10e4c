import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from predictnas.errors import InputError
from predictnas.evaluation import (
    Resamples,
    bootstrap_interval,
    correlate,
    ranking_quality,
    seed_agreement,
)


@pytest.fixture
def target():
    return np.random.default_rng(0).normal(size=200)


@pytest.fixture
def scores(target):
    return target + np.random.default_rng(1).normal(size=(3, 200))


@pytest.fixture
def resamples():
    return Resamples(200, resamples=100, seed=0)


def test_measures_are_means_over_seeds(scores, target, resamples):
    found = ranking_quality(scores, target, resamples)
    single = correlate(pd.DataFrame(scores.T), target)
    assert found.spearman.value == pytest.approx(np.mean([s.spearman for s in single]))
    assert found.kendall.value == pytest.approx(np.mean([s.kendall for s in single]))
    assert found.per_seed == tuple(s.spearman for s in single)
    for top in ("top 1 %", "top 5 %", "top 10 %"):
        precisions, gains = [s.precision[top] for s in single], [s.ndcg[top] for s in single]
        assert found.precision[top].value == pytest.approx(np.mean(precisions))
        assert found.ndcg[top].value == pytest.approx(np.mean(gains))
    best = np.argsort(target)[-20:]
    expected = [stats.spearmanr(row[best], target[best])[0] for row in scores]
    assert found.spearman_best.value == pytest.approx(np.mean(expected))
    assert (found.n, found.n_missing) == (200, 0)


def test_intervals_are_those_of_the_mean(scores, target, resamples):
    def mean(*columns):
        return np.mean([stats.spearmanr(column, columns[-1])[0] for column in columns[:-1]])

    found = ranking_quality(scores, target, resamples)
    expected = bootstrap_interval(mean, *scores, target, resamples=100, seed=0)
    np.testing.assert_allclose(found.spearman.interval(), expected, atol=1e-12)


def test_direction_turns_the_scores(scores, target, resamples):
    plain = ranking_quality(scores, target, resamples)
    turned = ranking_quality(-scores, target, resamples, direction=-1)
    assert turned.to_dict() == plain.to_dict()
    wrong = ranking_quality(-scores, target, resamples)
    assert wrong.spearman.value == pytest.approx(-plain.spearman.value)
    assert wrong.precision["top 10 %"].value < plain.precision["top 10 %"].value


def test_rows_undefined_at_some_seed_are_left_out(scores, target, resamples):
    scores[0, 3], scores[2, [7, 9]] = np.nan, np.inf
    found = ranking_quality(scores, target, resamples)
    assert (found.n, found.n_missing) == (197, 3)
    kept = np.delete(np.arange(200), [3, 7, 9])
    expected = [stats.kendalltau(row[kept], target[kept])[0] for row in scores]
    assert found.kendall.value == pytest.approx(np.mean(expected))


def test_undefined_measures_are_null_in_json(target, resamples):
    found = ranking_quality(np.full((1, 200), np.nan), target, resamples).to_dict()
    assert (found["n"], found["n_missing"]) == (0, 200)
    assert found["spearman"] == {"value": None, "low": None, "high": None}
    assert found["precision"]["top 1 %"]["value"] is None
    assert found["agreement"] is None
    assert "NaN" not in json.dumps(found)


def test_agreement_is_the_mean_over_pairs_of_seeds(scores):
    pairs = [(0, 1), (0, 2), (1, 2)]
    taus = [stats.kendalltau(scores[a], scores[b])[0] for a, b in pairs]
    assert seed_agreement(scores) == pytest.approx(np.mean(taus))
    assert seed_agreement([[1, 2, np.nan, 3], [1, 2, 0, 3]]) == 1.0
    assert np.isnan(seed_agreement(scores[:1]))


def test_shapes_and_directions_are_checked(scores, target, resamples):
    with pytest.raises(InputError, match=r"shape \(seeds, rows\).*found shape \(200,\)"):
        ranking_quality(scores[0], target, resamples)
    with pytest.raises(InputError, match=r"each of 200 rows of scores, found shape \(199,\)"):
        ranking_quality(scores, target[1:], resamples)
    target[0] = np.nan
    with pytest.raises(InputError, match="with 1 NaN or infinite"):
        ranking_quality(scores, target, resamples)
    with pytest.raises(InputError, match="must be 1 or -1, found 0"):
        ranking_quality(scores, np.zeros(200), resamples, direction=0)

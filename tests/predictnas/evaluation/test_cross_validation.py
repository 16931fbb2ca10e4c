import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import BayesianRidge

from predictnas.errors import InputError
from predictnas.evaluation import calibration, correlate, cross_validate


class Memory(BaseEstimator):
    """Knows the targets of the features it was fitted to and nothing else."""

    def fit(self, X, y):
        self.seen_ = dict(zip(X["feature"], y, strict=True))
        return self

    def predict(self, X, return_std=False):
        mean = np.array([self.seen_.get(value, 0.0) for value in X["feature"]])
        return (mean, np.ones(len(X))) if return_std else mean


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    y = X["a"] - 2 * X["b"] + 0.5 * rng.normal(size=60)
    keys = [f"key {row // 2}" for row in range(60)]
    return X, y, keys


def test_forecasts_are_those_of_a_predictor_fitted_to_the_other_folds(data):
    X, y, keys = data
    result = cross_validate(BayesianRidge(), X, y, keys, folds=4)
    assert result.folds == 4
    for number in range(4):
        held_out = result.fold == number
        fitted = BayesianRidge().fit(X[~held_out], y[~held_out])
        mean, std = fitted.predict(X[held_out], return_std=True)
        np.testing.assert_array_equal(result.mean[held_out], mean)
        np.testing.assert_array_equal(result.std[held_out], std)
    assert result.calibration == calibration(y, result.mean, result.std)
    (expected,) = correlate(pd.DataFrame({"prediction": result.mean}), y, groups=keys, top=(0.1,))
    assert result.correlation == expected
    assert result.kendall == expected.kendall > 0.7
    assert result.spearman == expected.spearman


def test_twins_never_straddle_folds():
    # Seen in training, a twin would give every target away.
    y = np.arange(40.0)
    twins = pd.DataFrame({"feature": np.repeat(np.arange(20), 2)})
    result = cross_validate(Memory(), twins, np.repeat(y[:20], 2), twins["feature"])
    assert (result.mean == 0).all()
    assert (result.fold[0::2] == result.fold[1::2]).all()
    assert np.isnan(result.kendall)
    leaking = cross_validate(Memory(), twins, np.repeat(y[:20], 2), np.arange(40))
    assert leaking.kendall > 0


def test_folds_follow_the_seed_and_hold_as_many_architectures_each(data):
    X, y, keys = data
    first = cross_validate(BayesianRidge(), X, y, keys, seed=1)
    again = cross_validate(BayesianRidge(), X, y, keys, seed=1)
    other = cross_validate(BayesianRidge(), X, y, keys, seed=2)
    np.testing.assert_array_equal(first.mean, again.mean)
    assert (first.fold != other.fold).any()
    np.testing.assert_array_equal(np.bincount(first.fold), [12] * 5)


def test_predictor_is_left_as_it_is_and_progress_reported(data):
    X, y, keys = data
    predictor = BayesianRidge()
    done = []
    cross_validate(
        predictor, X, y, keys, folds=3, on_fold=lambda number, of: done.append((number, of))
    )
    assert not hasattr(predictor, "coef_")
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_dictionary_is_json(data):
    plain = cross_validate(BayesianRidge(), *data).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["folds"] == 5
    assert set(plain["correlation"]["precision"]) == {"top 10 %"}
    assert set(plain["calibration"]["coverage"]) == {"50 %", "80 %", "90 %", "95 %"}


def test_arguments_are_checked(data):
    X, y, keys = data
    with pytest.raises(InputError, match=r"60 rows, found shapes \(59,\) and \(60,\)"):
        cross_validate(BayesianRidge(), X, y[1:], keys)
    with pytest.raises(InputError, match="at least 2 folds, found 1"):
        cross_validate(BayesianRidge(), X, y, keys, folds=1)
    with pytest.raises(InputError, match="5 folds needs as many distinct architectures, found 2"):
        cross_validate(BayesianRidge(), X, y, [row % 2 for row in range(60)])

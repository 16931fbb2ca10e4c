import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import NotFittedError

from predictnas.predictors import ForestPredictor, GPPredictor, MLPEnsemble
from predictnas.predictors.inputs import read_inputs
from predictnas.predictors.leave_out import leave_out


def conditioned(covariance, targets, mean, rows):
    """Mean and variances of labels given all others, by conditioning from scratch."""
    others = np.setdiff1d(np.arange(len(targets)), rows)
    solved = cho_solve(cho_factor(covariance[np.ix_(others, others)]), covariance[others][:, rows])
    means = mean + solved.T @ (targets[others] - mean)
    return means, (covariance[np.ix_(rows, rows)] - covariance[rows][:, others] @ solved).diagonal()


@pytest.mark.parametrize("groups", [np.arange(9), np.array([0, 1, 1, 2, 3, 3, 3, 4, 5])])
def test_closed_form_is_conditioning_on_the_other_groups(groups):
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(9, 12))
    covariance, targets, mean = factor @ factor.T + 0.3 * np.eye(9), rng.normal(size=9), 0.4
    cholesky = np.linalg.cholesky(covariance)
    weights = np.linalg.solve(covariance, targets - mean)
    residuals, variances = leave_out(cholesky, weights, groups)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        means, expected = conditioned(covariance, targets, mean, rows)
        np.testing.assert_allclose(residuals[rows], targets[rows] - means, atol=1e-10)
        np.testing.assert_allclose(variances[rows], expected, rtol=1e-10)


def test_gaussian_process_without_a_label_predicts_what_it_says_held_out(cells):
    table, accuracy = cells(20, noise=0.4)
    rows = np.array([*range(20), 3, 3])  # an architecture with three labels
    targets = np.append(accuracy[rows[:20]], accuracy[3] + np.array([-0.5, 0.8]))
    predictor = GPPredictor(warp="none").fit(table.iloc[rows], targets)
    mean, std = predictor.held_out_predictions()
    inputs = read_inputs(table.iloc[rows])
    warped = predictor.warp_.transform(targets)
    for left in (np.array([7]), np.flatnonzero(rows == 3)):
        kept = np.setdiff1d(np.arange(22), left)
        covariance = predictor.cholesky_ @ predictor.cholesky_.T
        expected = conditioned(covariance, warped, predictor.mean_, left)
        assert len(kept) + len(left) == len(inputs)
        moments = predictor.warp_.moments(expected[0], np.sqrt(expected[1]))
        np.testing.assert_allclose((mean[left], std[left]), moments, rtol=1e-8)


def test_held_out_predictions_of_a_forest_are_its_out_of_bag_predictions(cells):
    table, accuracy = cells(60, noise=0.4)
    predictor = ForestPredictor(warp="none", trees=40).fit(table, accuracy)
    mean, std = predictor.held_out_predictions()
    matrix = predictor.features_.transform(read_inputs(table))
    forest = ExtraTreesRegressor(
        40, max_features=1 / 3, bootstrap=True, oob_score=True, random_state=0
    ).fit(matrix, predictor.warp_.transform(accuracy))
    expected = predictor.warp_.inverse(forest.oob_prediction_)
    # Without those that have isomorphic twins here, which scikit-learn knows nothing of.
    single = np.bincount(predictor.architectures_)[predictor.architectures_] == 1
    assert 30 < single.sum() < 60
    np.testing.assert_allclose(mean[single], expected[single], rtol=1e-6)
    assert np.mean((mean - accuracy) ** 2 / std**2) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("make", [GPPredictor, ForestPredictor, MLPEnsemble])
def test_held_out_predictions_are_worse_than_those_of_what_was_seen(make, cells):
    table, accuracy = cells(80, noise=0.6)
    predictor = make().fit(table, accuracy)
    mean, std = predictor.held_out_predictions()
    seen = np.mean((predictor.predict(table) - accuracy) ** 2)
    held_out = np.mean((mean - accuracy) ** 2)
    assert seen < held_out < np.var(accuracy)
    assert (std > 0).all()


@pytest.mark.parametrize("make", [GPPredictor, ForestPredictor, MLPEnsemble])
def test_copies_of_an_architecture_do_not_help_one_another(make, cells):
    table, _ = cells(40)
    rows = np.repeat(np.arange(40), 3)
    luck = np.random.default_rng(0).normal(size=40)  # nothing that features could tell
    mean, _ = make(warp="none").fit(table.iloc[rows], luck[rows]).held_out_predictions()
    known = np.isfinite(mean)
    assert known.mean() > 0.5
    assert np.corrcoef(mean[known], luck[rows][known])[0, 1] < 0.5


def test_nothing_is_held_out_of_one_label(cells):
    table, accuracy = cells(1)
    for make in (ForestPredictor, MLPEnsemble):
        mean, std = make().fit(table, accuracy).held_out_predictions()
        assert np.isnan(mean).all()
        assert np.isnan(std).all()


def test_not_fitted(cells):
    with pytest.raises(NotFittedError, match="not fitted"):
        GPPredictor().held_out_predictions()

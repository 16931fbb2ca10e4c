import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from encoders import ArchGraph
from predictnas.predictors import ForestPredictor
from predictnas.predictors.forest import _seen
from predictnas.predictors.inputs import read_inputs
from predictnas.predictors.trees import Trees


@pytest.fixture(scope="module")
def forest():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((80, 4))
    targets = rows[:, 0] * rows[:, 1] + 0.1 * rng.standard_normal(80)
    return ExtraTreesRegressor(
        n_estimators=15, bootstrap=True, min_samples_leaf=3, random_state=0
    ).fit(rows, targets)


def test_extracted_trees_are_those_of_scikit_learn(forest):
    trees = Trees.extract(forest.estimators_)
    rows = np.random.default_rng(1).standard_normal((1300, 4))
    leaves = trees.leaves(rows)
    np.testing.assert_array_equal(leaves - trees.roots, forest.apply(rows))
    np.testing.assert_allclose(trees.means[leaves].mean(axis=1), forest.predict(rows), rtol=1e-12)


def test_variance_in_a_leaf_is_that_of_its_targets():
    rows = np.array([[0.0], [0.0], [0.0], [1.0]])
    targets = np.array([1.0, 2.0, 6.0, 9.0])
    forest = ExtraTreesRegressor(n_estimators=3, random_state=0).fit(rows, targets)
    trees = Trees.extract(forest.estimators_)
    leaves = trees.leaves(rows)
    np.testing.assert_allclose(trees.means[leaves[:, 0]], [3.0, 3.0, 3.0, 9.0])
    np.testing.assert_allclose(trees.variances[leaves[:, 0]], [14 / 3, 14 / 3, 14 / 3, 0.0])


def test_law_of_total_variance_by_hand():
    # Two stumps at zero: the first says 1 or 3 (variance 0.5 each), the second 2 or 2 (0.1 each).
    trees = Trees(
        roots=np.array([0, 3]),
        columns=np.zeros(6, dtype=np.int64),
        thresholds=np.zeros(6),
        left=np.array([1, 1, 2, 4, 4, 5]),
        right=np.array([2, 1, 2, 5, 4, 5]),
        means=np.array([0.0, 1.0, 3.0, 0.0, 2.0, 2.0]),
        variances=np.array([0.0, 0.5, 0.5, 0.0, 0.1, 0.1]),
        depth=1,
    )
    x = np.array([[-1.0], [0.0], [1.0]])
    predictor = ForestPredictor(warp="none").fit(x, x[:, 0])
    predictor.trees_, predictor.noise_, predictor.factor_ = trees, 0.25, 2.0
    mean, std = predictor._predict(read_inputs(x))
    np.testing.assert_allclose(mean, [1.5, 1.5, 2.5])
    np.testing.assert_allclose(std, np.sqrt(0.25 + 2.0 * (0.5 + 0.3)))
    # The posterior's trees lie at a distance from their mean that is scaled to the factor.
    values = predictor._posterior_over(read_inputs(x))(slice(None)).values
    np.testing.assert_allclose(values[:, 0, 0], 1.5 + np.sqrt(2) * np.array([-0.5, 0.5]))


def test_copies_of_an_architecture_are_seen_together():
    conv = ArchGraph(("input", "conv", "output"), ((0, 1), (1, 2)))
    pool = ArchGraph(("input", "pool", "output"), ((0, 1), (1, 2)))
    relabelled = ArchGraph(("conv", "input", "output"), ((1, 0), (0, 2)))
    inputs = read_inputs(pd.DataFrame({"graph": [conv, pool, relabelled]}))
    seen = _seen(inputs, [np.array([0, 0, 0]), np.array([1, 1, 1]), np.array([2, 1, 1])])
    np.testing.assert_array_equal(
        seen, [[True, False, True], [False, True, True], [True, False, True]]
    )


def test_calibration_uses_labels_that_trees_did_not_see(cells):
    # Pure noise: trees fit it, but know from unseen labels that they predict nothing.
    table, _ = cells(260)
    targets = np.random.default_rng(0).standard_normal(260)
    mean, std = ForestPredictor().fit(table[:60], targets[:60]).predict(table[60:], return_std=True)
    assert np.mean(np.abs(mean - targets[60:]) < 1.645 * std) == pytest.approx(0.9, abs=0.06)

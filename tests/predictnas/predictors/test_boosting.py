import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from predictnas.predictors import BoostingPredictor
from predictnas.predictors.ensemble import left_out
from predictnas.predictors.inputs import read_inputs


def test_members_are_those_of_scikit_learn(cells):
    table, accuracy = cells(50, noise=0.3)
    predictor = BoostingPredictor(
        trees=12, folds=3, repeats=2, depth=4, subsample=1.0, random_state=5
    )
    predictor.fit(table[:40], accuracy[:40])
    rows = predictor.features_.transform(read_inputs(table))
    targets = predictor.warp_.transform(accuracy[:40])
    generator = np.random.default_rng(5)
    held_out = left_out(predictor.architectures_, 3, 2, generator)
    expected = []
    for left, seed in zip(held_out, generator.integers(2**31, size=6), strict=True):
        member = GradientBoostingRegressor(
            n_estimators=12, max_depth=4, max_features=0.2, random_state=int(seed)
        )
        expected.append(member.fit(rows[:40][~left], targets[~left]).predict(rows))
    members, stated = predictor._members(read_inputs(table))
    np.testing.assert_allclose(members, expected, rtol=1e-8, atol=1e-10)
    assert not stated.any()


def test_every_tree_is_grown_on_a_part_of_its_own(cells):
    rows = np.random.default_rng(0).standard_normal((40, 1)).astype(np.float32)
    # Single trees down to single labels: what a tree does not know exactly, it was not grown on.
    predictor = BoostingPredictor(trees=20, depth=40, subsample=0.7, max_features=1.0)
    rest = np.random.default_rng(1).standard_normal(40)
    rest -= rest.mean()
    counts = np.zeros(40)
    for tree in predictor._grown(rows, rest, 3):
        predicted = tree.predict(rows)
        known = np.isclose(predicted, rest, rtol=1e-12, atol=1e-12)
        assert known.sum() == tree.tree_.n_node_samples[0] == 28
        counts += known
        rest = rest - predictor.learning_rate * predicted
    assert counts.min() >= 6
    assert counts.max() < 20


def test_calibration_uses_labels_that_members_did_not_see(cells):
    # Pure noise: trees fit it, but know from unseen labels that they predict nothing.
    table, _ = cells(260)
    targets = np.random.default_rng(0).standard_normal(260)
    predictor = BoostingPredictor().fit(table[:60], targets[:60])
    mean, std = predictor.predict(table[60:], return_std=True)
    assert np.mean(np.abs(mean - targets[60:]) < 1.645 * std) == pytest.approx(0.9, abs=0.06)

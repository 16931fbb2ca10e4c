"""Masks of leaves against scikit-learn's trees, of every size of mask, and the way around them."""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from predictnas.predictors.leaf_masks import LeafMasks
from predictnas.predictors.trees import Trees


@pytest.fixture
def rows():
    # Few different values a column: rows lie on thresholds, and trees ask the same questions.
    return np.random.default_rng(0).integers(0, 5, size=(300, 6)) / 3


def grown(rows, leaves, count=6):
    rng = np.random.default_rng(1)
    trees = [DecisionTreeRegressor(max_leaf_nodes=leaves, random_state=s) for s in range(count)]
    return [tree.fit(rows, rng.normal(size=len(rows))) for tree in trees]


@pytest.mark.parametrize(
    ("leaves", "kind"),
    [(2, np.uint8), (8, np.uint8), (9, np.uint16), (30, np.uint32), (64, np.uint64)],
)
def test_sums_are_those_of_scikit_learn(rows, leaves, kind):
    trees = grown(rows, leaves)
    masks = LeafMasks.of(Trees.extract(trees))
    assert masks.masks.dtype == kind
    new = np.random.default_rng(2).normal(1, 1, size=(17000, 6))
    for matrix in (rows, new):
        predicted = np.array([tree.predict(matrix) for tree in trees])
        expected = predicted.reshape(2, 3, -1).sum(axis=1)
        np.testing.assert_allclose(masks.sums(matrix, 2), expected, rtol=1e-12, atol=1e-12)


def test_a_tree_without_a_decision(rows):
    trees = [DecisionTreeRegressor().fit(rows, np.full(len(rows), 3.0)), *grown(rows, 4, 1)]
    masks = LeafMasks.of(Trees.extract(trees))
    expected = [tree.predict(rows) for tree in trees]
    np.testing.assert_allclose(masks.sums(rows, 2), expected, rtol=1e-12)


def test_trees_of_more_leaves_have_no_masks(rows):
    trees = grown(rows, 65, 2)
    extracted = Trees.extract(trees)
    assert LeafMasks.of(extracted) is None
    expected = [tree.predict(rows) for tree in trees]
    np.testing.assert_allclose(extracted.sums(rows, 2), expected, rtol=1e-12)

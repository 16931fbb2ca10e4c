"""The forest predictor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.calibration import calibrate
from predictnas.predictors.checks import check_number, check_whole_number
from predictnas.predictors.ensemble import EnsemblePredictor
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import Inputs

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor

__all__ = ["ForestPredictor", "Trees"]

# Rows that go through all trees at once; more would leave the processor's cache.
CHUNK_ROWS = 512


@dataclass(frozen=True, eq=False)
class Trees:
    """The trees of a forest as arrays over all their nodes.

    Attributes
    ----------
    roots
        The node at which each of the `s` trees starts, shape ``(s,)``.
    columns, thresholds
        A row goes left at a node if its column is at most the threshold, shape ``(nodes,)``.
    left, right
        The children of every node; a leaf is its own child.
    means, variances
        Mean and variance of the training targets at every node.
    depth
        The number of decisions on the longest path.
    """

    roots: NDArray[np.int64]
    columns: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    depth: int

    @classmethod
    def extract(cls, forest: "ExtraTreesRegressor") -> Self:
        """Take the trees out of a fitted scikit-learn forest."""
        trees = [estimator.tree_ for estimator in forest.estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1].astype(np.int64)

        def joined(name: str) -> NDArray[np.float64]:
            return np.concatenate([np.asarray(getattr(tree, name)).reshape(-1) for tree in trees])

        offsets = np.repeat(roots, [tree.node_count for tree in trees])
        left = joined("children_left").astype(np.int64)
        right = joined("children_right").astype(np.int64)
        leaf = left < 0
        itself = np.arange(len(leaf))
        return cls(
            roots=roots,
            columns=np.where(leaf, 0, joined("feature")).astype(np.int64),
            thresholds=joined("threshold"),
            left=np.where(leaf, itself, left + offsets),
            right=np.where(leaf, itself, right + offsets),
            means=joined("value"),
            variances=joined("impurity"),
            depth=max(int(tree.max_depth) for tree in trees),
        )

    def leaves(self, matrix: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the leaf of every row in every tree, shape ``(n, s)``."""
        # scikit-learn's trees compare single-precision features.
        single = matrix.astype(np.float32)
        return np.concatenate(
            [
                self._descend(single[start : start + CHUNK_ROWS])
                for start in range(0, len(single), CHUNK_ROWS)
            ]
        )

    def _descend(self, matrix: NDArray[np.float32]) -> NDArray[np.int64]:
        rows = np.arange(len(matrix))[:, None]
        nodes = np.broadcast_to(self.roots, (len(matrix), len(self.roots)))
        for _ in range(self.depth):
            goes_left = matrix[rows, self.columns[nodes]] <= self.thresholds[nodes]
            nodes = np.where(goes_left, self.left[nodes], self.right[nodes])
        return nodes


class ForestPredictor(EnsemblePredictor):
    """Extremely randomised trees on bootstrap samples, with variance from leaves and trees.

    Each tree is grown on a bootstrap sample, with random thresholds and a random subset of columns
    at every node. The variance of a prediction is that between the trees plus the mean variance of
    the targets in a leaf (Hutter et al.), scaled by `calibrate` to the residuals of the trees that
    did not see a label. Architectures that occur several times count as unseen only if no copy was
    drawn.

    Parameters
    ----------
    encoding
        One or several names of `encoders.ENCODERS`; an empty tuple to leave the graph out.
    operations
        The operations that graphs may carry (`Space.operations`); None takes those of the
        training graphs.
    warp
        The warp of the targets: ``"yeo-johnson"`` or ``"none"``.
    trees
        The number of trees, at least 2.
    max_features
        The fraction of columns looked at in every node, in (0, 1].
    min_samples_leaf
        The smallest number of labels in a leaf.
    random_state
        The seed.

    Attributes
    ----------
    features_ : Features
        The map from tables to rows.
    trees_ : Trees
        The trees.
    noise_, factor_ : float
        See `EnsemblePredictor`.

    References
    ----------
    P. Geurts, D. Ernst, L. Wehenkel. Extremely randomized trees. Machine Learning 63, 2006.
    F. Hutter, L. Xu, H. Hoos, K. Leyton-Brown. Algorithm runtime prediction: methods and
    evaluation. Artificial Intelligence 206, 2014 (arXiv:1211.0906), section 4.3.2.
    """

    def __init__(
        self,
        encoding: str | Sequence[str] = ("adjacency", "path"),
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        trees: int = 100,
        max_features: float = 1 / 3,
        min_samples_leaf: int = 1,
        random_state: int = 0,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.trees = trees
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.random_state = random_state

    def _check_parameters(self) -> None:
        check_whole_number("trees", self.trees, 2)
        check_number("max_features", self.max_features, 0.0, 1.0)
        check_whole_number("min_samples_leaf", self.min_samples_leaf, 1)
        check_whole_number("random_state", self.random_state, 0)

    def _fit(self, inputs: Inputs, targets: NDArray[np.float64]) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        self.features_ = Features.learn(inputs, self.encoding, self.operations)
        matrix = self.features_.transform(inputs)
        forest = ExtraTreesRegressor(
            n_estimators=self.trees,
            max_features=float(self.max_features),
            min_samples_leaf=self.min_samples_leaf,
            bootstrap=True,
            random_state=self.random_state,
        ).fit(matrix, targets)
        self.trees_ = Trees.extract(forest)
        seen = _seen(inputs, forest.estimators_samples_)
        residuals, spreads = self._unseen_errors(matrix, targets, seen)
        self.noise_, self.factor_ = calibrate(residuals, spreads)

    def _unseen_errors(
        self,
        matrix: NDArray[np.float64],
        targets: NDArray[np.float64],
        seen: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return residuals and spreads of trees that have not seen a label, where there are two."""
        leaves = self.trees_.leaves(matrix)
        unseen = ~seen
        rows = unseen.sum(axis=1) >= 2
        weights = unseen[rows] / unseen[rows].sum(axis=1, keepdims=True)
        predictions = self.trees_.means[leaves[rows]]
        mean = (weights * predictions).sum(axis=1)
        between = (weights * (predictions - mean[:, None]) ** 2).sum(axis=1)
        between /= 1 - (weights**2).sum(axis=1)
        within = (weights * self.trees_.variances[leaves[rows]]).sum(axis=1)
        return targets[rows] - mean, between + within

    def _members(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        leaves = self.trees_.leaves(self.features_.transform(inputs))
        return self.trees_.means[leaves].T, self.trees_.variances[leaves].mean(axis=1)


def _seen(inputs: Inputs, samples: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
    """Return whether a tree saw a row, or a copy of its architecture, shape ``(n, s)``."""
    _, group = np.unique(inputs.identities(), return_inverse=True)
    drawn = np.zeros((int(group.max()) + 1, len(samples)), dtype=np.bool_)
    for tree, rows in enumerate(samples):
        drawn[group[rows], tree] = True
    return drawn[group]

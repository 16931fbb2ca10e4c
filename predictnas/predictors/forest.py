"""The forest predictor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.checks import check_number, check_whole_number
from predictnas.predictors.ensemble import EnsemblePredictor
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import Inputs
from predictnas.predictors.suggestions import suggest_encoding
from predictnas.predictors.trees import Trees

if TYPE_CHECKING:
    from optuna import Trial

__all__ = ["ForestPredictor"]


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
    noise_, factor_, held_out_, held_out_excess_
        See `EnsemblePredictor`.

    References
    ----------
    P. Geurts, D. Ernst, L. Wehenkel. Extremely randomized trees. Machine Learning 63, 2006.
    F. Hutter, L. Xu, H. Hoos, K. Leyton-Brown. Algorithm runtime prediction: methods and
    evaluation. Artificial Intelligence 206, 2014 (arXiv:1211.0906), section 4.3.2.
    """

    def __init__(
        self,
        encoding: str | Sequence[str] = ("graf",),
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

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Suggest parameters to try instead of these."""
        return {
            "encoding": suggest_encoding(trial),
            "max_features": trial.suggest_float("max_features", 0.1, 1.0),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 4),
        }

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
        self.trees_ = Trees.extract(forest.estimators_)
        seen = _seen(inputs, forest.estimators_samples_)
        self._calibrate(targets, *self._unseen(matrix, seen))

    def _unseen(
        self, matrix: NDArray[np.float64], seen: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and spread of the trees that did not see a label, NaN without two of them."""
        means, spreads = np.full((2, len(matrix)), np.nan)
        leaves = self.trees_.leaves(matrix)
        unseen = ~seen
        rows = unseen.sum(axis=1) >= 2
        weights = unseen[rows] / unseen[rows].sum(axis=1, keepdims=True)
        predictions = self.trees_.means[leaves[rows]]
        mean = (weights * predictions).sum(axis=1)
        between = (weights * (predictions - mean[:, None]) ** 2).sum(axis=1)
        between /= 1 - (weights**2).sum(axis=1)
        within = (weights * self.trees_.variances[leaves[rows]]).sum(axis=1)
        means[rows], spreads[rows] = mean, between + within
        return means, spreads

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

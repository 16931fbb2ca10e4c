"""The ensemble of gradient-boosted trees."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.checks import check_number, check_whole_number
from predictnas.predictors.ensemble import (
    EnsemblePredictor,
    excess_share,
    left_out,
    unseen,
)
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import Inputs
from predictnas.predictors.suggestions import suggest_encoding
from predictnas.predictors.trees import Trees

if TYPE_CHECKING:
    from optuna import Trial
    from sklearn.tree import DecisionTreeRegressor

__all__ = ["BoostingPredictor"]


class BoostingPredictor(EnsemblePredictor):
    """Gradient-boosted regression trees on the squared error of warped targets, several times.

    The training architectures are split into folds, several times over; each member leaves one
    fold out, grows every tree on a random part of the labels it has left, and looks at a random
    part of the columns in every node. Copies of an architecture stay in one fold. What members
    predict of labels that they did not see calibrates the variance, see `EnsemblePredictor`.

    Parameters
    ----------
    encoding
        One or several names of `encoders.ENCODERS`; an empty tuple to leave the graph out.
    operations
        The operations that graphs may carry (`Space.operations`); None takes those of the
        training graphs.
    warp
        The warp of the targets: ``"yeo-johnson"`` or ``"none"``.
    folds
        The number of folds of a split, at least 2; as many as architectures where these are fewer.
    repeats
        The number of splits, at least 2. There are ``folds * repeats`` members.
    trees
        The number of trees of a member.
    learning_rate
        How much of a tree's prediction is added.
    depth
        The number of decisions on the longest path of a tree.
    min_samples_leaf
        The smallest number of labels in a leaf.
    subsample
        The fraction of labels that a tree is grown on, in (0, 1].
    max_features
        The fraction of columns looked at in every node, in (0, 1].
    random_state
        The seed.

    Attributes
    ----------
    features_ : Features
        The map from tables to rows.
    trees_ : Trees
        The trees of all members, one member after the other.
    starts_ : array ``(s,)``
        What members predict before their first tree.
    noise_, factor_, held_out_, held_out_excess_
        See `EnsemblePredictor`.

    References
    ----------
    J. H. Friedman. Stochastic gradient boosting. Computational Statistics and Data Analysis 38,
    2002.
    """

    def __init__(
        self,
        encoding: str | Sequence[str] = ("graf",),
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        folds: int = 5,
        repeats: int = 3,
        trees: int = 100,
        learning_rate: float = 0.1,
        depth: int = 3,
        min_samples_leaf: int = 1,
        subsample: float = 0.7,
        max_features: float = 0.2,
        random_state: int = 0,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.folds = folds
        self.repeats = repeats
        self.trees = trees
        self.learning_rate = learning_rate
        self.depth = depth
        self.min_samples_leaf = min_samples_leaf
        self.subsample = subsample
        self.max_features = max_features
        self.random_state = random_state

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Suggest parameters to try instead of these."""
        return {
            "encoding": suggest_encoding(trial),
            "trees": trial.suggest_int("trees", 50, 300, step=50),
            "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.2, log=True),
            "depth": trial.suggest_int("depth", 2, 5),
            "subsample": trial.suggest_float("subsample", 0.4, 1.0),
            "max_features": trial.suggest_float("max_features", 0.1, 1.0, log=True),
        }

    def _check_parameters(self) -> None:
        check_whole_number("folds", self.folds, 2)
        check_whole_number("repeats", self.repeats, 2)
        check_whole_number("trees", self.trees, 1)
        check_number("learning_rate", self.learning_rate, 0.0, 1.0)
        check_whole_number("depth", self.depth, 1)
        check_whole_number("min_samples_leaf", self.min_samples_leaf, 1)
        check_number("subsample", self.subsample, 0.0, 1.0)
        check_number("max_features", self.max_features, 0.0, 1.0)
        check_whole_number("random_state", self.random_state, 0)

    def _fit(self, inputs: Inputs, targets: NDArray[np.float64]) -> None:
        self.features_ = Features.learn(inputs, self.encoding, self.operations)
        matrix = self.features_.transform(inputs)
        generator = np.random.default_rng(self.random_state)
        held_out = left_out(self.architectures_, self.folds, self.repeats, generator)
        seeds = generator.integers(2**31, size=len(held_out)).tolist()
        # scikit-learn's trees compare single-precision features.
        rows = matrix.astype(np.float32)
        estimators: list[DecisionTreeRegressor] = []
        for left, seed in zip(held_out, seeds, strict=True):
            estimators += self._grown(rows[~left], targets[~left], seed)
        self.trees_ = Trees.extract(estimators)
        # A member starts from the mean of its labels.
        self.starts_ = np.array([targets[~left].mean() for left in held_out])
        self._calibrate(
            targets,
            *unseen(self._outputs(matrix), held_out, self.repeats),
            excess_share(held_out, self.repeats),
        )

    def _grown(
        self, rows: NDArray[np.float32], targets: NDArray[np.float64], seed: int
    ) -> "list[DecisionTreeRegressor]":
        """Grow the trees of a member.

        They are distributed as those of scikit-learn's ``GradientBoostingRegressor``, which takes
        twice as long: it weighs all rows for each tree, and checks the weights.
        """
        from sklearn import config_context
        from sklearn.tree import DecisionTreeRegressor

        stream = np.random.RandomState(seed)
        count = max(1, int(self.subsample * len(targets)))
        outputs = np.full(len(targets), targets.mean())
        trees = []
        # Parameters are known to be sound; checking them for every tree takes long.
        with config_context(assume_finite=True, skip_parameter_validation=True):
            for _ in range(self.trees):
                part = np.arange(len(targets))
                if count < len(targets):
                    part = stream.permutation(len(targets))[:count]
                tree = DecisionTreeRegressor(
                    max_depth=self.depth,
                    min_samples_leaf=self.min_samples_leaf,
                    max_features=float(self.max_features),
                    random_state=stream,
                ).fit(rows[part], (targets - outputs)[part], check_input=False)
                outputs += self.learning_rate * tree.tree_.predict(rows)[:, 0]
                trees.append(tree)
        return trees

    def _outputs(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the outputs of all members, shape ``(s, n)``."""
        sums = self.trees_.sums(matrix, len(self.starts_))
        return self.starts_[:, None] + self.learning_rate * sums

    def _members(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._outputs(self.features_.transform(inputs)), np.zeros(len(inputs))

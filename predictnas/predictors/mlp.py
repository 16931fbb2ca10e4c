"""The ensemble of multilayer perceptrons."""

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

if TYPE_CHECKING:
    from optuna import Trial

__all__ = ["MLPEnsemble"]

# Rows that go through all members at once; more would leave the processor's cache.
CHUNK_ROWS = 256


class MLPEnsemble(EnsemblePredictor):
    """An ensemble of small multilayer perceptrons, as in BANANAS, on features of the graph.

    The training architectures are split into folds, several times over; each member starts from
    weights of its own and leaves one fold out, so that every label has members that did not see
    it. Their mean error on it says when to stop training, and calibrates the variance, see
    `EnsemblePredictor`. Copies of an architecture stay in one fold. All members train at once, as
    one batched program, by Adam on the squared error with a cosine schedule, in single precision;
    everything else is double.

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
    width, depth
        Units in a hidden layer, and the number of hidden layers.
    learning_rate
        The first step size of Adam.
    steps
        The number of steps.
    batch_size
        The number of labels that a member sees in a step, all of them where there are fewer.
    random_state
        The seed.

    Attributes
    ----------
    features_ : Features
        The map from tables to rows.
    layers_ : tuple of arrays
        Weights ``(s, inputs, outputs)`` and biases ``(s, 1, outputs)`` of the layers, in turn.
    noise_, factor_, held_out_, held_out_excess_
        See `EnsemblePredictor`.

    References
    ----------
    C. White, W. Neiswanger, Y. Savani. BANANAS: Bayesian optimization with neural architectures
    for neural architecture search. AAAI 2021 (arXiv:1910.11858).
    B. Lakshminarayanan, A. Pritzel, C. Blundell. Simple and scalable predictive uncertainty
    estimation using deep ensembles. NeurIPS 2017 (arXiv:1612.01474).
    """

    def __init__(
        self,
        encoding: str | Sequence[str] = ("graf",),
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        folds: int = 5,
        repeats: int = 3,
        width: int = 64,
        depth: int = 2,
        learning_rate: float = 0.01,
        steps: int = 200,
        batch_size: int = 128,
        random_state: int = 0,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.folds = folds
        self.repeats = repeats
        self.width = width
        self.depth = depth
        self.learning_rate = learning_rate
        self.steps = steps
        self.batch_size = batch_size
        self.random_state = random_state

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Suggest parameters to try instead of these."""
        return {
            "encoding": suggest_encoding(trial),
            "width": trial.suggest_int("width", 16, 128, log=True),
            "depth": trial.suggest_int("depth", 1, 3),
            "learning_rate": trial.suggest_float("learning_rate", 0.003, 0.03, log=True),
            "steps": trial.suggest_int("steps", 100, 400, step=50),
        }

    def _check_parameters(self) -> None:
        check_whole_number("folds", self.folds, 2)
        check_whole_number("repeats", self.repeats, 2)
        check_whole_number("width", self.width, 1)
        check_whole_number("depth", self.depth, 1)
        check_number("learning_rate", self.learning_rate, 0.0, 1.0)
        check_whole_number("steps", self.steps, 1)
        check_whole_number("batch_size", self.batch_size, 1)
        check_whole_number("random_state", self.random_state, 0)

    def _fit(self, inputs: Inputs, targets: NDArray[np.float64]) -> None:
        from predictnas.predictors.batched_mlp import train

        self.features_ = Features.learn(inputs, self.encoding, self.operations)
        matrix = self.features_.transform(inputs)
        generator = np.random.default_rng(self.random_state)
        held_out = left_out(self.architectures_, self.folds, self.repeats, generator)
        self.layers_ = train(
            matrix,
            targets,
            held_out,
            hidden=(self.width,) * self.depth,
            learning_rate=self.learning_rate,
            steps=self.steps,
            batch_size=self.batch_size,
            generator=generator,
        )
        predictions = _forward(self.layers_, matrix)
        self._calibrate(
            targets,
            *unseen(predictions, held_out, self.repeats),
            excess_share(held_out, self.repeats),
        )

    def _members(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        members = _forward(self.layers_, self.features_.transform(inputs))
        return members, np.zeros(len(inputs))


def _forward(
    layers: tuple[NDArray[np.float64], ...], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the outputs of all members, shape ``(s, n)``."""
    *hidden, weights, biases = layers
    parts = []
    for start in range(0, len(matrix), CHUNK_ROWS):
        values = matrix[start : start + CHUNK_ROWS]
        for index in range(0, len(hidden), 2):
            values = np.maximum(values @ hidden[index] + hidden[index + 1], 0.0)
        parts.append((values @ weights + biases)[..., 0])
    return np.concatenate(parts, axis=1)

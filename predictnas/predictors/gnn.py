"""The ensemble of graph networks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from predictnas.errors import InputError
from predictnas.predictors.checks import check_names, check_number, check_whole_number
from predictnas.predictors.ensemble import (
    EnsemblePredictor,
    excess_share,
    left_out,
    unseen,
)
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import Inputs, read_inputs
from predictnas.predictors.pretrained_flow import PretrainedFlow, fitted_encoder
from predictnas.predictors.suggestions import suggest_encoding

if TYPE_CHECKING:
    from optuna import Trial

    from predictnas.predictors.flow_graph import FlowGraphs

__all__ = ["GNNPredictor"]

LOSS_NAMES = ("hinge", "logistic", "squared")
# How many labels the prior of a slope of 1 is worth, and the smallest slope there may be.
PRIOR_LABELS, SMALLEST_SLOPE = 2.0, 0.1
# Scores of members differ by more, or are equal but for rounding errors.
SMALLEST_RANGE = 1e-6

Floats = NDArray[np.float64]


class GNNPredictor(EnsemblePredictor):
    r"""An ensemble of graph networks that learn the order of architectures.

    A learned state flows from the input of a canonical graph along its edges, node after node in
    topological order, and back from the output against them, with weights of its own; every node
    adds up what arrives, and its operation opens the gate: see
    `predictnas.predictors.flow_network.embed`. Two layers more read the embedding together with
    what is known beside the graph, the numeric columns and encodings of `Features`. Graphs
    are batches of PyTorch Geometric; messages are products with sparse matrices.

    The loss is one of order, by default: the scores of two architectures of different accuracy
    have to differ by a margin. Scores have no unit then. Each member's are standardised over the
    training rows, and the line from the mean of the members that did not see a label to that
    label, with a prior for a slope of 1 and never falling, takes them all into the unit of
    targets; folds and variance are as in `MLPEnsemble`. All members train at once, as one batched
    program in single precision; everything else is double. Fitting does not depend on the order
    of the rows.

    `pretrain` learns first weights from architectures without labels.

    Parameters
    ----------
    encoding
        One or several names of `encoders.ENCODERS` that are read beside the graph; an empty tuple
        for message passing alone.
    operations
        The operations that graphs may carry (`Space.operations`); None takes those of the
        training graphs.
    warp
        The warp of the targets: ``"yeo-johnson"`` or ``"none"``.
    loss
        ``"hinge"`` or ``"logistic"`` over pairs, or ``"squared"``, see
        `predictnas.predictors.ranking`.
    folds
        The number of folds of a split, at least 2; as many as architectures where these are fewer.
    repeats
        The number of splits, at least 2. There are ``folds * repeats`` members.
    width
        The number of entries of a node's state; there are twice as many hidden units.
    learning_rate
        The first step size of Adam.
    steps
        The number of steps.
    batch_size
        The number of labels that a member sees in a step, all of them where there are fewer.
    pretrained
        First weights, as `pretrain` sets them; None to draw them.
    random_state
        The seed.

    Attributes
    ----------
    network_operations_ : tuple of str
        The operations that graphs may carry, zero and identity left out.
    features_ : Features or None
        The map from tables to what is read beside the graph; None where there is nothing.
    weights_ : tuple of arrays
        The weights, in the order of `predictnas.predictors.flow_network.FlowWeights`.
    noise_, factor_, held_out_, held_out_excess_
        See `EnsemblePredictor`.

    References
    ----------
    X. Ning, Y. Zheng, T. Zhao, Y. Wang, H. Yang. A generic graph-based neural architecture
    encoding scheme for predictor-based NAS. ECCV 2020 (arXiv:2004.01899).
    D. Hwang, H. Kim, S. Kim, K. Shin. FlowerFormer: empowering neural architecture encoding using
    a flow-aware graph transformer. CVPR 2024 (arXiv:2403.12821).
    """

    def __init__(
        self,
        encoding: str | Sequence[str] = ("graf",),
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        loss: str = "hinge",
        folds: int = 5,
        repeats: int = 2,
        width: int = 16,
        learning_rate: float = 0.02,
        steps: int = 320,
        batch_size: int = 128,
        pretrained: PretrainedFlow | None = None,
        random_state: int = 0,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.loss = loss
        self.folds = folds
        self.repeats = repeats
        self.width = width
        self.learning_rate = learning_rate
        self.steps = steps
        self.batch_size = batch_size
        self.pretrained = pretrained
        self.random_state = random_state

    def pretrain(self, X: Any, *, steps: int = 2000) -> Self:
        """Learn first weights from architectures without labels, and set ``pretrained`` to them.

        From the embedding of a graph alone, the networks have to tell its features
        (`encoders.GraphFeatureEncoder`) and the warped numeric columns of the table, such as proxy
        scores; the two groups count equally. The table may have other columns than those of `fit`.

        Parameters
        ----------
        X
            A table of architectures with a graph column.
        steps
            The number of steps of 128 architectures.

        Returns
        -------
        GNNPredictor
            This predictor, as fitted or unfitted as it was.

        Raises
        ------
        InputError
            If a parameter or the table cannot be used.
        """
        self._check_parameters()
        check_whole_number("steps", steps, 1)
        self.pretrained = PretrainedFlow.learn(
            read_inputs(X),
            self.operations,
            members=self.folds * self.repeats,
            width=int(self.width),
            steps=steps,
            seed=self.random_state,
        )
        return self

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Suggest parameters to try instead of these; pretrained weights keep their width."""
        suggested = {
            "encoding": suggest_encoding(trial, optional=True),
            "loss": trial.suggest_categorical("loss", LOSS_NAMES),
            "learning_rate": trial.suggest_float("learning_rate", 0.005, 0.05, log=True),
            "steps": trial.suggest_int("steps", 80, 320, step=40),
        }
        if self.pretrained is None:
            suggested["width"] = trial.suggest_int("width", 8, 32, log=True)
        return suggested

    def _check_parameters(self) -> None:
        if self.loss not in LOSS_NAMES:
            raise InputError(
                f"expected loss as one of {', '.join(LOSS_NAMES)}, found {self.loss!r}"
            )
        check_names("encoding", self.encoding)
        check_names("operations", self.operations)
        check_whole_number("folds", self.folds, 2)
        check_whole_number("repeats", self.repeats, 2)
        check_whole_number("width", self.width, 1)
        check_number("learning_rate", self.learning_rate, 0.0, 1.0)
        check_whole_number("steps", self.steps, 1)
        check_whole_number("batch_size", self.batch_size, 1)
        check_whole_number("random_state", self.random_state, 0)
        if self.pretrained is None:
            return
        if not isinstance(self.pretrained, PretrainedFlow):
            raise InputError(
                "expected pretrained as what pretrain sets, or None, found "
                f"{type(self.pretrained).__name__}; call pretrain"
            )
        found = self.pretrained.members, self.pretrained.width
        expected = self.folds * self.repeats, self.width
        if found != expected:
            raise InputError(
                f"expected pretrained weights of {expected[0]} members of width {expected[1]}, "
                f"found {found[0]} of width {found[1]}; pretrain again"
            )

    def _fit(self, inputs: Inputs, targets: Floats) -> None:
        from predictnas.predictors import flow_training
        from predictnas.predictors.ranking import LOSSES

        order = np.lexsort((targets, *inputs.numeric.T, self.architectures_))
        inputs, targets = inputs.taken(order), targets[order]
        self.network_operations_ = self._vocabulary(inputs)
        nothing = inputs.graphs is not None and not inputs.columns and len(self.encoding) == 0
        self.features_ = None if nothing else Features.learn(inputs, self.encoding, self.operations)
        generator = np.random.default_rng(self.random_state)
        held_out = left_out(self.architectures_[order], self.folds, self.repeats, generator)
        graphs, of_row = self._graphs(inputs)
        numbers = self._numbers(inputs)
        weights = flow_training.train(
            flow_training.start(
                len(held_out),
                len(self.network_operations_),
                0 if graphs is None else self.width,
                numbers.shape[1],
                2 * self.width,
                1,
                generator,
                None if self.pretrained is None or graphs is None else self.pretrained.weights,
            ),
            None if graphs is None else graphs.taken(of_row),
            numbers,
            targets[:, None],
            ~held_out,
            loss=LOSSES[self.loss],
            learning_rate=self.learning_rate,
            steps=self.steps,
            batch_size=self.batch_size,
            generator=generator,
        )
        scores = flow_training.predict(weights, graphs, of_row, numbers)[..., 0]
        factors, shifts = _line(scores, targets, held_out, self.repeats)
        *others, last, last_bias = weights
        last_bias = last_bias * factors[:, None, None] + shifts[:, None, None]
        self.weights_ = (*others, last * factors[:, None, None], last_bias)
        scores = scores * factors[:, None] + shifts[:, None]
        self._calibrate(
            targets,
            *unseen(scores, held_out, self.repeats),
            excess_share(held_out, self.repeats),
        )
        as_given = np.argsort(order)
        self.held_out_ = self.held_out_[:, as_given]
        self.held_out_excess_ = self.held_out_excess_[as_given]

    def _members(self, inputs: Inputs) -> tuple[Floats, Floats]:
        from predictnas.predictors import flow_training

        graphs, of_row = self._graphs(inputs)
        scores = flow_training.predict(self.weights_, graphs, of_row, self._numbers(inputs))
        return scores[:, :, 0], np.zeros(len(inputs))

    def _vocabulary(self, inputs: Inputs) -> tuple[str, ...]:
        if inputs.graphs is None:
            return ()
        operations = fitted_encoder(inputs, self.operations).operations_
        if self.pretrained is None:
            return operations
        unknown = sorted(set(operations) - set(self.pretrained.operations))
        if unknown:
            raise InputError(
                f"expected only operations that there were in pretraining, "
                f"{', '.join(self.pretrained.operations)}, found {', '.join(unknown)}; "
                "pretrain with all operations"
            )
        return self.pretrained.operations

    def _graphs(self, inputs: Inputs) -> "tuple[FlowGraphs | None, NDArray[np.int64]]":
        """Return the distinct canonical graphs, and the number of that of every row."""
        from predictnas.predictors.flow_graph import distinct_graphs

        if inputs.graphs is None:
            return None, np.arange(len(inputs))
        return distinct_graphs(inputs.graphs, self.network_operations_)

    def _numbers(self, inputs: Inputs) -> Floats:
        if self.features_ is None:
            return np.empty((len(inputs), 0))
        return self.features_.transform(inputs)


def _line(
    scores: Floats, targets: Floats, held_out: NDArray[np.bool_], repeats: int
) -> tuple[Floats, Floats]:
    """Return a factor and a shift for every member that take its scores to the unit of targets.

    Parameters
    ----------
    scores
        What members say of the training rows, shape ``(s, n)``.
    targets
        Their targets, of about zero mean and unit variance, shape ``(n,)``.
    held_out
        Whether a member did not see a row, shape ``(s, n)``.
    repeats
        How many members did not see a row.
    """
    centres, spreads = scores.mean(axis=1), scores.std(axis=1)
    spreads = np.where(spreads > SMALLEST_RANGE, spreads, 1.0)
    means, _ = unseen((scores - centres[:, None]) / spreads[:, None], held_out, repeats)
    known = np.isfinite(means)
    x, y = means[known], targets[known]
    slope = float((x @ y + PRIOR_LABELS) / (x @ x + PRIOR_LABELS))
    slope = max(slope, SMALLEST_SLOPE)
    shift = float((y - slope * x).mean()) if known.any() else float(targets.mean())
    return slope / spreads, shift - slope * centres / spreads

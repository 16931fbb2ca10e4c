"""Numeric columns without their noise, learned from architectures without labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictnas.errors import InputError
from predictnas.predictors.features import Features, NumericWarps
from predictnas.predictors.inputs import GRAPH, Inputs
from predictnas.predictors.pretrained_flow import fitted_encoder

__all__ = ["STEPS", "ColumnSmoother"]

ENCODING = ("graf",)
MEMBERS, WIDTH, HIDDEN = 4, 16, 64
STEPS, BATCH_SIZE, LEARNING_RATE = 600, 128, 0.01


@dataclass(frozen=True, eq=False)
class ColumnSmoother:
    """What numeric columns are for a graph on average over what else they depend on.

    A proxy score is a property of an architecture and of one draw of initial weights and images.
    Its label does not depend on that draw, so that to a predictor it is noise in an input, which
    a few dozen labels cannot tell from signal. Thousands of scored architectures without labels
    can: a small ensemble of graph networks learns, by squared error, the warped columns from the
    graph and its features, and its prediction takes their place. What the networks cannot
    explain is lost, signal included: predictors that read the columns as they are belong beside
    those that read them smoothed (`AutoPredictor`).

    Attributes
    ----------
    columns
        The columns that it smooths, in alphabetical order.
    operations
        The operations that graphs may carry, zero and identity left out.
    features
        The features of graphs that the networks read beside the graph.
    warps
        The warps of the columns.
    weights
        The weights of the networks, in the order of
        `predictnas.predictors.flow_network.FlowWeights`.
    """

    columns: tuple[str, ...]
    operations: tuple[str, ...]
    features: Features
    warps: NumericWarps
    weights: tuple[NDArray[np.float64], ...]

    @classmethod
    def learn(
        cls, inputs: Inputs, operations: Sequence[str] | None, *, steps: int = STEPS, seed: int
    ) -> Self:
        """Learn from architectures with graphs and numeric columns.

        Parameters
        ----------
        inputs
            The architectures.
        operations
            The operations that graphs may carry; None takes those seen here.
        steps
            The number of steps of 128 architectures.
        seed
            Of weights and batches.

        Raises
        ------
        InputError
            If there are no graphs or no columns.
        """
        from predictnas.predictors import flow_training
        from predictnas.predictors.flow_graph import FlowGraphs
        from predictnas.predictors.ranking import squared

        if inputs.graphs is None or not inputs.columns:
            raise InputError(
                f"expected a column {GRAPH!r} and numeric columns to smooth, found "
                f"{', '.join(inputs.names()) or 'none'}; give both"
            )
        vocabulary = fitted_encoder(inputs, operations).operations_
        features = Features.learn(_graphs_of(inputs), ENCODING, operations)
        warps = NumericWarps.learn(inputs.numeric)
        numbers, targets = features.transform(_graphs_of(inputs)), warps.transform(inputs.numeric)
        generator = np.random.default_rng(seed)
        weights = flow_training.train(
            flow_training.start(
                MEMBERS,
                len(vocabulary),
                WIDTH,
                numbers.shape[1],
                HIDDEN,
                targets.shape[1],
                generator,
            ),
            FlowGraphs.of([graph.canonical() for graph in inputs.graphs], vocabulary),
            numbers,
            targets,
            np.ones((MEMBERS, len(inputs)), dtype=np.bool_),
            loss=squared,
            learning_rate=LEARNING_RATE,
            steps=steps,
            batch_size=BATCH_SIZE,
            generator=generator,
        )
        return cls(inputs.columns, vocabulary, features, warps, weights)

    def transform(self, inputs: Inputs) -> Inputs:
        """Return rows with all smoothed columns, in warped units, and those of theirs besides.

        Smoothed columns take the place of columns of the same names, but need not have been
        there: a graph is enough.

        Parameters
        ----------
        inputs
            Rows with graphs.

        Raises
        ------
        InputError
            If a graph cannot be represented.
        """
        from predictnas.predictors import flow_training
        from predictnas.predictors.flow_graph import distinct_graphs

        assert inputs.graphs is not None
        numbers = self.features.transform(_graphs_of(inputs))
        graphs, of_row = distinct_graphs(inputs.graphs, self.operations)
        members = flow_training.predict(self.weights, graphs, of_row, numbers)
        others = [n for n, name in enumerate(inputs.columns) if name not in self.columns]
        names = (*self.columns, *(inputs.columns[n] for n in others))
        numeric = np.hstack([members.mean(axis=0), inputs.numeric[:, others]])
        order = sorted(range(len(names)), key=names.__getitem__)
        return Inputs(inputs.graphs, numeric[:, order], tuple(names[n] for n in order))


def _graphs_of(inputs: Inputs) -> Inputs:
    """Return the rows without their numeric columns."""
    return Inputs(inputs.graphs, np.empty((len(inputs), 0)), ())

"""First weights of graph networks, learned from architectures without labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from encoders import EncodingError, GraphFeatureEncoder
from predictnas.errors import InputError
from predictnas.predictors.features import NumericWarps
from predictnas.predictors.inputs import GRAPH, Inputs

__all__ = ["PretrainedFlow", "fitted_encoder"]

# Descriptions of graphs that pretraining asks for are clipped here, in standard deviations.
LARGEST_DESCRIPTION = 4.0
# Columns that vary by less are equal but for rounding errors.
SMALLEST_RANGE = 1e-6
LEARNING_RATE, BATCH_SIZE = 0.01, 128

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PretrainedFlow:
    """First weights of graph networks, learned without labels.

    Attributes
    ----------
    operations
        The operations that graphs may carry, zero and identity left out.
    width
        The number of entries of a node's state.
    weights
        The weights, in the order of `predictnas.predictors.flow_network.FlowWeights`.
    """

    operations: tuple[str, ...]
    width: int
    weights: tuple[Floats, ...]

    @classmethod
    def learn(
        cls,
        inputs: Inputs,
        operations: Sequence[str] | None,
        *,
        members: int,
        width: int,
        steps: int,
        seed: int,
    ) -> Self:
        """Let networks tell, from the embedding of a graph, its features and its columns.

        The features are those of `encoders.GraphFeatureEncoder`, the columns are warped; the two
        groups count equally.

        Parameters
        ----------
        inputs
            Architectures with graphs, and numeric columns or none.
        operations
            The operations that graphs may carry; None takes those seen here.
        members, width
            Of the networks, see `predictnas.predictors.GNNPredictor`.
        steps
            The number of steps of 128 architectures.
        seed
            Of weights and batches.

        Raises
        ------
        InputError
            If there are no graphs, or all are alike.
        """
        from predictnas.predictors import flow_training
        from predictnas.predictors.flow_graph import FlowGraphs
        from predictnas.predictors.ranking import squared

        if inputs.graphs is None:
            raise InputError(f"expected a column {GRAPH!r} to pretrain on, found none; give graphs")
        encoder = fitted_encoder(inputs, operations)
        groups = [_standardised(encoder.transform(inputs.graphs))]
        if groups[0].shape[1] == 0:
            raise InputError(
                "expected architectures with different graphs to pretrain on, found "
                f"{len(inputs)} alike; give more"
            )
        if inputs.columns:
            groups.append(NumericWarps.learn(inputs.numeric).transform(inputs.numeric))
        # The squared error is a mean over columns: groups count equally whatever their width.
        descriptions = np.hstack([group / np.sqrt(group.shape[1]) for group in groups])
        descriptions *= np.sqrt(descriptions.shape[1] / len(groups))
        graphs = [graph.canonical() for graph in inputs.graphs]
        generator = np.random.default_rng(seed)
        outputs = descriptions.shape[1]
        weights = flow_training.train(
            flow_training.start(
                members, len(encoder.operations_), width, 0, 2 * width, outputs, generator
            ),
            FlowGraphs.of(graphs, encoder.operations_),
            np.empty((len(inputs), 0)),
            descriptions,
            np.ones((members, len(inputs)), dtype=np.bool_),
            loss=squared,
            learning_rate=LEARNING_RATE,
            steps=steps,
            batch_size=BATCH_SIZE,
            generator=generator,
        )
        return cls(encoder.operations_, width, weights)

    @property
    def members(self) -> int:
        """The number of networks."""
        return len(self.weights[-1])


def fitted_encoder(inputs: Inputs, operations: Sequence[str] | None) -> GraphFeatureEncoder:
    """Return a fitted encoder, which has checked operations and graphs."""
    try:
        return GraphFeatureEncoder(operations).fit(inputs.graphs)
    except EncodingError as error:
        raise InputError(str(error)) from None


def _standardised(columns: Floats) -> Floats:
    """Return the columns that vary, with mean 0 and standard deviation 1, without outliers."""
    varying = columns[:, np.ptp(columns, axis=0) > SMALLEST_RANGE]
    standardised = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    clipped: Floats = np.clip(standardised, -LARGEST_DESCRIPTION, LARGEST_DESCRIPTION)
    return clipped

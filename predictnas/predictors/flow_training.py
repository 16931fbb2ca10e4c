"""Training many flow networks at once, on labels or on what is known without labels."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictnas.predictors.dense import product
from predictnas.predictors.flow_graph import Flow, FlowGraphs
from predictnas.predictors.flow_network import (
    FlowWeights,
    hear,
    initial_weights,
    read_out,
    score,
)
from predictnas.predictors.ranking import Loss
from predictnas.predictors.threads import single_thread

__all__ = ["predict", "start", "train"]

WEIGHT_DECAY = 0.01
# Nodes whose states are computed at once: they fit into a processor's cache.
CHUNK_NODES = 2048
# Rows whose hidden units are held at once, for the same reason.
CHUNK_ROWS = 1024

Arrays = tuple[NDArray[np.float64], ...]


def start(
    members: int,
    operations: int,
    width: int,
    numbers: int,
    hidden: int,
    outputs: int,
    generator: np.random.Generator,
    pretrained: Sequence[NDArray[np.float64]] | None = None,
) -> FlowWeights:
    """Return the weights to train from: drawn, and where there are pretrained ones, these.

    Of pretrained weights, everything that concerns graphs is taken; what reads numbers and the
    last layer are drawn anew.
    """
    drawn = initial_weights(members, operations, width, numbers, hidden, outputs, generator)
    if pretrained is None:
        return drawn
    known = FlowWeights(*(torch.tensor(array, dtype=torch.float32) for array in pretrained))
    return drawn._replace(
        start=known.start[:, :members],
        gates=known.gates[:, :, :members],
        turn=known.turn[:, :members],
        bias=known.bias[:, :members],
        own=known.own[:members],
        read=known.read[:members],
        read_bias=known.read_bias[:members],
    )


def train(
    weights: FlowWeights,
    graphs: FlowGraphs | None,
    numbers: NDArray[np.float64],
    targets: NDArray[np.float64],
    seen: NDArray[np.bool_],
    *,
    loss: Loss,
    learning_rate: float,
    steps: int,
    batch_size: int,
    generator: np.random.Generator,
) -> Arrays:
    """Train `s` members by Adam with decoupled weight decay, all in the same steps.

    Parameters
    ----------
    weights
        Where to start from, in single precision.
    graphs
        `n` graphs, None where there are numbers alone.
    numbers
        What is known beside every graph, shape ``(n, g)``.
    targets
        What scores are compared with, shape ``(n, t)``.
    seen
        Whether a member may see a row, shape ``(s, n)``.
    loss
        One of `predictnas.predictors.ranking`.
    learning_rate
        The first step size; it falls to zero along a cosine.
    steps
        The number of steps.
    batch_size
        The number of rows in a step, drawn without replacement; all of them where there are fewer.
    generator
        The source of batches.

    Returns
    -------
    tuple of arrays
        The trained weights, in the order of `FlowWeights`.
    """
    with single_thread(), torch.enable_grad():
        trained = FlowWeights(*(each.clone().requires_grad_() for each in weights))
        rows, labels = torch.from_numpy(numbers).float(), torch.from_numpy(targets).float()
        visible = torch.from_numpy(seen).float()
        optimiser = torch.optim.AdamW(
            list(trained), lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for flow, batch in _batches(graphs, len(rows), batch_size, steps, generator):
            scores = score(trained, flow, rows[batch])
            value = loss(scores, labels[batch], visible[:, batch])
            optimiser.zero_grad()
            torch.autograd.backward(value)
            optimiser.step()
            schedule.step()
        return tuple(each.detach().numpy().astype(np.float64) for each in trained)


def predict(
    arrays: Sequence[NDArray[np.float64]],
    graphs: FlowGraphs | None,
    of_row: NDArray[np.int64],
    numbers: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the scores of `n` rows by `s` members in double precision, shape ``(s, n, t)``.

    Parameters
    ----------
    arrays
        The weights, in the order of `FlowWeights`.
    graphs
        The distinct graphs, None where there are numbers alone.
    of_row
        The number of the graph of every row, shape ``(n,)``.
    numbers
        What is known beside every graph, shape ``(n, g)``.
    """
    with single_thread(), torch.no_grad():
        weights = FlowWeights(*(torch.from_numpy(array) for array in arrays))
        heard = weights.read_bias
        if graphs is not None:
            # Rows with the same graph share what is made of it, up to the sum with their numbers.
            heard = torch.cat(
                [hear(weights, Flow(part, torch.float64)) for part in _parts(graphs)], dim=1
            )
        members, columns, hidden = weights.read_numbers.shape
        reading = weights.read_numbers.transpose(0, 1).reshape(columns, members * hidden)
        scores = []
        for places, part in zip(
            *(torch.split(torch.from_numpy(each), CHUNK_ROWS) for each in (of_row, numbers)),
            strict=True,
        ):
            # One product for all members at once.
            said = product(part, reading).view(-1, members, hidden).transpose(0, 1)
            said += heard.index_select(1, places) if graphs is not None else heard
            scores.append(read_out(weights, said))
        return torch.cat(scores, dim=1).numpy()


def _batches(
    graphs: FlowGraphs | None,
    rows: int,
    batch_size: int,
    steps: int,
    generator: np.random.Generator,
) -> Iterator[tuple[Flow | None, Tensor]]:
    """Yield a batch for every step, as a flow and the numbers of its rows."""
    batch, flow = np.arange(rows), None
    for step in range(steps):
        if rows > batch_size:
            batch = generator.permutation(rows)[:batch_size]
        if graphs is not None and (rows > batch_size or step == 0):
            flow = Flow(graphs.taken(batch), torch.float32)
        yield flow, torch.from_numpy(batch)


def _parts(graphs: FlowGraphs) -> Iterator[FlowGraphs]:
    """Take graphs apart into pieces of about as many nodes each."""
    piece = (graphs.nodes[1:] - 1) // CHUNK_NODES
    for rows in np.split(np.arange(len(graphs)), np.flatnonzero(np.diff(piece)) + 1):
        yield graphs.taken(rows)

"""The network behind the learned embedding: graphs to points, and points to descriptions."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.graph_batch import GraphBatch

__all__ = ["GraphAutoencoder"]

# The width of what a node knows, and how many edges away it has heard from.
HIDDEN, ROUNDS = 32, 3
BATCH_SIZE = 128
LEARNING_RATE = 5e-3


class GraphAutoencoder(nn.Module):
    r"""Messages along the edges in both directions, summed over the nodes.

    From the one-hot operation :math:`x_i` of every node,

    .. math::

        h_i^0 &= W x_i, \\
        h_i^{t+1} &= \mathrm{norm}\Bigl(\mathrm{relu}\Bigl(U^t h_i^t
            + V^t \sum_j w_{ji} h_j^t + Z^t \sum_j w_{ij} h_j^t\Bigr)\Bigr), \\
        z &= R\, \Bigl[\sum_i h_i^0, \dots, \sum_i h_i^3\Bigr] / s,

    where :math:`w_{ij} = \log_2(1 + \text{edges from i to j})` and s is a typical number of nodes.
    Two layers more take z to the descriptions of the graph that it is trained on.

    Parameters
    ----------
    operations
        The number `k` of operations.
    dimensions
        The number of entries of z.
    descriptions
        The numbers of columns of each group of descriptions.
    nodes
        The typical number of nodes s.
    """

    def __init__(
        self, operations: int, dimensions: int, descriptions: Sequence[int], nodes: float
    ) -> None:
        super().__init__()
        self.groups = list(descriptions)
        self.nodes = nodes
        self.first = nn.Linear(operations + 2, HIDDEN)
        self.own = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(ROUNDS))
        self.before = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN, bias=False) for _ in range(ROUNDS))
        self.after = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN, bias=False) for _ in range(ROUNDS))
        self.read = nn.Linear(HIDDEN * (ROUNDS + 1), dimensions)
        self.decoder = nn.Sequential(
            nn.Linear(dimensions, 2 * HIDDEN), nn.ReLU(), nn.Linear(2 * HIDDEN, sum(self.groups))
        )

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Return the points z (n, dimensions) of graphs.

        Parameters
        ----------
        nodes
            One-hot operations (n, m, k + 2), zero where there is no node.
        edges
            Weights of the edges (n, m, m).
        """
        present = nodes.sum(dim=2, keepdim=True)
        hidden = self.first(nodes) * present
        sums = [hidden.sum(dim=1)]
        for own, before, after in zip(self.own, self.before, self.after, strict=True):
            heard = own(hidden) + before(edges.transpose(1, 2) @ hidden) + after(edges @ hidden)
            hidden = nn.functional.layer_norm(torch.relu(heard), (HIDDEN,)) * present
            sums.append(hidden.sum(dim=1))
        points: Tensor = self.read(torch.cat(sums, dim=1) / self.nodes)
        return points

    def error(self, nodes: Tensor, edges: Tensor, descriptions: Tensor) -> Tensor:
        """Return the squared error of the decoded descriptions, mean over the groups.

        Descriptions (n, sum of the groups) that are not known are NaN and count for nothing.
        """
        decoded = self.decoder(self(nodes, edges))
        known = ~descriptions.isnan()
        squared = torch.where(known, decoded - descriptions.nan_to_num(), 0).square()
        errors = [
            part.sum() / number.sum().clamp(min=1)
            for part, number in zip(
                torch.split(squared, self.groups, 1),
                torch.split(known, self.groups, 1),
                strict=True,
            )
        ]
        return torch.stack(errors).mean()

    def train_on(
        self, graphs: GraphBatch, descriptions: NDArray[np.float64], steps: int, seed: int
    ) -> None:
        """Minimise the error over batches of 128 graphs, the learning rate falling to zero.

        Parameters
        ----------
        graphs
            `n` graphs.
        descriptions
            What is to be decoded for each (n, sum of the groups).
        steps
            How many batches.
        seed
            Decides the order of the graphs.
        """
        optimizer = torch.optim.Adam(self.parameters(), LEARNING_RATE)
        targets = torch.from_numpy(descriptions).to(self.read.weight.dtype)
        nodes, edges = self.inputs(graphs)
        batches = _batches(len(graphs), torch.Generator().manual_seed(seed))
        for step, rows in zip(range(steps), batches, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
            loss = self.error(nodes[rows], edges[rows], targets[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()

    def inputs(self, graphs: GraphBatch) -> tuple[Tensor, Tensor]:
        """Return graphs as the arguments of `forward`."""
        dtype = self.read.weight.dtype
        width = self.first.in_features
        one_hot = torch.eye(width + 1, width, dtype=dtype)[torch.from_numpy(graphs.codes)]
        edges = torch.from_numpy(np.log2(1.0 + graphs.adjacency)).to(dtype)
        return one_hot, edges


def _batches(size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the numbers of graphs in parts, all of them in a new order again and again."""
    while True:
        yield from torch.split(torch.randperm(size, generator=generator), BATCH_SIZE)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, since the last digits of a sum depend on how it is shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

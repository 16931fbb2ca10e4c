"""Batches of graphs as the sparse matrices by which their nodes hear from each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders import ArchGraph, EncodingError
from encoders.pyg import to_pyg
from predictnas.errors import InputError

__all__ = ["Flow", "FlowGraphs", "Level", "Pass", "distinct_graphs"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FlowGraphs:
    r"""Graphs one after the other, sorted once, of which any can be taken as a batch.

    Attributes
    ----------
    kinds
        The number `k + 2` of operations, input and output included.
    operations
        The operations of the `N` nodes, in the topological order of graph after graph, ``(N,)``.
    nodes
        Where the nodes of each of the `b` graphs begin, and where they end, ``(b + 1,)``.
    sources, targets
        The nodes that the `E` edges lead from and to, in the order of the graphs, ``(E,)``.
    counts
        How much edges count, :math:`\log_2(1 + \text{repeats})`, ``(E,)``.
    edges
        Where the edges of every graph begin, and where they end, ``(b + 1,)``.
    depths
        The numbers of edges on the longest path that leads to every node, along the edges and
        against them, ``(2, N)``.
    """

    kinds: int
    operations: Numbers
    nodes: Numbers
    sources: Numbers
    targets: Numbers
    counts: NDArray[np.float64]
    edges: Numbers
    depths: Numbers

    @classmethod
    def of(cls, graphs: Sequence[ArchGraph], operations: Sequence[str]) -> Self:
        """Sort canonical graphs.

        Parameters
        ----------
        graphs
            `b` graphs.
        operations
            The `k` operations that they may carry, input and output left out.

        Raises
        ------
        EncodingError
            If a graph carries another operation.
        """
        batch = to_pyg(graphs, operations)
        nodes, codes = batch.ptr.numpy(), batch.x.argmax(dim=1).numpy()
        sources, targets = batch.edge_index.numpy()
        return cls(
            kinds=batch.x.shape[1],
            operations=codes,
            nodes=nodes,
            sources=sources,
            targets=targets,
            counts=np.log2(1 + batch.edge_weight.numpy().astype(np.float64)),
            edges=np.searchsorted(sources, nodes),
            depths=np.stack(
                [
                    _depths(sources, targets, len(codes)),
                    _depths(targets, sources, len(codes)),
                ]
            ),
        )

    def __len__(self) -> int:
        return len(self.nodes) - 1

    def taken(self, rows: Numbers) -> "FlowGraphs":
        """Return the graphs with the given numbers, one after the other."""
        nodes, of_node = _ranges(self.nodes, rows)
        edges, of_edge = _ranges(self.edges, rows)
        # By how much the nodes of a graph move.
        moved = np.repeat(nodes[:-1] - self.nodes[rows], np.diff(edges))
        return FlowGraphs(
            kinds=self.kinds,
            operations=self.operations[of_node],
            nodes=nodes,
            sources=self.sources[of_edge] + moved,
            targets=self.targets[of_edge] + moved,
            counts=self.counts[of_edge],
            edges=edges,
            depths=self.depths[:, of_node],
        )


def distinct_graphs(
    graphs: Sequence[ArchGraph], operations: Sequence[str]
) -> tuple[FlowGraphs, Numbers]:
    """Return the distinct canonical forms of graphs, and the number of that of every graph.

    Parameters
    ----------
    graphs
        `n` graphs.
    operations
        The operations that canonical forms may carry, input and output left out.

    Raises
    ------
    InputError
        If one carries another operation.
    """
    number_of: dict[ArchGraph, int] = {}
    numbers = [number_of.setdefault(graph.canonical(), len(number_of)) for graph in graphs]
    try:
        return FlowGraphs.of(list(number_of), operations), np.array(numbers, dtype=np.int64)
    except EncodingError as error:
        raise InputError(str(error)) from None


@dataclass(frozen=True, eq=False)
class Level:
    """Nodes that equally long paths lead to, and all before them.

    Attributes
    ----------
    first, last
        The `n` nodes are those from `first` to before `last`, in the order of a `Pass`.
    messages
        How much every node hears from those before them, ``(n, first)``; None where there are
        none.
    answers
        The transpose.
    """

    first: int
    last: int
    messages: Tensor | None
    answers: Tensor | None


@dataclass(frozen=True, eq=False)
class Pass:
    """One direction: nodes in the order in which they hear.

    Attributes
    ----------
    order
        The numbers of the nodes, sorted by level, ``(N,)``.
    place
        Where every node stands in it, ``(N,)``.
    operations
        Their operations, ``(N,)``.
    chosen
        1 where a node has an operation, ``(k + 2, N)``, sparse.
    levels
        The levels, which follow each other.
    origin
        The operation of nodes where the pass begins: the input, or the output.
    """

    order: Tensor
    place: Tensor
    operations: Tensor
    chosen: Tensor
    levels: tuple[Level, ...]
    origin: int


class Flow:
    """The order in which the nodes of a batch of graphs hear from each other, in both directions.

    Parameters
    ----------
    graphs
        `b` graphs.
    dtype
        The type of all that is computed.

    Attributes
    ----------
    passes
        The way along the edges, and the way against them.
    entries, exits
        Where inputs stand on the way against the edges, and outputs on the way along them, (b,).
    means
        From the nodes on the way against the edges to their means in every graph, ``(b, N)``,
        sparse.
    """

    def __init__(self, graphs: FlowGraphs, dtype: torch.dtype) -> None:
        there = _pass(graphs, 0, graphs.sources, graphs.targets, dtype)
        back = _pass(graphs, 1, graphs.targets, graphs.sources, dtype)
        self.passes = there, back
        sizes = np.diff(graphs.nodes)
        self.exits = there.place[torch.from_numpy(graphs.nodes[1:] - 1)]
        self.entries = back.place[torch.from_numpy(graphs.nodes[:-1])]
        of_node = np.repeat(np.arange(len(sizes)), sizes)
        indices = torch.stack([torch.from_numpy(of_node), back.place])
        self.means = _sparse(indices, 1 / sizes[of_node], (len(sizes), len(of_node)), dtype)


def _depths(sources: Numbers, targets: Numbers, nodes: int) -> Numbers:
    """Return the number of edges on the longest path that leads to every node."""
    depths = np.zeros(nodes, dtype=np.int64)
    while True:
        deeper = depths.copy()
        np.maximum.at(deeper, targets, depths[sources] + 1)
        if np.array_equal(deeper, depths):
            return depths
        depths = deeper


def _ranges(bounds: Numbers, rows: Numbers) -> tuple[Numbers, Numbers]:
    """Return the bounds of some ranges put one after the other, and the numbers in them."""
    sizes = bounds[rows + 1] - bounds[rows]
    joined = np.concatenate([[0], np.cumsum(sizes)])
    return joined, np.arange(joined[-1]) + np.repeat(bounds[rows] - joined[:-1], sizes)


def _pass(
    graphs: FlowGraphs,
    direction: int,
    sources: Numbers,
    targets: Numbers,
    dtype: torch.dtype,
) -> Pass:
    depths = graphs.depths[direction]
    order = np.argsort(depths, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    bounds = np.concatenate([[0], np.cumsum(np.bincount(depths))])
    # Edges to one level lie together, in the order of their targets and sources.
    into, out_of = place[targets], place[sources]
    sorted_edges = np.argsort(into * len(order) + out_of)
    into, out_of = into[sorted_edges], out_of[sorted_edges]
    counts = torch.from_numpy(graphs.counts[sorted_edges]).to(dtype)
    ends = np.searchsorted(into, bounds).tolist()
    levels, bounds = [], bounds.tolist()
    for number, (first, last) in enumerate(pairwise(bounds)):
        edges = slice(ends[number], ends[number + 1])
        if ends[number] == ends[number + 1]:
            levels.append(Level(first, last, None, None))
            continue
        indices = torch.from_numpy(np.stack([into[edges] - first, out_of[edges]]))
        messages = _sparse(indices, counts[edges], (last - first, first), dtype)
        levels.append(Level(first, last, messages, messages.t()))
    chosen = graphs.operations[order]
    indices = torch.from_numpy(np.stack([chosen, np.arange(len(order))]))
    return Pass(
        order=torch.from_numpy(order),
        place=torch.from_numpy(place),
        operations=torch.from_numpy(chosen),
        chosen=_sparse(indices, np.ones(len(order)), (graphs.kinds, len(order)), dtype),
        levels=tuple(levels),
        origin=(0, graphs.kinds - 1)[direction],
    )


def _sparse(
    indices: Tensor,
    values: Tensor | NDArray[np.float64],
    shape: tuple[int, int],
    dtype: torch.dtype,
) -> Tensor:
    """Return a sparse matrix without the checks and sums that its indices do not need."""
    return torch.sparse_coo_tensor(
        indices, torch.as_tensor(values, dtype=dtype), shape, check_invariants=False
    )

"""Many architectures as nodes and edges in a row, whatever their sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from encoders.arch_graph import ArchGraph
from encoders.canonical import INPUT, OUTPUT
from encoders.errors import EncodingError

__all__ = ["JoinedGraphs", "unknown_operations"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class JoinedGraphs:
    """`n` graphs one after the other, with the nodes of each in topological order.

    Attributes
    ----------
    codes
        What every one of the `N` nodes is, ``(N,)``: the number of an operation of `k`, `k` for
        an input, `k + 1` for an output.
    bounds
        Where the nodes of every graph begin, and where the last ones end, ``(n + 1,)``.
    sources, targets
        The nodes that edges lead from and to, repeated ones repeatedly, ``(E,)``.
    """

    codes: Numbers
    bounds: Numbers
    sources: Numbers
    targets: Numbers

    @classmethod
    def of(cls, graphs: Sequence[ArchGraph], operations: Sequence[str]) -> Self:
        """Join graphs.

        Parameters
        ----------
        graphs
            `n` graphs.
        operations
            The `k` operations that nodes may carry, input and output left out.

        Raises
        ------
        EncodingError
            If a graph carries another operation.
        """
        code_of = {name: code for code, name in enumerate((*operations, INPUT, OUTPUT))}
        sizes = np.array([graph.num_nodes for graph in graphs], dtype=np.int64)
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        try:
            as_given = np.fromiter(
                map(code_of.__getitem__, chain.from_iterable(g.operations for g in graphs)),
                dtype=np.int64,
                count=int(bounds[-1]),
            )
        except KeyError:
            found = {name for graph in graphs for name in graph.operations}
            raise unknown_operations(sorted(found - code_of.keys()), operations) from None
        order = np.fromiter(
            chain.from_iterable(graph.topological_order() for graph in graphs),
            dtype=np.int64,
            count=len(as_given),
        )
        order += np.repeat(bounds[:-1], sizes)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        edges = np.array(list(chain.from_iterable(graph.edges for graph in graphs)), dtype=np.int64)
        counts = [len(graph.edges) for graph in graphs]
        ends = place[edges.reshape(-1, 2) + np.repeat(bounds[:-1], counts)[:, None]]
        return cls(as_given[order], bounds, ends[:, 0], ends[:, 1])

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def graph_of(self) -> Numbers:
        """The number of the graph of every node, ``(N,)``."""
        return np.repeat(np.arange(len(self)), np.diff(self.bounds))

    def distinct_edges(self) -> tuple[Numbers, Numbers, Numbers]:
        """Return source, target and number of repeats of every different edge.

        They are sorted by source, then by target, and so those of a graph lie together.
        """
        nodes = max(len(self.codes), 1)
        edges, repeats = np.unique(self.sources * nodes + self.targets, return_counts=True)
        return edges // nodes, edges % nodes, repeats


def unknown_operations(unknown: Sequence[str], operations: Sequence[str]) -> EncodingError:
    """Return the error for operations that are not in a vocabulary."""
    return EncodingError(
        f"expected only the operations {', '.join(operations)}, found {', '.join(unknown)}; "
        "fit again or give all operations to the encoder"
    )

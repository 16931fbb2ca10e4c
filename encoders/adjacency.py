"""The adjacency encoding: which operation stands where, and what is wired to what."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.arch_graph import ArchGraph
from encoders.base import Encoder
from encoders.errors import EncodingError

__all__ = ["AdjacencyEncoder"]


class AdjacencyEncoder(Encoder):
    r"""One-hot operations by position, and the upper triangle of the adjacency matrix.

    The nodes are taken in topological order, the input at position 0 and the output at the last
    position :math:`m - 1`, so that columns mean the same for graphs of different sizes. A row is

    .. math:: ([o_p = k])_{0 < p < m - 1,\ k},\ (A_{pq})_{0 \le p < q < m},

    :math:`A_{pq}` being the number of edges from p to q; positions that a smaller graph leaves
    empty are zero. Without `canonical`, a row depends on how the nodes are numbered.

    Parameters
    ----------
    operations
        The operations that nodes may carry; None takes those of the graphs seen in `fit`.
    max_nodes
        The number of positions `m`, input and output included; None takes the largest number of
        nodes seen in `fit`.
    canonical
        Whether to encode canonical forms, which makes isomorphic graphs equal.

    Attributes
    ----------
    operations_ : tuple of str
        The operations that nodes may carry.
    max_nodes_ : int
        The number of positions.

    References
    ----------
    C. White, W. Neiswanger, S. Nolen, Y. Savani. A study on encodings for neural architecture
    search. NeurIPS 2020 (arXiv:2007.04965).

    Examples
    --------
    >>> graph = ArchGraph(("input", "conv", "output"), ((0, 1), (1, 2), (0, 2)))
    >>> encoder = AdjacencyEncoder(operations=["conv", "pool"]).fit([graph])
    >>> encoder.transform([graph])
    array([[1., 0., 1., 1., 1.]])
    """

    def __init__(
        self,
        operations: Sequence[str] | None = None,
        max_nodes: int | None = None,
        canonical: bool = False,
    ) -> None:
        self.operations = operations
        self.max_nodes = max_nodes
        self.canonical = canonical

    def _fit_layout(self, graphs: list[ArchGraph]) -> None:
        nodes = self.max_nodes
        if nodes is None:
            nodes = max(graph.num_nodes for graph in graphs)
        if isinstance(nodes, bool) or not isinstance(nodes, (int, np.integer)) or nodes < 2:
            raise EncodingError(
                f"expected max_nodes as a whole number of at least 2, found {nodes!r}; "
                "count input and output too"
            )
        self.max_nodes_ = int(nodes)

    def _encode(self, graph: ArchGraph, row: NDArray[np.float64]) -> None:
        if graph.num_nodes > self.max_nodes_:
            raise EncodingError(
                f"expected graphs of at most {self.max_nodes_} nodes, found one of "
                f"{graph.num_nodes}; give a larger max_nodes to the encoder"
            )
        last = self.max_nodes_ - 1
        order = graph.topological_order()
        position = {node: place for place, node in enumerate(order[:-1])} | {order[-1]: last}
        width = len(self.operations_)
        for node in order[1:-1]:
            operation = self.operations_.index(graph.operations[node])
            row[(position[node] - 1) * width + operation] = 1
        # Entry (p, q) of the upper triangle follows p rows of last, last - 1, ... entries.
        start = (last - 1) * width
        for source, target in graph.edges:
            p, q = position[source], position[target]
            row[start + p * last - p * (p - 1) // 2 + q - p - 1] += 1

    def _feature_names(self) -> list[str]:
        last = self.max_nodes_ - 1
        return [
            f"node{position}={operation}"
            for position in range(1, last)
            for operation in self.operations_
        ] + [f"edge{p}->{q}" for p in range(last) for q in range(p + 1, last + 1)]

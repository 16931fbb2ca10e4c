"""The adjacency encoding: which operation stands where, and what is wired to what."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.base import Encoder, check_larger, checked_max_nodes
from encoders.errors import EncodingError
from encoders.graph_batch import ABSENT, GraphBatch

__all__ = ["AdjacencyEncoder"]

CODINGS = ("one-hot", "categorical")


class AdjacencyEncoder(Encoder):
    r"""The operation at every position, and the upper triangle of the adjacency matrix.

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
    coding
        How operations are written: ``"one-hot"``, or ``"categorical"`` for one column a position,
        :math:`1 + k` for the k-th operation and 0 for an empty position, as trees may take it.
    larger
        What becomes of graphs of more than `m` nodes: ``"refuse"`` raises an error, ``"cut"``
        encodes what is at their first :math:`m - 1` positions and the output.

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
    >>> from encoders import ArchGraph
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
        coding: str = "one-hot",
        larger: str = "refuse",
    ) -> None:
        self.operations = operations
        self.max_nodes = max_nodes
        self.canonical = canonical
        self.coding = coding
        self.larger = larger

    def _fit_layout(self, batches: list[GraphBatch]) -> None:
        if self.coding not in CODINGS:
            raise EncodingError(
                f"expected coding as one of {', '.join(CODINGS)}, found {self.coding!r}; "
                "choose how operations are written"
            )
        check_larger(self.larger)
        self.max_nodes_ = checked_max_nodes(self.max_nodes, batches)

    def _encode(self, graphs: GraphBatch) -> NDArray[np.float64]:
        graphs = graphs.fitted_to(self.max_nodes_, cut=self.larger == "cut")
        inner = graphs.codes[:, 1:-1]
        if self.coding == "one-hot":
            one_hot = inner[:, :, None] == np.arange(len(self.operations_))
            operations = one_hot.reshape(len(graphs), -1)
        else:
            operations = inner - ABSENT
        triangle = graphs.adjacency[:, *np.triu_indices(self.max_nodes_, 1)]
        return np.hstack([operations, triangle], dtype=np.float64)

    def _feature_names(self) -> list[str]:
        last = self.max_nodes_ - 1
        positions = [f"node{position}" for position in range(1, last)]
        if self.coding == "one-hot":
            positions = [
                f"{name}={operation}" for name in positions for operation in self.operations_
            ]
        return positions + [f"edge{p}->{q}" for p in range(last) for q in range(p + 1, last + 1)]

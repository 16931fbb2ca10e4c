"""Many architectures as padded arrays, so that a whole space is encoded at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.arch_graph import ArchGraph
from encoders.canonical import INPUT, OUTPUT
from encoders.errors import EncodingError
from encoders.joined_graphs import JoinedGraphs, unknown_operations

__all__ = ["ABSENT", "GraphBatch"]

# The code of a position that a smaller graph leaves empty.
ABSENT = -1


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """Graphs of at most `m` nodes, with their nodes in topological order.

    The input is at position 0 and the output at the last position `m - 1`; positions that a
    smaller graph leaves empty come before the output. Encoders take a batch in the place of a
    column of `ArchGraph`, without making the graphs one by one.

    Parameters
    ----------
    operations
        The `k` operations that nodes may carry, input and output left out.
    codes
        What is at every position (n, m): the number of an operation, `k` for the input, `k + 1`
        for the output, -1 for nothing.
    adjacency
        How many edges lead from one position to another (n, m, m), integers; the matrices are
        upper triangular.

    Raises
    ------
    EncodingError
        If these are not such arrays.

    Examples
    --------
    >>> graph = ArchGraph(("input", "conv", "output"), ((0, 1), (1, 2), (0, 2)))
    >>> batch = GraphBatch.of([graph], operations=["conv", "pool"])
    >>> batch.codes.tolist(), batch.adjacency.tolist()
    ([[2, 0, 3]], [[[0, 1, 1], [0, 0, 1], [0, 0, 0]]])
    >>> batch.graphs() == [graph]
    True
    """

    operations: tuple[str, ...]
    codes: NDArray[Any]
    adjacency: NDArray[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))
        codes, adjacency = np.asarray(self.codes), np.asarray(self.adjacency)
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "adjacency", adjacency)
        if (
            codes.ndim != 2
            or codes.shape[1] < 2
            or adjacency.shape != (*codes.shape, codes.shape[1])
            or codes.dtype.kind not in "iu"
            or adjacency.dtype.kind not in "biu"
        ):
            raise EncodingError(
                "expected integer codes (n, m) of at least two positions and adjacency (n, m, m), "
                f"found {codes.dtype} {codes.shape} and {adjacency.dtype} {adjacency.shape}; "
                "make a batch with GraphBatch.of"
            )
        inner = codes[:, 1:-1]
        width = len(self.operations)
        empty = inner == ABSENT
        for right, expected in (
            (codes[:, 0] == width, f"the code {width} of the input at the first position"),
            (codes[:, -1] == width + 1, f"the code {width + 1} of the output at the last position"),
            (
                (empty | ((inner >= 0) & (inner < width))).all(axis=1),
                f"codes from {ABSENT} to {width - 1} between input and output",
            ),
            (
                (empty[:, :-1] <= empty[:, 1:]).all(axis=1),
                "empty positions behind all nodes but the output",
            ),
        ):
            self._refuse_unless(right, expected)
        lower = np.tri(codes.shape[1], dtype=np.bool_)
        absent = codes == ABSENT
        misplaced = lower | absent[:, :, None] | absent[:, None]
        self._refuse_unless(
            ~(misplaced & (adjacency != 0)).any(axis=(1, 2)) & (adjacency >= 0).all(axis=(1, 2)),
            "edges from a node to a later one",
        )

    def _refuse_unless(self, right: NDArray[np.bool_], expected: str) -> None:
        if not right.all():
            row = int(np.argmin(right))
            raise EncodingError(
                f"expected {expected}, found codes {self.codes[row].tolist()} in row {row}; "
                "make a batch with GraphBatch.of"
            )

    @classmethod
    def of(cls, graphs: Sequence[ArchGraph], operations: Sequence[str]) -> "GraphBatch":
        """Return graphs as arrays, in their topological order.

        Parameters
        ----------
        graphs
            `n` graphs.
        operations
            The operations that nodes may carry, input and output left out.

        Raises
        ------
        EncodingError
            If a graph carries another operation.
        """
        joined = JoinedGraphs.of(graphs, operations)
        sizes, graph_of = np.diff(joined.bounds), joined.graph_of
        nodes = int(sizes.max(initial=2))
        # Outputs stand at the last position.
        place = np.arange(len(joined.codes)) - joined.bounds[graph_of]
        place[joined.bounds[1:] - 1] = nodes - 1
        codes = np.full((len(graphs), nodes), ABSENT, dtype=np.int64)
        codes[graph_of, place] = joined.codes
        rows = graph_of[joined.sources] * nodes + place[joined.sources]
        cells = rows * nodes + place[joined.targets]
        # Validated as a graph each, and placed in topological order.
        adjacency = np.bincount(cells, minlength=len(graphs) * nodes * nodes).astype(np.int32)
        shape = len(graphs), nodes, nodes
        return cls._with(tuple(operations), codes, adjacency.reshape(shape))

    def joined(self) -> JoinedGraphs:
        """Return the same graphs one after the other, without empty positions."""
        present = self.codes != ABSENT
        number = np.cumsum(present).reshape(present.shape) - 1
        rows, sources, targets = np.nonzero(self.adjacency)
        repeats = self.adjacency[rows, sources, targets].astype(np.int64)
        return JoinedGraphs(
            codes=self.codes[present].astype(np.int64),
            bounds=np.concatenate([[0], np.cumsum(self.num_nodes)]),
            sources=np.repeat(number[rows, sources], repeats),
            targets=np.repeat(number[rows, targets], repeats),
        )

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def num_nodes(self) -> NDArray[np.int64]:
        """The number of nodes of every graph (n,), input and output included."""
        sizes: NDArray[np.int64] = np.count_nonzero(self.codes != ABSENT, axis=1)
        return sizes

    def node_depths(self) -> NDArray[np.int64]:
        """Return the number of edges on the longest path from the input to every position (n, m).

        Where no path leads it is negative.
        """
        connected = self.adjacency > 0
        nowhere = -self.codes.shape[1]
        depths: NDArray[np.int64] = np.full(self.codes.shape, nowhere)
        depths[:, 0] = 0
        for node in range(1, self.codes.shape[1]):
            reached = np.where(connected[:, :node, node], depths[:, :node] + 1, nowhere)
            depths[:, node] = reached.max(axis=1)
        return depths

    def depths(self) -> NDArray[np.int64]:
        """Return the number of edges on the longest path of every graph (n,), 0 if none."""
        return self.node_depths()[:, -1].clip(min=0)

    def taken(self, rows: NDArray[np.int64]) -> "GraphBatch":
        """Return the graphs with the given numbers."""
        return self._with(self.operations, self.codes[rows], self.adjacency[rows])

    def recoded(self, operations: Sequence[str]) -> "GraphBatch":
        """Return the same graphs with codes for other operations.

        Parameters
        ----------
        operations
            The operations that nodes may carry, input and output left out.

        Raises
        ------
        EncodingError
            If a graph carries another operation.
        """
        if tuple(operations) == self.operations:
            return self
        code_of = {name: code for code, name in enumerate((*operations, INPUT, OUTPUT))}
        names = (*self.operations, INPUT, OUTPUT)
        unknown = sorted({name for name in self.used() if name not in code_of})
        if unknown:
            raise unknown_operations(unknown, operations)
        # The last entry stands for an empty position, whose code is -1.
        table = np.array([*(code_of.get(name, ABSENT) for name in names), ABSENT])
        return self._with(tuple(operations), table[self.codes], self.adjacency)

    def used(self) -> set[str]:
        """Return the operations that some node carries, input and output left out."""
        found = np.bincount(self.codes[:, 1:-1].ravel() + 1, minlength=1)[1:]
        return {self.operations[code] for code in np.flatnonzero(found)}

    def fitted_to(self, nodes: int, *, cut: bool = False) -> "GraphBatch":
        """Return the same graphs with `nodes` positions.

        Parameters
        ----------
        nodes
            The number of positions, input and output included.
        cut
            Whether graphs of more nodes lose what is between the positions that there are and
            the output.

        Raises
        ------
        EncodingError
            If a graph has more nodes and is not to be cut.
        """
        largest = int(self.num_nodes.max(initial=0))
        if largest > nodes and not cut:
            raise EncodingError(
                f"expected graphs of at most {nodes} nodes, found one of {largest}; "
                "give a larger max_nodes to the encoder"
            )
        size = min(self.codes.shape[1], nodes)
        taken = np.array([*range(size - 1), self.codes.shape[1] - 1])
        place = np.array([*range(size - 1), nodes - 1])
        codes = np.full((len(self), nodes), ABSENT, dtype=self.codes.dtype)
        codes[:, place] = self.codes[:, taken]
        adjacency = np.zeros((len(self), nodes, nodes), dtype=self.adjacency.dtype)
        adjacency[:, place[:, None], place] = self.adjacency[:, taken[:, None], taken]
        return self._with(self.operations, codes, adjacency)

    def graphs(self) -> list[ArchGraph]:
        """Return the graphs one by one, their nodes numbered by position."""
        names = np.array((*self.operations, INPUT, OUTPUT), dtype=object)
        sizes, nodes = self.num_nodes, self.codes.shape[1]
        pairs = np.empty(nodes * nodes, dtype=object)
        pairs[:] = [(source, target) for source in range(nodes) for target in range(nodes)]
        rows, sources, targets = np.nonzero(self.adjacency)
        counts = self.adjacency[rows, sources, targets].astype(np.int64)
        targets = np.where(targets == nodes - 1, sizes[rows] - 1, targets)
        edges = pairs[np.repeat(sources * nodes + targets, counts)].tolist()
        stops = np.searchsorted(np.repeat(rows, counts), np.arange(len(self) + 1)).tolist()
        return [
            ArchGraph._of_valid((*inner[: size - 1], OUTPUT), tuple(edges[start:stop]))
            for inner, size, (start, stop) in zip(
                names[self.codes].tolist(), sizes.tolist(), pairwise(stops), strict=True
            )
        ]

    @classmethod
    def _with(
        cls, operations: tuple[str, ...], codes: NDArray[Any], adjacency: NDArray[Any]
    ) -> "GraphBatch":
        """Make a batch of arrays that were checked before."""
        batch = object.__new__(cls)
        for name, value in (
            ("operations", operations),
            ("codes", codes),
            ("adjacency", adjacency),
        ):
            object.__setattr__(batch, name, value)
        return batch

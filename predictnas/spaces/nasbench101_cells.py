"""Cells of NAS-Bench-101 as arrays: what is left of them after pruning, and all distinct ones."""

from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from predictnas.spaces.module_hash import module_hashes

__all__ = ["EDGES", "MAX_EDGES", "VERTICES", "Cells", "distinct_cells"]

VERTICES = 7
MAX_EDGES = 9
NUM_OPERATIONS = 3
EDGES = tuple(combinations(range(VERTICES), 2))
_SOURCES, _TARGETS = np.array(EDGES).T
# The label that the published hash gives to each option: the 3 × 3 convolution comes first there.
_HASH_LABELS = np.array([1, 0, 2])


class Cells(NamedTuple):
    """Pruned cells: only vertices on a path from input to output keep their edges.

    They come first, in their order, behind the input; the output is always the last vertex.

    Attributes
    ----------
    matrices
        Adjacency matrices (n, 7, 7), upper triangular.
    options
        The operation (n, 5) of every vertex between, 0 where there is no vertex.
    inner
        How many vertices between input and output (n,) are left.
    connected
        Whether there is a path from input to output (n,).
    """

    matrices: NDArray[np.bool_]
    options: NDArray[np.int64]
    inner: NDArray[np.int64]
    connected: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: NDArray[np.int64]) -> "Cells":
        """Return the pruned cells of rows (n, 26): whether there are edges, then operations."""
        matrices = np.zeros((len(rows), VERTICES, VERTICES), dtype=np.bool_)
        matrices[:, _SOURCES, _TARGETS] = rows[:, : len(EDGES)] == 1
        ahead = np.zeros((len(rows), VERTICES), dtype=np.bool_)
        behind = ahead.copy()
        ahead[:, 0] = behind[:, -1] = True
        for vertex in range(1, VERTICES):
            ahead[:, vertex] = (matrices[:, :, vertex] & ahead).any(axis=1)
            behind[:, -1 - vertex] = (matrices[:, -1 - vertex] & behind).any(axis=1)
        alive = ahead & behind
        inner = alive[:, 1:-1]
        order = np.empty(alive.shape, dtype=np.int64)
        order[:, 0], order[:, -1] = 0, VERTICES - 1
        order[:, 1:-1] = 1 + np.argsort(~inner, axis=1, kind="stable")
        matrices &= alive[:, :, None] & alive[:, None]
        every = np.arange(len(rows))[:, None, None]
        options = np.where(inner, rows[:, len(EDGES) :], 0)
        return cls(
            matrices[every, order[:, :, None], order[:, None]],
            np.take_along_axis(options, order[:, 1:-1] - 1, axis=1),
            inner.sum(axis=1),
            alive[:, 0],
        )

    @property
    def rows(self) -> NDArray[np.int64]:
        """The cells as rows (n, 26)."""
        return np.hstack([self.matrices[:, _SOURCES, _TARGETS], self.options])

    @property
    def num_edges(self) -> NDArray[np.int64]:
        """How many edges are left (n,)."""
        return np.asarray(self.matrices.sum(axis=(1, 2)))

    def matrix(self, index: int) -> list[list[int]]:
        """Return the adjacency matrix of one cell, without what is no vertex."""
        kept = [*range(self.inner[index] + 1), VERTICES - 1]
        matrix: list[list[int]] = self.matrices[index][np.ix_(kept, kept)].astype(int).tolist()
        return matrix

    def numbering(self, index: int) -> list[int]:
        """Return the vertices of one cell in the order in which the benchmark trained it.

        Of all isomorphic cells it trained the one with the smallest edges, read as a binary number
        by columns from the end, and of these the one with the smallest labels.
        """
        inner = int(self.inner[index])
        last = inner + 1
        orders = np.array([(0, *order, last) for order in permutations(range(1, last))])
        matrix = np.array(self.matrix(index))
        targets, sources = np.tril_indices(inner + 2, -1)
        # An edge must not lead back.
        orders = orders[~matrix[orders[:, targets], orders[:, sources]].any(axis=1)]
        edges = matrix[orders[:, sources], orders[:, targets]] @ (1 << np.arange(len(sources)))
        labels = _HASH_LABELS[self.options[index]][orders[:, 1:-1] - 1]
        labels = labels @ NUM_OPERATIONS ** np.arange(inner)[::-1]
        order: list[int] = orders[np.lexsort((labels, edges))[0]].tolist()
        return order

    def hashes(self) -> list[str]:
        """Return the published module hash of every cell."""
        hashes = np.empty(len(self.inner), dtype=object)
        for inner in np.unique(self.inner).tolist():
            which = np.flatnonzero(self.inner == inner)
            kept = [*range(inner + 1), VERTICES - 1]
            hashes[which] = module_hashes(
                self.matrices[np.ix_(which, kept, kept)], _HASH_LABELS[self.options[which, :inner]]
            )
        found: list[str] = hashes.tolist()
        return found


def distinct_cells(vertices: int) -> NDArray[np.int64]:
    """Return one row (m, 26) for every class of isomorphic cells with exactly so many vertices.

    Of all numberings of the vertices between input and output, that with the smallest edges read
    as a binary number stands for a wiring. Those that leave the wiring as it is, its
    automorphisms, make labellings equal, and the smallest of these stands for them.

    Parameters
    ----------
    vertices
        From 2 to 7, input and output included; all of them on a path between these two.
    """
    pairs = list(combinations(range(vertices), 2))
    bit = {pair: 1 << place for place, pair in enumerate(pairs)}
    codes = np.arange(1 << len(pairs))
    codes = codes[np.bitwise_count(codes) <= MAX_EDGES]
    # Where every vertex has an edge in and one out, it is on a path, since there are no cycles.
    for vertex in range(vertices - 1):
        leaving = sum(bit[pair] for pair in pairs if pair[0] == vertex)
        entering = sum(bit[pair] for pair in pairs if pair[1] == vertex + 1)
        codes = codes[(codes & leaving > 0) & (codes & entering > 0)]

    inner = vertices - 2
    numberings = [(0, *order, vertices - 1) for order in permutations(range(1, vertices - 1))]
    # A numbering that turns an edge round gives a number larger than all others.
    weights = np.array(
        [[bit.get((order[i], order[j]), 1 << len(pairs)) for i, j in pairs] for order in numberings]
    ).T
    bits = codes[:, None] >> np.arange(len(pairs)) & 1
    smallest = np.ones(len(codes), dtype=np.bool_)
    for weight in weights.T:
        smallest &= bits @ weight >= codes
    codes, bits = codes[smallest], bits[smallest]
    automorphisms = bits @ weights == codes[:, None]

    labellings = np.arange(NUM_OPERATIONS**inner)
    digits = labellings[:, None] // NUM_OPERATIONS ** np.arange(inner) % NUM_OPERATIONS
    least = np.tile(labellings, (len(codes), 1))
    for order, same in zip(numberings, automorphisms.T, strict=True):
        renumbered = digits @ NUM_OPERATIONS ** (np.array(order[1:-1], dtype=np.int64) - 1)
        least[same] = np.minimum(least[same], renumbered)
    wiring, labelling = np.nonzero(least == labellings)

    rows = np.zeros((len(wiring), len(EDGES) + VERTICES - 2), dtype=np.int64)
    place = [*range(vertices - 1), VERTICES - 1]
    columns = [EDGES.index((place[i], place[j])) for i, j in pairs]
    rows[:, columns] = bits[wiring]
    rows[:, len(EDGES) : len(EDGES) + inner] = digits[labelling]
    return rows

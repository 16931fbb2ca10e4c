"""Sums of many small regression trees for many rows at once."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.trees import Trees

__all__ = ["LeafMasks"]

MOST_LEAVES = 64
# Rows whose masks are held at once; with fewer, calls take longer than what they compute.
CHUNK_ROWS = 16384
# The lowest bit that is not set in a byte.
FIRST_LEFT = np.array(
    [(~byte & (byte + 1)).bit_length() - 1 for byte in range(256)], dtype=np.uint8
)

Masks = NDArray[np.unsignedinteger]


@dataclass(frozen=True, eq=False)
class LeafMasks:
    """Regression trees of few leaves as masks of the leaves that decisions rule out.

    The leaves of a tree have numbers from left to right. A row that goes right at a node cannot
    reach the leaves below its left child; of the leaves that no node rules out, the row reaches
    the first. So nodes can be looked at in any order, all rows at a time, and those of all trees
    that ask the same question together.

    Attributes
    ----------
    questions
        For each different question its column, its threshold, and the trees that ask it with the
        masks of what going right rules out.
    values
        The values of the leaves of the `t` trees, in their order, shape ``(t, leaves)``.

    References
    ----------
    C. Lucchese, F. M. Nardini, S. Orlando, R. Perego, N. Tonellotto, R. Venturini. QuickScorer: a
    fast algorithm to rank documents with additive ensembles of regression trees. SIGIR 2015.
    """

    questions: tuple[tuple[int, np.float32, tuple[tuple[int, np.unsignedinteger], ...]], ...]
    values: NDArray[np.float64]
    kind: type[np.unsignedinteger]

    @classmethod
    def of(cls, trees: Trees) -> Self | None:
        """Return the masks of trees, None where a tree has more than 64 leaves."""
        below = [_leaves_below(trees, int(root)) for root in trees.roots]
        most = max(len(leaves[root]) for leaves, root in zip(below, trees.roots, strict=True))
        if most > MOST_LEAVES:
            return None
        kinds = (np.uint8, np.uint16, np.uint32, np.uint64)
        kind = next(kind for kind in kinds if most <= 8 * kind().itemsize)
        asked: dict[tuple[int, float], list[tuple[int, np.unsignedinteger]]] = defaultdict(list)
        values = np.zeros((len(trees.roots), most))
        for tree, (leaves, root) in enumerate(zip(below, trees.roots.tolist(), strict=True)):
            place = {leaf: number for number, leaf in enumerate(leaves[root])}
            values[tree, : len(place)] = trees.means[list(place)]
            for node in leaves:
                left = int(trees.left[node])
                if left != node:
                    ruled_out = kind(sum(1 << place[leaf] for leaf in leaves[left]))
                    question = int(trees.columns[node]), float(trees.limits[node])
                    asked[question].append((tree, ruled_out))
        questions = tuple(
            (column, np.float32(limit), tuple(nodes)) for (column, limit), nodes in asked.items()
        )
        return cls(questions, values, kind)

    def sums(self, matrix: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
        """Return the sums over groups of equally many trees in a row, shape ``(groups, n)``."""
        # scikit-learn's trees compare single-precision features.
        columns = np.ascontiguousarray(matrix.T.astype(np.float32))
        starts = range(0, columns.shape[1], CHUNK_ROWS)
        parts = [self._sums(columns[:, start : start + CHUNK_ROWS], groups) for start in starts]
        return np.concatenate(parts, axis=1)

    def _sums(self, columns: NDArray[np.float32], groups: int) -> NDArray[np.float64]:
        rows = columns.shape[1]
        ruled_out: list[Masks] = list(np.zeros((len(self.values), rows), dtype=self.kind))
        goes_right = np.empty(rows, dtype=np.bool_)
        marked: Masks = np.empty(rows, dtype=self.kind)
        for column, limit, nodes in self.questions:
            np.greater(columns[column], limit, out=goes_right)
            for tree, mask in nodes:
                np.multiply(goes_right.view(np.uint8), mask, out=marked)
                np.bitwise_or(ruled_out[tree], marked, out=ruled_out[tree])
        totals = np.zeros((groups, rows))
        of_group = np.repeat(np.arange(groups), len(self.values) // groups)
        for tree, group in enumerate(of_group.tolist()):
            totals[group] += self.values[tree].take(self._reached(ruled_out[tree]))
        return totals

    def _reached(self, ruled_out: Masks) -> NDArray[np.uint8]:
        """Return the number of the first leaf that is not ruled out."""
        if self.kind is np.uint8:
            return FIRST_LEFT.take(ruled_out)
        left = ~ruled_out
        # The ones below the lowest one that is left.
        first: NDArray[np.uint8] = np.bitwise_count((left & (~left + self.kind(1))) - self.kind(1))
        return first


def _leaves_below(trees: Trees, root: int) -> dict[int, list[int]]:
    """Return the leaves below every node of a tree, from left to right."""
    found: dict[int, list[int]] = {}

    def visit(node: int) -> list[int]:
        left, right = int(trees.left[node]), int(trees.right[node])
        found[node] = [node] if left == node else [*visit(left), *visit(right)]
        return found[node]

    visit(root)
    return found

"""Sums of many small regression trees for many rows at once."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.trees import Trees

__all__ = ["LeafMasks"]

MOST_LEAVES = 64
# Masks that are computed at once; more would leave the processor's cache.
CHUNK_MASKS = 2**18
# The lowest bit that is not set in a byte.
FIRST_LEFT = np.array(
    [(~byte & (byte + 1)).bit_length() - 1 for byte in range(256)], dtype=np.int64
)

Masks = NDArray[np.unsignedinteger]


@dataclass(frozen=True, eq=False)
class LeafMasks:
    """Regression trees of few leaves as masks of the leaves that decisions rule out.

    The leaves of a tree have numbers from left to right. A row that goes right at a node cannot
    reach the leaves below its left child; of the leaves that no node rules out, the row reaches
    the first. So nodes can be looked at in any order: one of every tree at a time, for many rows,
    and what several ask only once.

    Attributes
    ----------
    columns, limits
        The `q` different questions: whether a column, ``(q,)``, exceeds a limit, ``(q,)``.
    asked
        The question at every inner node of the `t` trees, ``(nodes, t)``, where `nodes` is the
        number of the largest tree; any where a tree has fewer.
    masks
        What going right at the node rules out, ``(nodes, t, 1)``; nothing where there is none.
    values
        The values of all leaves, `leaves` for every tree, shape ``(t * leaves,)``.

    References
    ----------
    C. Lucchese, F. M. Nardini, S. Orlando, R. Perego, N. Tonellotto, R. Venturini. QuickScorer: a
    fast algorithm to rank documents with additive ensembles of regression trees. SIGIR 2015.
    """

    columns: NDArray[np.int64]
    limits: NDArray[np.float32]
    asked: NDArray[np.int64]
    masks: Masks
    values: NDArray[np.float64]

    @classmethod
    def of(cls, trees: Trees) -> Self | None:
        """Return the masks of trees, None where a tree has more than 64 leaves."""
        below = [_leaves_below(trees, int(root)) for root in trees.roots]
        most = max(len(leaves[root]) for leaves, root in zip(below, trees.roots, strict=True))
        if most > MOST_LEAVES:
            return None
        kinds = (np.uint8, np.uint16, np.uint32, np.uint64)
        kind = next(kind for kind in kinds if most <= 8 * kind().itemsize)
        questions: dict[tuple[int, float], int] = {}
        values = np.zeros((len(trees.roots), most))
        asked = np.zeros((most - 1, len(trees.roots)), dtype=np.int64)
        masks = np.zeros((most - 1, len(trees.roots), 1), dtype=kind)
        for tree, (leaves, root) in enumerate(zip(below, trees.roots.tolist(), strict=True)):
            place = {leaf: number for number, leaf in enumerate(leaves[root])}
            values[tree, : len(place)] = trees.means[list(place)]
            inner = (node for node in leaves if int(trees.left[node]) != node)
            for number, node in enumerate(inner):
                question = int(trees.columns[node]), float(trees.limits[node])
                asked[number, tree] = questions.setdefault(question, len(questions))
                left = leaves[int(trees.left[node])]
                masks[number, tree] = sum(1 << place[leaf] for leaf in left)
        return cls(
            columns=np.array([column for column, _ in questions], dtype=np.int64),
            limits=np.array([limit for _, limit in questions], dtype=np.float32),
            asked=asked,
            masks=masks,
            values=values.ravel(),
        )

    def sums(self, matrix: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
        """Return the sums over groups of equally many trees in a row, shape ``(groups, n)``."""
        # scikit-learn's trees compare single-precision features.
        columns = np.ascontiguousarray(matrix.T.astype(np.float32))
        step = max(1, CHUNK_MASKS // self.masks.shape[1])
        starts = range(0, columns.shape[1], step)
        parts = [self._sums(columns[:, start : start + step], groups) for start in starts]
        return np.concatenate(parts, axis=1)

    def _sums(self, columns: NDArray[np.float32], groups: int) -> NDArray[np.float64]:
        _, trees, _ = self.masks.shape
        goes_right = columns.take(self.columns, axis=0) > self.limits[:, None]
        # All bits are set where a row goes right.
        rows_right = np.negative(goes_right.astype(self.masks.dtype))
        ruled_out: Masks = np.zeros((trees, columns.shape[1]), dtype=self.masks.dtype)
        marked: Masks = np.empty_like(ruled_out)
        for asked, masks in zip(self.asked, self.masks, strict=True):
            rows_right.take(asked, axis=0, out=marked, mode="clip")
            marked &= masks
            ruled_out |= marked
        leaves = self._reached(ruled_out)
        leaves += np.arange(0, len(self.values), len(self.values) // trees)[:, None]
        reached = self.values.take(leaves)
        totals: NDArray[np.float64] = reached.reshape(groups, -1, columns.shape[1]).sum(axis=1)
        return totals

    def _reached(self, ruled_out: Masks) -> NDArray[np.int64]:
        """Return the number of the first leaf that is not ruled out."""
        if self.masks.dtype == np.uint8:
            return FIRST_LEFT.take(ruled_out)
        left = ~ruled_out
        one = self.masks.dtype.type(1)
        # The ones below the lowest one that is left.
        return np.bitwise_count((left & (~left + one)) - one).astype(np.int64)


def _leaves_below(trees: Trees, root: int) -> dict[int, list[int]]:
    """Return the leaves below every node of a tree, from left to right."""
    found: dict[int, list[int]] = {}

    def visit(node: int) -> list[int]:
        left, right = int(trees.left[node]), int(trees.right[node])
        found[node] = [node] if left == node else [*visit(left), *visit(right)]
        return found[node]

    visit(root)
    return found

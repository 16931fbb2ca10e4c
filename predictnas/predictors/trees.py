"""Regression trees as plain arrays."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sklearn.tree import DecisionTreeRegressor

    from predictnas.predictors.leaf_masks import LeafMasks

__all__ = ["Trees"]

# Pairs of a row and a tree that are looked at at once; more would leave the processor's cache.
CHUNK_PAIRS = 2**16
# Decisions after which those that have reached a leaf are set aside.
LEVELS_TOGETHER = 4
# Rows whose leaves in all trees are held at once.
CHUNK_ROWS = 256
# Read as one piece of 16 bytes.
NODE = np.dtype([("limit", np.float32), ("column", np.int32), ("left", np.int64)])


@dataclass(frozen=True, eq=False)
class Trees:
    """Regression trees as arrays over all their nodes.

    Attributes
    ----------
    roots
        The node at which each of the `s` trees starts, shape ``(s,)``.
    columns, thresholds
        A row goes left at a node if its column is at most the threshold, shape ``(nodes,)``.
    left, right
        The children of every node; a leaf is its own child.
    means, variances
        Mean and variance of the training targets at every node.
    depth
        The number of decisions on the longest path.
    """

    roots: NDArray[np.int64]
    columns: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    depth: int

    @classmethod
    def extract(cls, estimators: "Iterable[DecisionTreeRegressor]") -> Self:
        """Take the trees out of fitted scikit-learn estimators."""
        trees = [estimator.tree_ for estimator in estimators]
        roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1].astype(np.int64)

        def joined(name: str) -> NDArray[np.float64]:
            return np.concatenate([np.asarray(getattr(tree, name)).reshape(-1) for tree in trees])

        offsets = np.repeat(roots, [tree.node_count for tree in trees])
        left = joined("children_left").astype(np.int64)
        right = joined("children_right").astype(np.int64)
        leaf = left < 0
        itself = np.arange(len(leaf))
        return cls(
            roots=roots,
            columns=np.where(leaf, 0, joined("feature")).astype(np.int64),
            thresholds=joined("threshold"),
            left=np.where(leaf, itself, left + offsets),
            right=np.where(leaf, itself, right + offsets),
            means=joined("value"),
            variances=joined("impurity"),
            depth=max(int(tree.max_depth) for tree in trees),
        )

    def leaves(self, matrix: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the leaf of every row in every tree, shape ``(n, s)``."""
        # scikit-learn's trees compare single-precision features.
        single = matrix.astype(np.float32)
        step = max(1, CHUNK_PAIRS // len(self.roots))
        return np.concatenate(
            [self._descend(single[start : start + step]) for start in range(0, len(single), step)]
        )

    def sums(self, matrix: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
        """Return the sums over groups of equally many trees in a row, shape ``(groups, n)``."""
        if self._masks is not None:
            return self._masks.sums(matrix, groups)
        parts = []
        for start in range(0, len(matrix), CHUNK_ROWS):
            leaves = self.leaves(matrix[start : start + CHUNK_ROWS])
            parts.append(self.means.take(leaves).reshape(len(leaves), groups, -1).sum(axis=2).T)
        return np.concatenate(parts, axis=1)

    def _descend(self, matrix: NDArray[np.float32]) -> NDArray[np.int64]:
        table, numbers = self._table
        values = matrix.ravel()
        shape = len(matrix), len(self.roots)
        nodes = np.tile(np.arange(len(self.roots)), len(matrix))
        starts = np.repeat(np.arange(len(matrix)) * matrix.shape[1], len(self.roots))
        found, place = nodes, np.arange(len(nodes))
        for level in range(self.depth):
            here = table.take(nodes)
            if level % LEVELS_TOGETHER == LEVELS_TOGETHER - 1:
                # Most have reached a leaf long before the deepest one.
                found[place] = nodes
                going = np.flatnonzero(here["left"] != nodes)
                here, starts, place = here.take(going), starts.take(going), place.take(going)
            entries = values.take(starts + here["column"])
            nodes = here["left"] + (entries > here["limit"])
        found[place] = nodes
        return numbers.take(found).reshape(shape)

    @cached_property
    def _masks(self) -> "LeafMasks | None":
        from predictnas.predictors.leaf_masks import LeafMasks

        return LeafMasks.of(self)

    @cached_property
    def limits(self) -> NDArray[np.float32]:
        """The largest numbers of single precision that are at most the thresholds."""
        limits = self.thresholds.astype(np.float32)
        lower = np.nextafter(limits, np.float32(-np.inf))
        return np.where(limits > self.thresholds, lower, limits)

    @cached_property
    def _table(self) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        """What a decision reads of a node, and the numbers of the nodes.

        Here they stand in another order: roots first, and right children after left ones.
        """
        level = self.roots
        levels = [level]
        while len(level):
            inner = level[self.left[level] != level]
            level = np.column_stack([self.left[inner], self.right[inner]]).ravel()
            levels.append(level)
        numbers = np.concatenate(levels)
        place = np.empty_like(numbers)
        place[numbers] = np.arange(len(numbers))
        table = np.empty(len(numbers), dtype=NODE)
        table["column"], table["left"] = self.columns[numbers], place[self.left[numbers]]
        # No row leaves a leaf.
        leaf = self.left[numbers] == numbers
        table["limit"] = np.where(leaf, np.float32(np.inf), self.limits[numbers])
        return table, numbers

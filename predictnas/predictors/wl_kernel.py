"""The Weisfeiler–Lehman subtree kernel between graphs, normalised."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders import ArchGraph, EncodingError, WeisfeilerLehmanEncoder
from predictnas.errors import InputError

__all__ = ["WLGraphs", "gram_among", "grams_by_iterations"]

# Rows whose kernel matrix is computed at once.
CHUNK_ROWS = 1024


@dataclass(frozen=True, eq=False)
class WLGraphs:
    r"""The training graphs as the kernel sees them: counts of subtrees, of unit length.

    With :math:`\phi(G)` the counts of all Weisfeiler–Lehman labels of the iterations 0 to `h`,
    the kernel is

    .. math:: k(G, G') = \frac{\phi(G)^\top \phi(G')}{\|\phi(G)\| \, \|\phi(G')\|}

    Labels that no training graph has are not in a kernel between a new graph and those, but they
    lengthen its counts, and new graphs may share them.

    Attributes
    ----------
    operations
        The operations that graphs may carry.
    iterations
        `h`.
    labels
        The labels of the `d` columns.
    values, columns, starts
        The normalised counts ``(n, d)`` as a compressed sparse array.
    """

    operations: tuple[str, ...]
    iterations: int
    labels: tuple[str, ...]
    values: NDArray[np.float64]
    columns: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def learn(
        cls, graphs: Sequence[ArchGraph], operations: Sequence[str] | None, iterations: int
    ) -> Self:
        """Count the subtrees of `n` training graphs.

        Raises
        ------
        InputError
            If a graph has an operation that is not among `operations`, or these are no vocabulary.
        """
        try:
            encoder = WeisfeilerLehmanEncoder(operations, iterations).fit(graphs)
            rows = _normalised(encoder.count_all(graphs))
        except EncodingError as error:
            raise InputError(str(error)) from None
        return cls(
            operations=encoder.operations_,
            iterations=iterations,
            labels=encoder.labels_,
            values=rows.data,
            columns=rows.indices.astype(np.int64),
            starts=rows.indptr.astype(np.int64),
        )

    @cached_property
    def rows(self) -> csr_array:
        """The normalised counts of the training graphs, ``(n, d)``."""
        shape = len(self.starts) - 1, len(self.labels)
        return csr_array((self.values, self.columns, self.starts), shape)

    @cached_property
    def _transposed(self) -> NDArray[np.float64]:
        return np.ascontiguousarray(self.rows.toarray().T)

    @cached_property
    def _encoder(self) -> WeisfeilerLehmanEncoder:
        encoder = WeisfeilerLehmanEncoder(self.operations, self.iterations, self.labels)
        # All that makes up the layout is given, so any graph will do.
        return encoder.fit([ArchGraph(("input", "output"), ((0, 1),))])

    def transform(self, graphs: Sequence[ArchGraph]) -> csr_array:
        """Return the normalised counts of `m` graphs, columns for new labels at the end.

        Raises
        ------
        InputError
            If a graph has an operation that is not in the vocabulary.
        """
        try:
            return _normalised(self._encoder.count_all(graphs))
        except EncodingError as error:
            raise InputError(str(error)) from None

    def cross(self, rows: csr_array) -> NDArray[np.float64]:
        """Return the kernel between graphs from `transform` and training graphs, ``(m, n)``."""
        products: NDArray[np.float64] = rows[:, : len(self.labels)] @ self._transposed
        return products


def grams_by_iterations(graphs: WLGraphs) -> list[NDArray[np.float64]]:
    """Return the kernel matrices ``(n, n)`` of the training graphs for 0 to `h` iterations."""
    level = np.array([int(label.partition(":")[0]) for label in graphs.labels])
    total = np.zeros((graphs.rows.shape[0],) * 2)
    grams = []
    for iteration in range(graphs.iterations + 1):
        part = graphs.rows[:, level == iteration]
        total = total + (part @ part.T).toarray()
        length = np.sqrt(total.diagonal())
        grams.append(total / length / length[:, None])
    return grams


def gram_among(rows: csr_array, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the kernel among graphs from `WLGraphs.transform`.

    Parameters
    ----------
    rows
        Their normalised counts, ``(m, d)``.
    numbers
        The numbers of the graphs of every batch, ``(*batch, q)``.

    Returns
    -------
    array ``(*batch, q, q)``
    """
    size = numbers.shape[-1]
    grams = np.ones((*numbers.shape, size))
    if size == 1:
        return grams
    batches, flat = numbers.reshape(-1, size), grams.reshape(-1, size, size)
    step = max(1, CHUNK_ROWS // size)
    for start in range(0, len(batches), step):
        distinct, place = np.unique(batches[start : start + step], return_inverse=True)
        block = rows[distinct]
        gram = (block @ block.T).toarray()
        place = place.reshape(-1, size)
        flat[start : start + step] = gram[place[:, :, None], place[:, None, :]]
    return grams


def _normalised(counts: csr_array) -> csr_array:
    lengths = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    scaled = counts.copy()
    scaled.data /= np.repeat(lengths, np.diff(scaled.indptr))
    return scaled

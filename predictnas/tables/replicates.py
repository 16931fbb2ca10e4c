"""Several labels of one architecture: from other seeds, or of isomorphic twins."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Replicates"]


@dataclass(frozen=True, eq=False)
class Replicates:
    """The single labels behind the means of a label table.

    Attributes
    ----------
    rows
        The row of the label table that each label belongs to, shape ``(m,)``.
    seeds
        The seed that each label was trained with, shape ``(m,)``.
    labels
        The labels, shape ``(m,)``, finite.
    """

    rows: NDArray[np.int64]
    seeds: NDArray[np.int64]
    labels: NDArray[np.float64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many labels each row of the table has, shape ``(n,)``."""
        return np.bincount(self.rows).astype(np.int64)

    @property
    def standard_errors(self) -> NDArray[np.float64]:
        """Standard error of each row's mean label, s / √k, shape ``(n,)``; NaN for one label."""
        grouped = pd.Series(self.labels).groupby(self.rows)
        return np.asarray(grouped.sem().to_numpy(dtype=np.float64))

    def matrix(self) -> NDArray[np.float64]:
        """Return labels with a row for every architecture and a column for every repetition.

        Columns go by ascending seed, so where all architectures have the same seeds, a column is
        a seed.

        Returns
        -------
        ndarray of shape (n, largest count)
            NaN where an architecture has fewer labels.
        """
        order = np.lexsort((self.seeds, self.rows))
        rows = self.rows[order]
        counts = self.counts
        position = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        table = np.full((len(counts), int(counts.max())), np.nan)
        table[rows, position] = self.labels[order]
        return table

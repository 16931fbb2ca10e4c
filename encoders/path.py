"""The path encoding: which sequences of operations lead from input to output."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from encoders.base import Encoder
from encoders.errors import EncodingError
from encoders.graph_batch import GraphBatch

__all__ = ["PathEncoder"]

MAX_FEATURES = 1_000_000
# How many columns are chosen at most where `max_length` leaves the choice.
MAX_CHOSEN_FEATURES = 20_000


class PathEncoder(Encoder):
    r"""Presence of every sequence of operations on a path from input to output.

    With `k` operations and paths of at most `L` operations there are
    :math:`d = \sum_{i=0}^{L} k^i` columns, ordered by length and then by operation; the first is
    the empty path, a direct edge from input to output. An entry is 1 if at least one path spells
    its sequence, else 0, so isomorphic graphs have equal rows. Longer paths are left out, which is
    the truncated path encoding of the paper.

    Parameters
    ----------
    operations
        The operations that nodes may carry; None takes those of the graphs seen in `fit`. Zero and
        identity drop out of canonical forms and need not be given.
    max_length
        The number `L` of operations on the longest path encoded; None takes the longest path of
        the graphs seen in `fit`, or as many operations as give no more than 20,000 columns.
    canonical
        Whether to encode canonical forms; otherwise a path through a zero or an identity is a path
        like any other.

    Attributes
    ----------
    operations_ : tuple of str
        The operations that nodes may carry.
    max_length_ : int
        The number of operations on the longest path encoded.

    References
    ----------
    C. White, W. Neiswanger, Y. Savani. BANANAS: Bayesian optimization with neural architectures
    for neural architecture search. AAAI 2021 (arXiv:1910.11858).

    Examples
    --------
    >>> from encoders import ArchGraph
    >>> graph = ArchGraph(("input", "conv", "output"), ((0, 1), (1, 2), (0, 2)))
    >>> encoder = PathEncoder(operations=["conv", "pool"], max_length=1).fit([graph])
    >>> encoder.get_feature_names_out().tolist()
    ['input>output', 'input>conv>output', 'input>pool>output']
    >>> encoder.transform([graph])
    array([[1., 1., 0.]])
    """

    invariant = True

    def __init__(
        self,
        operations: Sequence[str] | None = None,
        max_length: int | None = None,
        canonical: bool = True,
    ) -> None:
        self.operations = operations
        self.max_length = max_length
        self.canonical = canonical

    def _fit_layout(self, batches: list[GraphBatch]) -> None:
        length = self.max_length
        if length is None:
            length = max(0, *(int(batch.depths().max()) - 1 for batch in batches))
            while self._num_features(length) > MAX_CHOSEN_FEATURES:
                length -= 1
        if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or length < 0:
            raise EncodingError(
                f"expected max_length as a whole number of at least 0, found {length!r}; "
                "count the operations between input and output"
            )
        self.max_length_ = int(length)
        if self._num_features(self.max_length_) > MAX_FEATURES:
            raise EncodingError(
                f"expected at most {MAX_FEATURES:,} paths, found {len(self.operations_)} operations"
                f" on paths of up to {length}; give a smaller max_length to the encoder"
            )

    def _num_features(self, length: int) -> int:
        total, longest = 1, 1
        for _ in range(length):
            longest *= len(self.operations_)
            total += longest
            if total > MAX_FEATURES or longest == 0:
                break
        return total

    def _encode(self, graphs: GraphBatch) -> csr_array:
        # A sequence is a number in bijective base k: digits 1 to k, nothing for the empty one.
        # Numbers are then in order of length and operation: they are the columns.
        base, columns = len(self.operations_), self._num_features(self.max_length_)
        connected = graphs.adjacency > 0
        # For every position the graphs and the numbers of the paths that lead there.
        rows, numbers = [np.arange(len(graphs))], [np.zeros(len(graphs), dtype=np.int64)]
        last = graphs.codes.shape[1] - 1
        for node in range(1, last + 1):
            taken = [connected[rows[source], source, node] for source in range(node)]
            row = np.concatenate([part[t] for part, t in zip(rows, taken, strict=True)])
            number = np.concatenate([part[t] for part, t in zip(numbers, taken, strict=True)])
            if node < last:
                number = number * base + graphs.codes[row, node] + 1
                row, number = row[number < columns], number[number < columns]
            row, number = np.divmod(np.unique(row * columns + number), columns)
            rows.append(row)
            numbers.append(number)
        ones = np.ones(len(rows[-1]))
        return csr_array((ones, (rows[-1], numbers[-1])), shape=(len(graphs), columns))

    def _feature_names(self) -> list[str]:
        names = [""]
        start = 0
        for _ in range(self.max_length_):
            longer = [f"{p}{op}>" for p in names[start:] for op in self.operations_]
            start = len(names)
            names.extend(longer)
        return [f"input>{name}output" for name in names]

"""The path encoding: which sequences of operations lead from input to output."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
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
    the truncated path encoding of the paper (White et al., 2021).

    That says little where most paths are longer, and nothing where all are, as in a network that
    is described block by block: there are too many sequences of so many operations, and hardly two
    networks share one. There the columns are of pieces of paths instead, as in fingerprints of
    molecules (Ralaivola et al., 2005), and count them. A piece is at most `L` operations in a row
    on a path from input to output. The first `d` columns are those above, and after them stand
    :math:`d - 1` each, in the same order, for pieces that begin at the input, end at the output,
    and lie anywhere.

    Parameters
    ----------
    operations
        The operations that nodes may carry; None takes those of the graphs seen in `fit`. Zero and
        identity drop out of canonical forms and need not be given.
    max_length
        The number `L` of operations on the longest path or piece encoded; None takes the longest
        path of the graphs seen in `fit`, or as many operations as give no more than 20,000
        columns, but one for pieces in any case.
    canonical
        Whether to encode canonical forms; otherwise a path through a zero or an identity is a path
        like any other.
    pieces
        Whether columns are of pieces of paths too; None says so where `max_length` is None and the
        paths of the graphs seen in `fit` would need more than 20,000 columns.

    Attributes
    ----------
    operations_ : tuple of str
        The operations that nodes may carry.
    max_length_ : int
        The number of operations on the longest path or piece encoded.
    pieces_ : bool
        Whether columns are of pieces of paths too.

    References
    ----------
    C. White, W. Neiswanger, Y. Savani. BANANAS: Bayesian optimization with neural architectures
    for neural architecture search. AAAI 2021 (arXiv:1910.11858).
    L. Ralaivola, S. J. Swamidass, H. Saigo, P. Baldi. Graph kernels for chemical informatics.
    Neural Networks 2005.

    Examples
    --------
    >>> from encoders import ArchGraph
    >>> graph = ArchGraph(("input", "conv", "output"), ((0, 1), (1, 2), (0, 2)))
    >>> encoder = PathEncoder(operations=["conv", "pool"], max_length=1).fit([graph])
    >>> encoder.get_feature_names_out().tolist()
    ['input>output', 'input>conv>output', 'input>pool>output']
    >>> encoder.transform([graph])
    array([[1., 1., 0.]])
    >>> encoder = PathEncoder(operations=["conv"], max_length=1, pieces=True).fit([graph])
    >>> encoder.get_feature_names_out().tolist()
    ['input>output', 'input>conv>output', 'input>conv', 'conv>output', 'conv']
    """

    invariant = True

    def __init__(
        self,
        operations: Sequence[str] | None = None,
        max_length: int | None = None,
        canonical: bool = True,
        pieces: bool | None = None,
    ) -> None:
        self.operations = operations
        self.max_length = max_length
        self.canonical = canonical
        self.pieces = pieces

    def _fit_layout(self, batches: list[GraphBatch]) -> None:
        length, pieces = self.max_length, bool(self.pieces)
        if length is None:
            length = max(0, *(int(batch.depths().max()) - 1 for batch in batches))
            if self.pieces is None:
                pieces = self._num_columns(length, pieces) > MAX_CHOSEN_FEATURES
            while length > pieces and self._num_columns(length, pieces) > MAX_CHOSEN_FEATURES:
                length -= 1
        if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or length < 0:
            raise EncodingError(
                f"expected max_length as a whole number of at least 0, found {length!r}; "
                "count the operations between input and output"
            )
        self.max_length_, self.pieces_ = int(length), pieces
        if self._num_columns(self.max_length_, pieces) > MAX_FEATURES:
            raise EncodingError(
                f"expected at most {MAX_FEATURES:,} paths, found {len(self.operations_)} operations"
                f" on paths of up to {length}; give a smaller max_length to the encoder"
            )

    def _num_sequences(self, length: int) -> int:
        """Return how many sequences of up to `length` operations there are, or too many."""
        total, longest = 1, 1
        for _ in range(length):
            longest *= len(self.operations_)
            total += longest
            if total > MAX_FEATURES or longest == 0:
                break
        return total

    def _num_columns(self, length: int, pieces: bool) -> int:
        sequences = self._num_sequences(length)
        return sequences + 3 * (sequences - 1) if pieces else sequences

    def _encode(self, graphs: GraphBatch) -> csr_array:
        wiring = _Wiring.of(graphs)
        step = self._num_sequences(self.max_length_) - 1
        rows, columns, values = [], [], []
        for from_input in (True, False) if self.pieces_ else (True,):
            for places, numbers, counts in self._walks(wiring, from_input):
                for to_output in (True, False) if self.pieces_ else (True,):
                    chosen = wiring.before_output[places] if to_output else numbers > 0
                    block = 2 * (not from_input) + (not to_output)
                    rows.append(places[chosen] // wiring.size)
                    columns.append(numbers[chosen] + block * step)
                    values.append(counts[chosen])
        where = np.concatenate(rows), np.concatenate(columns)
        shape = len(graphs), self._num_columns(self.max_length_, self.pieces_)
        # Entries of the same row and column add up.
        encoded = csr_array((np.concatenate(values), where), shape=shape)
        if not self.pieces_:
            encoded.data[:] = 1.0
        return encoded

    def _walks(
        self, wiring: "_Wiring", from_input: bool
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]]:
        """Yield, length by length, where walks end, what they spell, and how many there are.

        They begin at the input, which spells nothing, or at any operation.
        """
        # A sequence is a number in bijective base k: digits 1 to k, nothing for the empty one.
        # Numbers are then in order of length and operation: they are the columns of whole paths.
        base, sequences = len(self.operations_), self._num_sequences(self.max_length_)
        if from_input:
            places = np.arange(0, len(wiring.digits), wiring.size)
            numbers = np.zeros_like(places)
        else:
            places = np.unique(wiring.targets)
            numbers = wiring.digits[places]
        counts: NDArray[Any] = np.ones(len(places))
        for _ in range(self.max_length_ + from_input):
            yield places, numbers, counts
            walk, places = wiring.followed(places)
            longer = numbers[walk] * base + wiring.digits[places]
            pairs, which = np.unique(places * sequences + longer, return_inverse=True)
            places, numbers = np.divmod(pairs, sequences)
            counts = np.bincount(which, counts[walk])

    def _feature_names(self) -> list[str]:
        names = [""]
        start = 0
        for _ in range(self.max_length_):
            longer = [f"{p}{op}>" for p in names[start:] for op in self.operations_]
            start = len(names)
            names.extend(longer)
        whole = [f"input>{name}output" for name in names]
        if not self.pieces_:
            return whole
        first = [f"input>{name[:-1]}" for name in names[1:]]
        last = [f"{name}output" for name in names[1:]]
        return [*whole, *first, *last, *(name[:-1] for name in names[1:])]


class _Wiring(NamedTuple):
    """The edges on paths from input to output, over the positions of all graphs in a row.

    Attributes
    ----------
    size
        The number of positions of a graph.
    digits
        The number of the operation at every position, from 1.
    targets
        The operations that edges lead to, in the order of where these leave.
    starts
        Where the edges that leave a position begin in `targets`, and where the last ones end.
    before_output
        Whether an edge leads from a position to the output.
    """

    size: int
    digits: NDArray[np.int64]
    targets: NDArray[np.int64]
    starts: NDArray[np.int64]
    before_output: NDArray[np.bool_]

    @classmethod
    def of(cls, graphs: GraphBatch) -> Self:
        """Find the edges of graphs."""
        size = graphs.codes.shape[1]
        connected = graphs.adjacency > 0
        useful = np.zeros(graphs.codes.shape, dtype=np.bool_)
        useful[:, -1] = True
        for node in reversed(range(size - 1)):
            useful[:, node] = (connected[:, node] & useful).any(axis=1)
        useful &= graphs.node_depths() >= 0
        rows, sources, targets = np.nonzero(connected & useful[:, :, None] & useful[:, None])
        before_output = np.zeros(graphs.codes.size, dtype=np.bool_)
        before_output[(rows * size + sources)[targets == size - 1]] = True
        inner = targets < size - 1
        leaving = (rows * size + sources)[inner]
        return cls(
            size=size,
            digits=graphs.codes.ravel().astype(np.int64) + 1,
            targets=(rows * size + targets)[inner],
            starts=np.searchsorted(leaving, np.arange(graphs.codes.size + 1)),
            before_output=before_output,
        )

    def followed(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the operations that edges lead to from `places`, and from which of these each."""
        numbers = np.diff(self.starts)[places]
        which = np.repeat(np.arange(len(places)), numbers)
        # The first edge of a place stands behind all edges of the places before.
        shift = self.starts[places] - np.cumsum(numbers) + numbers
        return which, self.targets[np.arange(len(which)) + shift[which]]

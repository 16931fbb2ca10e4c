"""The Weisfeiler–Lehman encoding: how often every rooted neighbourhood occurs."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from sklearn.utils.validation import check_is_fitted

from encoders.base import Encoder
from encoders.canonical import INPUT, OUTPUT
from encoders.errors import EncodingError
from encoders.graph_batch import ABSENT, GraphBatch

__all__ = ["WeisfeilerLehmanEncoder"]

# Labels are hashed to two words of 64 bits. Two of a billion labels agree by chance less than once
# in 10²⁰.
_STARTS = np.array([0x243F6A8885A308D3, 0x13198A2E03707344], dtype=np.uint64)
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)
_SHIFTS = np.array([30, 27, 31], dtype=np.uint64)


class WeisfeilerLehmanEncoder(Encoder):
    """Counts of the Weisfeiler–Lehman labels of a graph's nodes.

    A node's label is its operation at first, and after every iteration the pair of its own label
    and those of its predecessors and its successors, as two multisets. A row holds for every label
    of every iteration how many nodes have it, so that isomorphic graphs have equal rows, and inner
    products of rows are the subtree kernel. Columns are the labels that the graphs of `fit` have;
    others count nowhere, as in a kernel between a new graph and those of `fit`.

    Parameters
    ----------
    operations
        The operations that nodes may carry; None takes those of the graphs seen in `fit`.
    iterations
        How often labels are refined, at least 0.
    labels
        The labels of the columns, as an encoder that was fitted has them in `labels_`; None takes
        those of the graphs seen in `fit`.
    canonical
        Whether to encode canonical forms.

    Attributes
    ----------
    operations_ : tuple of str
        The operations that nodes may carry.
    labels_ : tuple of str
        The label of every column, sorted within an iteration.

    References
    ----------
    N. Shervashidze, P. Schweitzer, E. J. van Leeuwen, K. Mehlhorn, K. M. Borgwardt.
    Weisfeiler-Lehman graph kernels. JMLR 2011.
    B. Ru, X. Wan, X. Dong, M. Osborne. Interpretable neural architecture search via Bayesian
    optimisation with Weisfeiler-Lehman kernels. ICLR 2021 (arXiv:2006.07556).

    Examples
    --------
    >>> from encoders import ArchGraph
    >>> graph = ArchGraph(("input", "conv", "output"), ((0, 1), (1, 2), (0, 2)))
    >>> encoder = WeisfeilerLehmanEncoder(operations=["conv"], iterations=0).fit([graph])
    >>> encoder.get_feature_names_out().tolist()
    ['0:conv', '0:input', '0:output']
    >>> encoder.transform([graph])
    array([[1., 1., 1.]])
    """

    invariant = True

    def __init__(
        self,
        operations: Sequence[str] | None = None,
        iterations: int = 2,
        labels: Sequence[str] | None = None,
        canonical: bool = True,
    ) -> None:
        self.operations = operations
        self.iterations = iterations
        self.labels = labels
        self.canonical = canonical

    def _fit_layout(self, batches: list[GraphBatch]) -> None:
        rounds = self.iterations
        if isinstance(rounds, bool) or not isinstance(rounds, (int, np.integer)) or rounds < 0:
            raise EncodingError(
                f"expected iterations as a whole number of at least 0, found {rounds!r}; "
                "0 counts operations alone"
            )
        if self.labels is None:
            parts = chain.from_iterable(self._labels(batch) for batch in batches)
            self.labels_ = tuple(sorted({text for texts, _, _ in parts for text in texts}))
        else:
            self.labels_ = tuple(self.labels)
            if not all(isinstance(label, str) for label in self.labels_) or len(
                set(self.labels_)
            ) < len(self.labels_):
                raise EncodingError(
                    f"expected labels as distinct texts, found {len(self.labels_)} with repeats "
                    "or of other types; give those of a fitted encoder"
                )
        self._column_of = {label: column for column, label in enumerate(self.labels_)}

    def _labels(
        self, graphs: GraphBatch
    ) -> Iterator[tuple[list[str], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield for every iteration its labels, and of every node its graph and its label."""
        names = (*self.operations_, INPUT, OUTPUT)
        seeds = b"".join(hashlib.blake2b(name.encode(), digest_size=16).digest() for name in names)
        words = np.frombuffer(seeds, dtype="<u8").astype(np.uint64).reshape(-1, 2)[graphs.codes]
        present = graphs.codes != ABSENT
        graph, _ = np.nonzero(present)
        operations, label = np.unique(graphs.codes[present], return_inverse=True)
        yield [f"0:{names[code]}" for code in operations], graph, label
        adjacency = graphs.adjacency.astype(np.uint64)
        for iteration in range(1, self.iterations + 1):
            # Sums do not depend on the order: they stand for the multisets.
            before = np.einsum("gst,gsw->gtw", adjacency, words)
            after = np.einsum("gst,gtw->gsw", adjacency, words)
            words = _mixed(np.concatenate([words, before, after], axis=-1))
            distinct, label = np.unique(words[present], axis=0, return_inverse=True)
            texts = [f"{iteration}:{high:016x}{low:016x}" for high, low in distinct.tolist()]
            yield texts, graph, label

    def _encode(self, graphs: GraphBatch) -> csr_array:
        rows, columns = [], []
        for texts, graph, label in self._labels(graphs):
            column = np.array([self._column_of.get(text, -1) for text in texts])[label]
            rows.append(graph[column >= 0])
            columns.append(column[column >= 0])
        where = np.concatenate(rows), np.concatenate(columns)
        # Entries of the same row and column add up.
        return csr_array((np.ones(len(where[0])), where), (len(graphs), len(self.labels_)))

    def count(self, X: Any) -> csr_array:
        """Return the rows that `transform` returns as a sparse array (n, d).

        Raises
        ------
        EncodingError
            As `transform` does.
        """
        check_is_fitted(self)
        graphs, numbers = self._distinct(X)
        parts = list(self._batches(graphs))
        if not parts:
            return csr_array((0, len(self.labels_)))
        blocks = vstack([self._encode(batch) for _, batch in parts], format="csr")
        place = np.argsort(np.concatenate([members for members, _ in parts]))
        return csr_array(blocks[place[numbers]])

    def count_all(self, X: Any) -> csr_array:
        """Count all labels of `n` graphs, those that have no column too.

        Parameters
        ----------
        X
            A column of graphs, see `as_graphs`.

        Returns
        -------
        csr_array ``(n, d + e)``
            In the first `d` columns what `count` gives, in the others the `e` labels that no graph
            of `fit` has. Inner products of rows are the subtree kernel of any two
            of these graphs.

        Raises
        ------
        EncodingError
            If `X` is not a column of graphs, or has an operation that there is no label for.
        """
        check_is_fitted(self)
        graphs, numbers = self._distinct(X)
        column_of = dict(self._column_of)
        nothing = np.empty(0, dtype=np.int64)
        rows, columns = [nothing], [nothing]
        for members, batch in self._batches(graphs):
            for texts, graph, label in self._labels(batch):
                column = np.array([column_of.setdefault(text, len(column_of)) for text in texts])
                rows.append(members[graph])
                columns.append(column[label])
        where = np.concatenate(rows), np.concatenate(columns)
        # Entries of the same row and column add up.
        shape = len(graphs), len(column_of)
        return csr_array((np.ones(len(where[0])), where), shape)[numbers]

    def _feature_names(self) -> list[str]:
        return list(self.labels_)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash words (..., k) to two words (..., 2), the same on every platform.

    Each word goes through the finaliser of SplitMix64 (Steele, Lea, Flood, 2014) together with
    what became of those before it; the two results start from different constants.
    """
    state = np.empty((*words.shape[:-1], 2), dtype=np.uint64)
    state[...] = _STARTS
    for index in range(words.shape[-1]):
        state = (state ^ words[..., index, None]) + _INCREMENT
        state = (state ^ (state >> _SHIFTS[0])) * _FACTORS[0]
        state = (state ^ (state >> _SHIFTS[1])) * _FACTORS[1]
        state ^= state >> _SHIFTS[2]
    return state

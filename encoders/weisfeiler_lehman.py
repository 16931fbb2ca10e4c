"""The Weisfeiler–Lehman encoding: how often every rooted neighbourhood occurs."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.arch_graph import ArchGraph
from encoders.base import Encoder
from encoders.errors import EncodingError

__all__ = ["WeisfeilerLehmanEncoder"]

# Two of a billion labels of so many bytes agree by chance less than once in 10²⁰.
LABEL_BYTES = 16


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
    >>> graph = ArchGraph(("input", "conv", "output"), ((0, 1), (1, 2), (0, 2)))
    >>> encoder = WeisfeilerLehmanEncoder(operations=["conv"], iterations=0).fit([graph])
    >>> encoder.get_feature_names_out().tolist()
    ['0:conv', '0:input', '0:output']
    >>> encoder.transform([graph])
    array([[1., 1., 1.]])
    """

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

    def _fit_layout(self, graphs: list[ArchGraph]) -> None:
        rounds = self.iterations
        if isinstance(rounds, bool) or not isinstance(rounds, (int, np.integer)) or rounds < 0:
            raise EncodingError(
                f"expected iterations as a whole number of at least 0, found {rounds!r}; "
                "0 counts operations alone"
            )
        if self.labels is None:
            seen = {label for graph in graphs for label in self._labels(graph)}
            self.labels_ = tuple(sorted(seen))
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

    def _labels(self, graph: ArchGraph) -> list[str]:
        """Return the label of every node in every iteration, the iteration before a colon."""
        current = [f"0:{operation}" for operation in graph.operations]
        found = list(current)
        for iteration in range(1, self.iterations + 1):
            current = [
                _refined(
                    iteration,
                    current[node],
                    [current[source] for source in graph.predecessors[node]],
                    [current[target] for target in graph.successors[node]],
                )
                for node in range(graph.num_nodes)
            ]
            found += current
        return found

    def _encode(self, graph: ArchGraph, row: NDArray[np.float64]) -> None:
        for label, count in Counter(self._labels(graph)).items():
            column = self._column_of.get(label)
            if column is not None:
                row[column] = count

    def _feature_names(self) -> list[str]:
        return list(self.labels_)


def _refined(iteration: int, own: str, before: list[str], after: list[str]) -> str:
    text = json.dumps([own, sorted(before), sorted(after)])
    digest = hashlib.blake2b(text.encode(), digest_size=LABEL_BYTES).hexdigest()
    return f"{iteration}:{digest}"

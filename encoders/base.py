"""What every encoding of architectures has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from encoders.arch_graph import ArchGraph
from encoders.canonical import IDENTITY, INPUT, OUTPUT, ZERO
from encoders.errors import EncodingError

__all__ = ["Encoder", "as_graphs"]


def as_graphs(X: Any) -> list[ArchGraph]:
    """Return the graphs of a column as a list.

    Parameters
    ----------
    X
        `n` graphs: a sequence, a pandas Series, an object array ``(n,)`` or ``(n, 1)``, or a
        DataFrame with one column.

    Raises
    ------
    EncodingError
        If it is not one column, or something in it is not an `ArchGraph`.
    """
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) != 1:
        if len(shape) != 2 or shape[1] != 1:
            raise EncodingError(
                f"expected one column of graphs, found an array of shape {tuple(shape)}; "
                "select the graph column"
            )
        X = np.asarray(X, dtype=object)[:, 0]
    if isinstance(X, (str, ArchGraph)) or not isinstance(X, Iterable):
        raise EncodingError(
            f"expected a column of graphs, found one {type(X).__name__}; put it into a list"
        )
    graphs = list(X)
    for row, graph in enumerate(graphs):
        if not isinstance(graph, ArchGraph):
            raise EncodingError(
                f"expected an ArchGraph in every row, found {type(graph).__name__} in row {row}; "
                "make graphs with Space.graphs"
            )
    return graphs


class Encoder(TransformerMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A scikit-learn transformer from a column of graphs to a float array ``(n, d)``.

    An encoder maps equal graphs to equal rows and looks at nothing but the graph. Its constructor
    only stores; `fit` settles the layout of a row, either from the parameters or, where they are
    None, from the graphs seen; `transform` fills rows in and raises `EncodingError` for an
    operation that the layout has no place for.

    A subclass stores ``operations`` (the vocabulary, None to learn it) and ``canonical`` (whether
    it encodes canonical forms), settles its layout in `_fit_layout`, writes one graph's row in
    `_encode`, and names its columns in `_feature_names`.

    Attributes
    ----------
    operations_ : tuple of str
        The operations that nodes may carry, input and output left out; for canonical forms
        without zero and identity, which these do not contain.
    n_features_in_ : int
        Always 1: the column of graphs.
    """

    operations: Sequence[str] | None
    canonical: bool

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002 (the scikit-learn signature)
        """Settle the layout of a row.

        Parameters
        ----------
        X
            A column of `n` graphs, see `as_graphs`.
        y
            Ignored.

        Raises
        ------
        EncodingError
            If `X` is not a column of graphs, or the parameters do not make a layout.
        """
        graphs = self._distinct(as_graphs(X))
        if not graphs:
            raise EncodingError("expected at least one graph to fit to, found none; give some")
        if self.operations is None:
            found = {operation for graph in graphs for operation in graph.operations}
            self.operations_ = tuple(sorted(found - {INPUT, OUTPUT}))
        else:
            self.operations_ = self._checked_vocabulary()
        self._fit_layout(list(graphs))
        self.n_features_in_ = 1
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Encode a column of `n` graphs as an array ``(n, d)``.

        Raises
        ------
        EncodingError
            If `X` is not a column of graphs, or a graph does not fit the layout.
        """
        check_is_fitted(self)
        graphs = as_graphs(X)
        row_of = self._distinct(graphs)
        known = {INPUT, OUTPUT, *self.operations_}
        table = np.zeros((len(row_of), len(self._feature_names())))
        for graph, row in row_of.items():
            if not known.issuperset(graph.operations):
                unknown = sorted(set(graph.operations) - known)
                raise EncodingError(
                    f"expected only the operations {', '.join(self.operations_)}, found "
                    f"{', '.join(unknown)}; fit again or give all operations to the encoder"
                )
            self._encode(graph, table[row])
        return table[[row_of[self._form(graph)] for graph in graphs]]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return the name of every column as an object array ``(d,)``.

        Parameters
        ----------
        input_features
            Ignored: the names follow from the layout alone.
        """
        check_is_fitted(self)
        return np.asarray(self._feature_names(), dtype=object)

    @abstractmethod
    def _fit_layout(self, graphs: list[ArchGraph]) -> None:
        """Set the remaining fitted attributes from the parameters and the distinct graphs."""

    @abstractmethod
    def _encode(self, graph: ArchGraph, row: NDArray[np.float64]) -> None:
        """Write one graph into a row of zeros."""

    @abstractmethod
    def _feature_names(self) -> list[str]:
        """Return the name of every column, once fitted."""

    def _form(self, graph: ArchGraph) -> ArchGraph:
        return graph.canonical() if self.canonical else graph

    def _distinct(self, graphs: list[ArchGraph]) -> dict[ArchGraph, int]:
        """Return the distinct forms of the graphs with their numbers: each is encoded once."""
        distinct: dict[ArchGraph, int] = {}
        for graph in graphs:
            distinct.setdefault(self._form(graph), len(distinct))
        return distinct

    def _checked_vocabulary(self) -> tuple[str, ...]:
        operations = tuple(self.operations or ())
        if len(set(operations)) < len(operations) or {INPUT, OUTPUT} & set(operations):
            raise EncodingError(
                f"expected every operation once, without {INPUT!r} and {OUTPUT!r}, "
                f"found {', '.join(operations)}; remove repeats and the two ends"
            )
        if self.canonical:
            return tuple(name for name in operations if name not in (ZERO, IDENTITY))
        return operations

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags

"""What every encoding of architectures has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from encoders.arch_graph import ArchGraph
from encoders.canonical import IDENTITY, INPUT, OUTPUT, ZERO
from encoders.errors import EncodingError
from encoders.graph_batch import GraphBatch

__all__ = ["Encoder", "as_graphs", "check_larger", "checked_max_nodes"]

# Entries of the adjacency matrices of graphs that are encoded at once.
CHUNK_ENTRIES = 2**18


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

    A column is whatever `as_graphs` takes, or a `GraphBatch`.

    A subclass stores ``operations`` (the vocabulary, None to learn it) and ``canonical`` (whether
    it encodes canonical forms), settles its layout in `_fit_layout`, encodes graphs in `_encode`,
    and names its columns in `_feature_names`.

    Attributes
    ----------
    invariant : bool
        Whether a row never depends on how the nodes are numbered, be it with `canonical` or
        without; a property of the class.
    learns_weights : bool
        Whether `fit` learns more than a layout, so that rows depend on all graphs seen there; a
        property of the class.
    mixed_units : bool
        Whether columns count different things, such as nodes here and shares of paths there, so
        that distances between rows mean something only once every column is standardised; a
        property of the class.
    operations_ : tuple of str
        The operations that nodes may carry, input and output left out; for canonical forms
        without zero and identity, which these do not contain.
    n_features_in_ : int
        Always 1: the column of graphs.
    """

    invariant: ClassVar[bool] = False
    learns_weights: ClassVar[bool] = False
    mixed_units: ClassVar[bool] = False
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
        graphs, _ = self._distinct(X)
        if not len(graphs):
            raise EncodingError("expected at least one graph to fit to, found none; give some")
        if self.operations is not None:
            self.operations_ = self._checked_vocabulary()
        elif isinstance(graphs, GraphBatch):
            self.operations_ = tuple(sorted(graphs.used()))
        else:
            found = {operation for graph in graphs for operation in graph.operations}
            self.operations_ = tuple(sorted(found - {INPUT, OUTPUT}))
        self._fit_layout([batch for _, batch in self._batches(graphs)])
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
        graphs, numbers = self._distinct(X)
        table = np.zeros((len(numbers), len(self._feature_names())))
        place = np.full(len(graphs), -1)
        for members, batch in self._batches(graphs):
            place[members] = np.arange(len(batch))
            rows = np.flatnonzero(place[numbers] >= 0)
            encoded = self._encode(batch)[place[numbers[rows]]]
            place[members] = -1
            if issparse(encoded):
                # Pages of a wide table that stay zero take no memory and no time.
                entries = encoded.tocoo()
                table[rows[entries.row], entries.col] = entries.data
            else:
                table[rows] = encoded
        return table

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
    def _fit_layout(self, batches: list[GraphBatch]) -> None:
        """Set the remaining fitted attributes from the parameters and the graphs."""

    @abstractmethod
    def _encode(self, graphs: GraphBatch) -> NDArray[np.float64] | csr_array:
        """Return the rows of some graphs, whose codes are numbers in `operations_`.

        Wide encodings with few entries are sparse arrays here; `transform` makes them dense.
        """

    @abstractmethod
    def _feature_names(self) -> list[str]:
        """Return the name of every column, once fitted."""

    def _form(self, graph: ArchGraph) -> ArchGraph:
        return graph.canonical() if self.canonical else graph

    def _distinct(self, X: Any) -> tuple[list[ArchGraph] | GraphBatch, NDArray[np.int64]]:
        """Return the distinct forms of graphs, and for every row of `X` the number of its form."""
        if isinstance(X, GraphBatch):
            if not self.canonical:
                return X, np.arange(len(X))
            X = X.graphs()
        number_of: dict[ArchGraph, int] = {}
        numbers = [number_of.setdefault(self._form(g), len(number_of)) for g in as_graphs(X)]
        return list(number_of), np.array(numbers, dtype=np.int64)

    def _batches(
        self, graphs: list[ArchGraph] | GraphBatch
    ) -> Iterator[tuple[NDArray[np.int64], GraphBatch]]:
        """Yield graphs in parts that are small enough to work on, each with their numbers."""
        if isinstance(graphs, GraphBatch):
            graphs = graphs.recoded(self.operations_)
            step = max(1, CHUNK_ENTRIES // graphs.codes.shape[1] ** 2)
            for start in range(0, len(graphs), step):
                rows = np.arange(start, min(start + step, len(graphs)))
                yield rows, graphs.taken(rows)
            return
        sizes = np.array([graph.num_nodes for graph in graphs])
        for size in np.unique(sizes).tolist():
            members = np.flatnonzero(sizes == size)
            step = max(1, CHUNK_ENTRIES // size**2)
            for start in range(0, len(members), step):
                part = members[start : start + step]
                yield part, GraphBatch.of([graphs[number] for number in part], self.operations_)

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


def checked_max_nodes(max_nodes: int | None, batches: list[GraphBatch]) -> int:
    """Return a parameter ``max_nodes``, or the largest number of nodes in `batches` for None.

    Raises
    ------
    EncodingError
        If it is not a whole number of at least 2.
    """
    if max_nodes is None:
        return max(int(batch.num_nodes.max()) for batch in batches)
    if isinstance(max_nodes, bool) or not isinstance(max_nodes, (int, np.integer)) or max_nodes < 2:
        raise EncodingError(
            f"expected max_nodes as a whole number of at least 2, found {max_nodes!r}; "
            "count input and output too"
        )
    return int(max_nodes)


def check_larger(larger: str) -> None:
    """Raise EncodingError unless a parameter ``larger`` is a way to encode larger graphs."""
    if larger not in ("refuse", "cut"):
        raise EncodingError(
            f"expected larger as one of refuse, cut, found {larger!r}; "
            "choose what becomes of graphs of more nodes"
        )

"""The Laplacian encoding: the spectrum of a graph, and how heat spreads between its operations."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.base import Encoder, check_larger, checked_max_nodes
from encoders.errors import EncodingError
from encoders.graph_batch import ABSENT, GraphBatch

__all__ = ["LaplacianEncoder", "check_dimensions", "laplacian_positions"]

# Short times see the neighbours of a node, long ones its surroundings.
HEAT_TIMES = (1.0, 4.0)
# Rounding hides how the solver's last digits depend on the order of the nodes.
DECIMALS = 10
# Entries of an eigenvector below this are zero, as far as its sign is concerned.
ZERO_ENTRY = 1e-6


class LaplacianEncoder(Encoder):
    r"""Eigenvalues of the normalised Laplacian, and heat exchanged between operations.

    With the edges taken as undirected, :math:`W_{ij}` being the number of edges between two nodes
    and :math:`d_i = \sum_j W_{ij}`, the Laplacian is

    .. math:: L_{ij} = [i = j \wedge d_i > 0] - W_{ij} / \sqrt{d_i d_j}.

    A row holds its eigenvalues, which are from 0 to 2, in descending order, and zeros for a
    smaller graph. As these know neither operations nor directions, it also holds
    :math:`x^\top e^{-t L} y`, where x and y indicate the nodes of an operation, the input or the
    output: for every operation with itself, from the input to it and from it to the output, and
    from the input to the output, at the times t = 1 and t = 4.

    Rows do not depend on how nodes are numbered, up to rounding; they are rounded to ten decimals.

    Parameters
    ----------
    operations
        The operations that nodes may carry; None takes those of the graphs seen in `fit`.
    max_nodes
        The largest number of nodes, input and output included; None takes that of the graphs seen
        in `fit`.
    canonical
        Whether to encode canonical forms.
    larger
        What becomes of graphs of more nodes: ``"refuse"`` raises an error, ``"cut"`` leaves their
        smallest eigenvalues out.

    Attributes
    ----------
    operations_ : tuple of str
        The operations that nodes may carry.
    max_nodes_ : int
        The number of eigenvalues.

    References
    ----------
    F. Chung. Spectral graph theory. 1997.
    V. P. Dwivedi, C. K. Joshi, A. T. Luu, T. Laurent, Y. Bengio, X. Bresson. Benchmarking graph
    neural networks. 2020 (arXiv:2003.00982).

    Examples
    --------
    >>> from encoders import ArchGraph
    >>> graph = ArchGraph(("input", "conv", "output"), ((0, 1), (1, 2)))
    >>> encoder = LaplacianEncoder(operations=["conv"]).fit([graph])
    >>> encoder.get_feature_names_out()[:4].tolist()
    ['eigenvalue0', 'eigenvalue1', 'eigenvalue2', 'heat1(conv,conv)']
    >>> encoder.transform([graph])[0, :3].tolist()
    [2.0, 1.0, 0.0]
    """

    invariant = True
    mixed_units = True

    def __init__(
        self,
        operations: Sequence[str] | None = None,
        max_nodes: int | None = None,
        canonical: bool = True,
        larger: str = "refuse",
    ) -> None:
        self.operations = operations
        self.max_nodes = max_nodes
        self.canonical = canonical
        self.larger = larger

    def _fit_layout(self, batches: list[GraphBatch]) -> None:
        check_larger(self.larger)
        self.max_nodes_ = checked_max_nodes(self.max_nodes, batches)

    def _encode(self, graphs: GraphBatch) -> NDArray[np.float64]:
        size = self.max_nodes_
        if self.larger == "cut":
            size = max(size, graphs.codes.shape[1])
        graphs = graphs.fitted_to(size)
        values, vectors = np.linalg.eigh(_laplacians(graphs))
        kinds = np.arange(len(self.operations_) + 2)
        indicators = (graphs.codes[:, :, None] == kinds).astype(np.float64)
        # (n, eigenvector, kind): the kinds of nodes in the basis of the eigenvectors.
        spectra = np.einsum("nie,nik->nek", vectors, indicators)
        *_, begin, end = np.moveaxis(spectra, 2, 0)
        inner = spectra[:, :, :-2]
        parts = [values[:, ::-1][:, : self.max_nodes_]]
        for time in HEAT_TIMES:
            decay = np.exp(-time * values)[:, :, None]
            parts += [
                (decay * inner * inner).sum(axis=1),
                (decay * begin[:, :, None] * inner).sum(axis=1),
                (decay * inner * end[:, :, None]).sum(axis=1),
                (decay * begin[:, :, None] * end[:, :, None]).sum(axis=1),
            ]
        # Adding zero makes negative zeros positive.
        return np.hstack(parts).round(DECIMALS) + 0.0

    def _feature_names(self) -> list[str]:
        names = [f"eigenvalue{index}" for index in range(self.max_nodes_)]
        for time in HEAT_TIMES:
            pairs = [
                *((name, name) for name in self.operations_),
                *(("input", name) for name in self.operations_),
                *((name, "output") for name in self.operations_),
                ("input", "output"),
            ]
            names += [f"heat{time:g}({first},{second})" for first, second in pairs]
        return names


def laplacian_positions(graphs: GraphBatch, dimensions: int) -> NDArray[np.float64]:
    """Return Laplacian eigenvectors as positions of the nodes (n, m, dimensions).

    They belong to the smallest eigenvalues of the normalised Laplacian but the first, which says
    nothing about the place of a node; a graph that has fewer gets zeros, as do empty positions.

    An eigenvector is given up to its sign. Here the input's entry is positive, or where it is zero
    that of the output, or that of the first node in topological order for which it is not. Where
    eigenvalues coincide any basis of their eigenvectors would do, and which one comes out depends
    on the numbering of the nodes: give canonical forms to have the same one for isomorphic graphs,
    or flip and rotate at random in training.

    Parameters
    ----------
    graphs
        `n` graphs of at most `m` nodes.
    dimensions
        How many eigenvectors, at least 0.

    Raises
    ------
    EncodingError
        If `dimensions` is no such number.

    References
    ----------
    V. P. Dwivedi, X. Bresson. A generalization of transformer networks to graphs. 2020
    (arXiv:2012.09699).
    """
    check_dimensions(dimensions)
    nodes = graphs.codes.shape[1]
    absent = graphs.codes == ABSENT
    positions: NDArray[np.float64] = np.zeros((len(graphs), nodes, dimensions))
    if dimensions == 0:
        return positions
    laplacians = _laplacians(graphs)
    # Larger than all eigenvalues, so that eigenvectors of empty positions come last.
    laplacians[:, np.arange(nodes), np.arange(nodes)] += 3.0 * absent
    _, vectors = np.linalg.eigh(laplacians)
    kept = np.arange(1, dimensions + 1) < graphs.num_nodes[:, None]
    taken = vectors[:, :, 1 : dimensions + 1]
    positions[:, :, : taken.shape[2]] = taken
    positions *= kept[:, None] & ~absent[:, :, None]
    order = np.array([0, nodes - 1, *range(1, nodes - 1)])
    decisive = np.abs(positions[:, order]) > ZERO_ENTRY
    first = order[decisive.argmax(axis=1)]
    signs = np.take_along_axis(positions, first[:, None], axis=1)
    positions *= np.where(signs < 0, -1.0, 1.0)
    return positions


def check_dimensions(dimensions: int) -> None:
    """Raise EncodingError unless it is a number of eigenvectors."""
    if (
        isinstance(dimensions, bool)
        or not isinstance(dimensions, (int, np.integer))
        or dimensions < 0
    ):
        raise EncodingError(
            f"expected positions as a whole number of at least 0, found {dimensions!r}; "
            "give the number of eigenvectors"
        )


def _laplacians(graphs: GraphBatch) -> NDArray[np.float64]:
    """Return the normalised Laplacians (n, m, m); the rows of nodes without edges are zero."""
    weights = (graphs.adjacency + graphs.adjacency.transpose(0, 2, 1)).astype(np.float64)
    degrees = weights.sum(axis=2)
    scale = 1 / np.sqrt(np.where(degrees > 0, degrees, np.inf))
    laplacians: NDArray[np.float64] = -weights * scale[:, :, None] * scale[:, None]
    diagonal = np.arange(weights.shape[1])
    laplacians[:, diagonal, diagonal] = degrees > 0
    return laplacians

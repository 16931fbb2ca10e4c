"""Graph features: lengths and numbers of paths, counts and degrees, for subsets of operations."""

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from encoders.base import Encoder
from encoders.graph_batch import GraphBatch

__all__ = ["GraphFeatureEncoder"]

# With so many operations at most, every subset of them has its columns; with so many, every pair.
MAX_ALL_SUBSETS, MAX_PAIRS = 5, 8
# Longer than any path.
FAR = 2**30
# Numbers of paths are cut here, far above where they can be told apart, to stay finite.
MOST_PATHS = 1e300

SUBSET_FEATURES = (
    "path",
    "closeness",
    "longest",
    "paths",
    "fewest",
    "most",
    "count",
    "input_degree",
    "output_degree",
)
DEGREE_FEATURES = ("mean_in_degree", "max_in_degree", "mean_out_degree", "max_out_degree")
OPERATION_FEATURES = (
    "mean",
    "first_depth",
    "mean_depth",
    "last_depth",
    *DEGREE_FEATURES,
)
GRAPH_FEATURES = ("nodes", "edges", "direct_edges", "mean_length", *DEGREE_FEATURES)


class GraphFeatureEncoder(Encoder):
    r"""Lengths and numbers of paths, counts and degrees, for subsets of the operations.

    The length of a path is its number of edges: 1 for a direct edge from input to output, 2 with
    one operation between. Logarithms are :math:`\log_2(1 + x)`. Without a path, what is said of
    paths is 0. For every subset S of the operations a row holds, of the paths from input to output
    on which **only** operations of S stand,

    - ``path``: 1 if there is one, else 0;
    - ``closeness``: one over the length of the shortest, so that no path is the limit of long ones;
    - ``longest``: the length of the longest;
    - ``paths``: the logarithm of their number, a repeated edge making several;

    and, whatever else stands on a path,

    - ``fewest``, ``most``: the smallest and largest number of nodes of S on a path;
    - ``count``: the number of nodes of S;
    - ``input_degree``, ``output_degree``: how many nodes of S the input leads to and the output
      comes from.

    For every single operation it holds ``mean``, the number of its nodes on a path, mean over all
    paths; the smallest, mean and largest depth of its nodes, which is the length of the longest
    path from the input, and 0 without a node that the input leads to; and the means and maxima of
    the in- and out-degrees of its nodes. For the whole graph it holds ``nodes`` (input and output
    left out), ``edges``, ``direct_edges`` (the logarithm of the number of edges from input to
    output), ``mean_length`` (operations on a path, mean over all paths) and the degrees of all
    nodes but input and output. Degrees count distinct neighbours.

    Subsets are all there are for up to 5 operations. For more they are the empty one, single
    operations, pairs (for up to 8), all but one (``{not conv}``), and all (``{*}``).

    Rows do not depend on how nodes are numbered. In canonical forms, what does nothing is gone:
    identities live on as shorter paths and as repeated edges. Of graphs as given, zeros and
    identities are operations like others; predictions from canonical forms are much better.

    Parameters
    ----------
    operations
        The operations that nodes may carry; None takes those of the graphs seen in `fit`.
    canonical
        Whether to encode canonical forms.

    Attributes
    ----------
    operations_ : tuple of str
        The operations that nodes may carry.

    References
    ----------
    G. Kadlecová, J. Lukasik, M. Pilát, P. Vidnerová, M. Safari, R. Neruda, F. Hutter. Surprisingly
    strong performance prediction with neural graph features. ICML 2024 (arXiv:2404.16551).

    Examples
    --------
    >>> from encoders import ArchGraph
    >>> graph = ArchGraph(("input", "conv", "output"), ((0, 1), (1, 2), (0, 2)))
    >>> encoder = GraphFeatureEncoder(operations=["conv", "pool"]).fit([graph])
    >>> names = encoder.get_feature_names_out().tolist()
    >>> row = dict(zip(names, encoder.transform([graph])[0].tolist()))
    >>> row["closeness{}"], row["closeness{conv}"], row["longest{conv}"], row["path{pool}"]
    (1.0, 1.0, 2.0, 1.0)
    >>> row["paths{}"], row["mean{conv}"]
    (1.0, 0.5)
    """

    invariant = True
    mixed_units = True

    def __init__(self, operations: Sequence[str] | None = None, canonical: bool = True) -> None:
        self.operations = operations
        self.canonical = canonical

    def _fit_layout(self, batches: list[GraphBatch]) -> None:  # noqa: ARG002
        self._subsets = _subsets(len(self.operations_))

    def _encode(self, graphs: GraphBatch) -> NDArray[np.float64]:
        width = len(self.operations_)
        # Of the codes, the last three are input, output and no node, which are in no subset.
        member = np.zeros((width + 3, len(self._subsets)), dtype=np.bool_)
        for column, subset in enumerate(self._subsets):
            member[list(subset), column] = True
        of_subset = member[graphs.codes]
        of_operation = np.eye(width + 3, width, dtype=np.bool_)[graphs.codes]
        connected = graphs.adjacency > 0
        mean = _mean_visits(graphs, of_operation)
        count = of_subset.sum(axis=1)
        inner = of_operation.any(axis=2, keepdims=True)
        return np.hstack(
            [
                *_path_features(graphs, of_subset),
                count,
                (connected[:, 0, :, None] & of_subset).sum(axis=1),
                (connected[:, :, -1, None] & of_subset).sum(axis=1),
                mean,
                *_depths(graphs, of_operation),
                *_degrees(connected, of_operation),
                inner.sum(axis=1),
                connected.sum(axis=(1, 2))[:, None],
                np.log2(1.0 + graphs.adjacency[:, 0, -1:]),
                mean.sum(axis=1, keepdims=True),
                *_degrees(connected, inner),
            ],
            dtype=np.float64,
        )

    def _feature_names(self) -> list[str]:
        plain = [
            name if re.fullmatch(r"[\w.:-]+", name) else repr(name) for name in self.operations_
        ]
        every = range(len(plain))
        subsets = []
        for subset in self._subsets:
            missing = [plain[index] for index in every if index not in subset]
            if len(plain) > MAX_ALL_SUBSETS and len(missing) < 2:
                subsets.append(f"not {missing[0]}" if missing else "*")
            else:
                subsets.append(",".join(plain[index] for index in subset))
        return [
            *(f"{feature}{{{subset}}}" for feature in SUBSET_FEATURES for subset in subsets),
            *(f"{feature}{{{name}}}" for feature in OPERATION_FEATURES for name in plain),
            *GRAPH_FEATURES,
        ]


def _subsets(width: int) -> list[tuple[int, ...]]:
    """Return the subsets of `width` operations that have columns, as numbers of operations."""
    every = tuple(range(width))
    if width <= MAX_ALL_SUBSETS:
        return [subset for size in range(width + 1) for subset in combinations(every, size)]
    sizes = (0, 1, 2) if width <= MAX_PAIRS else (0, 1)
    small = [subset for size in sizes for subset in combinations(every, size)]
    return [*small, *combinations(every, width - 1), every]


def _path_features(graphs: GraphBatch, of_subset: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the features of paths from input to output, each (n, subsets), in their order.

    One pass over the positions, which are in topological order: a position extends the paths to
    the positions that lead to it, of all graphs and all subsets at once.

    Parameters
    ----------
    graphs
        `n` graphs of at most `m` nodes.
    of_subset
        Whether the operation at a position is in a subset (n, m, subsets).
    """
    last = graphs.codes.shape[1] - 1
    shortest = np.full(of_subset.shape, FAR, dtype=np.int64)
    longest = np.full(of_subset.shape, -FAR, dtype=np.int64)
    fewest, most = shortest.copy(), longest.copy()
    paths = np.zeros(of_subset.shape)
    for state in (shortest, longest, fewest, most):
        state[:, 0] = 0
    paths[:, 0] = 1
    for node in range(1, last + 1):
        rows, sources, times = _edges_into(graphs, node)
        present = times > 0
        member = of_subset[:, node]
        passes = member | (node == last)
        steps = np.where(present, shortest[rows, sources], FAR).min(axis=1, initial=FAR)
        shortest[:, node] = np.where(passes, np.minimum(steps + 1, FAR), FAR)
        steps = np.where(present, longest[rows, sources], -FAR).max(axis=1, initial=-FAR)
        longest[:, node] = np.where(passes, steps + 1, -FAR)
        found = np.where(present, fewest[rows, sources], FAR).min(axis=1, initial=FAR)
        fewest[:, node] = found + member
        found = np.where(present, most[rows, sources], -FAR).max(axis=1, initial=-FAR)
        most[:, node] = found + member
        total = (times * paths[rows, sources]).sum(axis=1)
        paths[:, node] = np.minimum(np.where(passes, total, 0), MOST_PATHS)
    exists = longest[:, -1] > 0
    reached = most[:, -1] >= 0
    return [
        exists,
        np.where(exists, 1 / shortest[:, -1], 0),
        np.where(exists, longest[:, -1], 0),
        np.log2(1 + paths[:, -1]),
        np.where(reached, fewest[:, -1], 0),
        np.where(reached, most[:, -1], 0),
    ]


def _mean_visits(graphs: GraphBatch, of_operation: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how many nodes of an operation are on a path (n, k), mean over all paths."""
    paths = np.zeros(graphs.codes.shape)
    paths[:, 0] = 1
    # Of every path to a node, the nodes of each operation on it, summed over the paths.
    visits = np.zeros(of_operation.shape)
    for node in range(1, graphs.codes.shape[1]):
        rows, sources, times = _edges_into(graphs, node)
        total = (times[..., 0] * paths[rows, sources]).sum(axis=1)
        paths[:, node] = np.minimum(total, MOST_PATHS)
        passed = (times * visits[rows, sources]).sum(axis=1)
        own = of_operation[:, node] * paths[:, node, None]
        visits[:, node] = np.minimum(passed + own, MOST_PATHS)
    return visits[:, -1] / np.maximum(paths[:, -1:], 1)


def _edges_into(
    graphs: GraphBatch, node: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return where the edges into a position come from.

    Returns
    -------
    rows : array (n, 1)
        The numbers of the graphs.
    sources : array (n, d)
        The positions the edges come from, `d` being the largest number of them.
    times : array (n, d, 1)
        How often the edge is there; 0 where a graph has fewer.
    """
    counts = graphs.adjacency[:, :node, node]
    most = int(np.count_nonzero(counts, axis=1).max(initial=0))
    sources = np.argsort(counts == 0, axis=1, kind="stable")[:, :most]
    times = np.take_along_axis(counts, sources, axis=1).astype(np.float64)
    return np.arange(len(counts))[:, None], sources, times[:, :, None]


def _depths(graphs: GraphBatch, of_kind: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the smallest, mean and largest depth of the nodes of a kind (n, k)."""
    depths = graphs.node_depths()[:, :, None]
    reached = of_kind & (depths >= 0)
    count = np.maximum(reached.sum(axis=1), 1)
    smallest = np.where(reached, depths, FAR).min(axis=1)
    return [
        np.where(smallest < FAR, smallest, 0),
        (depths * reached).sum(axis=1) / count,
        (depths * reached).max(axis=1),
    ]


def _degrees(connected: NDArray[np.bool_], of_kind: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return mean and largest in-degree, mean and largest out-degree of nodes of a kind (n, k)."""
    count = np.maximum(of_kind.sum(axis=1), 1)
    features = []
    for axis in (1, 2):
        degrees = connected.sum(axis=axis)[:, :, None] * of_kind
        features += [degrees.sum(axis=1) / count, degrees.max(axis=1)]
    return features

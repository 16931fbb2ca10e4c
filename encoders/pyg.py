"""Graphs as PyTorch Geometric batches, for graph networks."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from encoders.arch_graph import ArchGraph
from encoders.errors import EncodingError
from encoders.graph_batch import ABSENT, GraphBatch
from encoders.joined_graphs import JoinedGraphs
from encoders.laplacian import check_dimensions, laplacian_positions

if TYPE_CHECKING:
    from torch_geometric.data import Batch

__all__ = ["to_pyg"]


def to_pyg(
    graphs: Iterable[ArchGraph] | GraphBatch, operations: Sequence[str], positions: int = 0
) -> "Batch":
    """Return graphs as one batch, as they are; give canonical forms to encode those.

    Parameters
    ----------
    graphs
        `n` graphs with `N` nodes and `E` distinct edges in all.
    operations
        The `k` operations that nodes may carry, without input and output.
    positions
        How many Laplacian eigenvectors to add as positions of the nodes, see
        `encoders.laplacian.laplacian_positions`.

    Returns
    -------
    torch_geometric.data.Batch
        Its nodes are those of graph after graph, in topological order: ``x`` (N, k + 2), one-hot
        over ``["input", *operations, "output"]``; ``edge_index`` (2, E); ``edge_weight`` (E,), how
        often an edge is repeated; ``position`` (N, positions), where asked for; and what a batch
        adds, such as ``batch`` (N,). All floats are of torch's default type.

    Raises
    ------
    EncodingError
        If there is no graph, one carries another operation, or `positions` is not a whole number
        of at least 0.
    """
    from torch_geometric.data import Batch, Data

    check_dimensions(positions)
    given = graphs if isinstance(graphs, GraphBatch) else list(graphs)
    if not len(given):
        raise EncodingError("expected at least one graph, found none; give the graphs to batch")
    if isinstance(given, GraphBatch):
        joined = given.recoded(operations).joined()
    else:
        joined = JoinedGraphs.of(given, operations)
    sources, targets, repeats = joined.distinct_edges()
    width = len(operations)
    # Input, operations, output, where codes are operations, input, output.
    column = np.array([*range(1, width + 1), 0, width + 1])
    real = torch.get_default_dtype()
    tensors = {
        "x": torch.eye(width + 2)[torch.from_numpy(column[joined.codes])],
        "edge_index": torch.from_numpy(np.stack([sources, targets])),
        "edge_weight": torch.from_numpy(repeats).to(real),
    }
    if positions:
        # Eigenvectors come of dense matrices, which nothing else needs.
        padded = given if isinstance(given, GraphBatch) else GraphBatch.of(given, operations)
        eigenvectors = laplacian_positions(padded, positions)[padded.codes != ABSENT]
        tensors["position"] = torch.tensor(eigenvectors, dtype=real)

    # What Batch.from_data_list makes of one Data per graph, but for all of them at once.
    nodes = torch.from_numpy(joined.bounds)
    edges = torch.from_numpy(np.searchsorted(sources, joined.bounds))
    graph = torch.from_numpy(joined.graph_of)
    batch: Any = Batch(_base_cls=Data, batch=graph, ptr=nodes.clone(), **tensors)
    none = torch.zeros(len(joined), dtype=torch.int64)
    batch._num_graphs = len(joined)
    batch._slice_dict = {name: edges if "edge" in name else nodes for name in tensors}
    batch._inc_dict = {name: nodes[:-1] if name == "edge_index" else none for name in tensors}
    return batch

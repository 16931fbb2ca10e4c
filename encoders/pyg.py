"""Graphs as PyTorch Geometric batches, for graph networks."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from encoders.arch_graph import ArchGraph
from encoders.errors import EncodingError
from encoders.graph_batch import ABSENT, GraphBatch
from encoders.laplacian import laplacian_positions

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

    if isinstance(graphs, GraphBatch):
        arrays = graphs.recoded(operations)
    else:
        arrays = GraphBatch.of(list(graphs), operations)
    if not len(arrays):
        raise EncodingError("expected at least one graph, found none; give the graphs to batch")
    eigenvectors = laplacian_positions(arrays, positions)
    present = arrays.codes != ABSENT
    graph, _ = np.nonzero(present)
    rows, sources, targets = np.nonzero(arrays.adjacency)
    number = np.cumsum(present).reshape(present.shape) - 1
    width = len(operations)
    # Input, operations, output, where codes are operations, input, output.
    column = np.array([*range(1, width + 1), 0, width + 1])
    real = torch.get_default_dtype()
    tensors = {
        "x": torch.eye(width + 2)[torch.from_numpy(column[arrays.codes[present]])],
        "edge_index": torch.from_numpy(
            np.stack([number[rows, sources], number[rows, targets]]).astype(np.int64)
        ),
        "edge_weight": torch.tensor(arrays.adjacency[rows, sources, targets], dtype=real),
    }
    if positions:
        tensors["position"] = torch.tensor(eigenvectors[present], dtype=real)

    # What Batch.from_data_list makes of one Data per graph, but for all of them at once.
    nodes = torch.from_numpy(np.concatenate([[0], np.cumsum(arrays.num_nodes)]))
    edges = torch.from_numpy(np.searchsorted(rows, np.arange(len(arrays) + 1)))
    batch: Any = Batch(_base_cls=Data, batch=torch.from_numpy(graph), ptr=nodes.clone(), **tensors)
    none = torch.zeros(len(arrays), dtype=torch.int64)
    batch._num_graphs = len(arrays)
    batch._slice_dict = {name: edges if "edge" in name else nodes for name in tensors}
    batch._inc_dict = {name: nodes[:-1] if name == "edge_index" else none for name in tensors}
    return batch

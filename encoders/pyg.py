"""Graphs as PyTorch Geometric batches, for graph networks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from encoders.arch_graph import ArchGraph
from encoders.canonical import INPUT, OUTPUT
from encoders.errors import EncodingError

if TYPE_CHECKING:
    from torch_geometric.data import Batch

__all__ = ["to_pyg"]


def to_pyg(graphs: Iterable[ArchGraph], operations: Sequence[str]) -> "Batch":
    """Return graphs as one batch, as they are; give canonical forms to encode those.

    Parameters
    ----------
    graphs
        `n` graphs with `N` nodes and `E` distinct edges in all.
    operations
        The `k` operations that nodes may carry, without input and output.

    Returns
    -------
    torch_geometric.data.Batch
        ``x`` (N, k + 2), one-hot over ``["input", *operations, "output"]``; ``edge_index`` (2, E);
        ``edge_weight`` (E,), how often an edge is repeated; and what a batch adds, such as
        ``batch`` (N,). All floats are of torch's default type.

    Raises
    ------
    EncodingError
        If there is no graph, or one carries another operation.
    """
    from torch_geometric.data import Batch, Data

    column = {name: index for index, name in enumerate((INPUT, *operations, OUTPUT))}
    one_hot = torch.eye(len(column))
    data = []
    for graph in graphs:
        unknown = sorted(set(graph.operations) - column.keys())
        if unknown:
            raise EncodingError(
                f"expected only the operations {', '.join(operations)}, found "
                f"{', '.join(unknown)}; give all operations of the space"
            )
        counts = Counter(graph.edges)
        data.append(
            Data(
                x=one_hot[[column[operation] for operation in graph.operations]],
                edge_index=torch.tensor(list(counts), dtype=torch.int64).reshape(-1, 2).T,
                edge_weight=torch.tensor(list(counts.values()), dtype=one_hot.dtype),
            )
        )
    if not data:
        raise EncodingError("expected at least one graph, found none; give the graphs to batch")
    return Batch.from_data_list(data)

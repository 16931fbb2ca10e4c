import itertools

import numpy as np
import pytest
import torch

from encoders import ArchGraph, EncodingError, GraphBatch
from encoders.pyg import to_pyg

# What torch_geometric does when it is imported first.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

CHAIN = ArchGraph(("input", "b", "output"), ((0, 1), (0, 1), (1, 2)))
EMPTY = ArchGraph(("output", "input"), ())


def test_a_batch_worked_by_hand():
    batch = to_pyg([CHAIN, EMPTY, CHAIN], operations=("a", "b"))
    chain = [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    empty = [[1, 0, 0, 0], [0, 0, 0, 1]]
    assert batch.num_graphs == 3
    assert batch.x.tolist() == [*chain, *empty, *chain]
    assert batch.edge_index.tolist() == [[0, 1, 5, 6], [1, 2, 6, 7]]
    assert batch.edge_weight.tolist() == [2, 1, 2, 1]
    assert batch.batch.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert batch.x.dtype == batch.edge_weight.dtype == torch.get_default_dtype()
    assert batch.edge_index.dtype == torch.int64
    assert "position" not in batch


def test_graphs_come_back_out_of_the_batch():
    batch = to_pyg([EMPTY, CHAIN], operations=("b",))
    assert batch[0].edge_index.shape == (2, 0)
    assert batch[1].edge_index.tolist() == [[0, 1], [1, 2]]


def test_the_batch_is_the_one_that_is_made_of_its_graphs():
    from torch_geometric.data import Batch

    rng = np.random.default_rng(0)
    graphs = []
    for nodes in rng.integers(2, 7, size=12).tolist():
        pairs = itertools.combinations(range(nodes), 2)
        names = rng.choice(["a", "b"], size=nodes - 2).tolist()
        graphs.append(
            ArchGraph(("input", *names, "output"), [pair for pair in pairs if rng.random() < 0.5])
        )
    batch = to_pyg(graphs, operations=("a", "b"), positions=2)
    parts = batch.to_data_list()
    for graph, part in zip(graphs, parts, strict=True):
        alone = to_pyg([graph], operations=("a", "b"), positions=2)
        assert part.num_nodes == graph.num_nodes
        assert part.edge_index.T.tolist() == list(map(list, graph.edges))
        for name in ("x", "edge_index", "edge_weight", "position"):
            torch.testing.assert_close(part[name], alone[name])
    again = Batch.from_data_list(parts)
    assert set(again.keys()) == set(batch.keys())
    for name in batch.keys():  # noqa: SIM118 (a batch iterates over something else)
        torch.testing.assert_close(batch[name], again[name], rtol=0, atol=0)
    arrays = GraphBatch.of(graphs, operations=("b", "a"))
    torch.testing.assert_close(to_pyg(arrays, ("a", "b"), positions=2).x, batch.x)


def test_positions_are_eigenvectors_of_the_laplacian():
    batch = to_pyg([CHAIN, EMPTY], operations=("b",), positions=2)
    # A path of three nodes, whose eigenvalues are 0, 1 and 2, and two nodes without an edge, of
    # which one eigenvector is left. The multiplicity of the first edge is its weight: degrees are
    # 2, 3 and 1.
    position = batch.position[:3].double().numpy()
    weights = np.array([[0, 2, 0], [2, 0, 1], [0, 1, 0]])
    degrees = weights.sum(axis=0)
    laplacian = np.eye(3) - weights / np.sqrt(np.outer(degrees, degrees))
    np.testing.assert_allclose(laplacian @ position, position * [1, 2], atol=1e-6)
    np.testing.assert_allclose(position.T @ position, np.eye(2), atol=1e-6)
    assert (position[0] > 0).all()
    assert batch.position[3:, 1].tolist() == [0, 0]
    assert sorted(batch.position[3:, 0].tolist()) == [0, 1]


@pytest.mark.parametrize("positions", [-1, 1.5, True])
def test_positions_are_a_whole_number(positions):
    with pytest.raises(EncodingError, match="expected positions as a whole number of at least 0"):
        to_pyg([CHAIN], operations=("b",), positions=positions)


def test_an_operation_outside_the_vocabulary_is_refused_by_name():
    with pytest.raises(EncodingError, match="expected only the operations a, found b"):
        to_pyg([CHAIN], operations=("a",))
    with pytest.raises(EncodingError, match="expected only the operations a, found b"):
        to_pyg(GraphBatch.of([CHAIN], operations=("b",)), operations=("a",))


def test_no_graphs_make_no_batch():
    with pytest.raises(EncodingError, match="at least one graph, found none"):
        to_pyg([], operations=("a",))

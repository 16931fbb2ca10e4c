import pytest
import torch

from encoders import ArchGraph, EncodingError
from encoders.pyg import to_pyg

# What torch_geometric does when it is imported first.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

CHAIN = ArchGraph(("input", "b", "output"), ((0, 1), (0, 1), (1, 2)))
EMPTY = ArchGraph(("output", "input"), ())


def test_a_batch_worked_by_hand():
    batch = to_pyg([CHAIN, EMPTY, CHAIN], operations=("a", "b"))
    chain = [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    empty = [[0, 0, 0, 1], [1, 0, 0, 0]]
    assert batch.num_graphs == 3
    assert batch.x.tolist() == [*chain, *empty, *chain]
    assert batch.edge_index.tolist() == [[0, 1, 5, 6], [1, 2, 6, 7]]
    assert batch.edge_weight.tolist() == [2, 1, 2, 1]
    assert batch.batch.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert batch.x.dtype == batch.edge_weight.dtype == torch.get_default_dtype()
    assert batch.edge_index.dtype == torch.int64


def test_graphs_come_back_out_of_the_batch():
    batch = to_pyg([EMPTY, CHAIN], operations=("b",))
    assert batch[0].edge_index.shape == (2, 0)
    assert batch[1].edge_index.tolist() == [[0, 1], [1, 2]]


def test_an_operation_outside_the_vocabulary_is_refused_by_name():
    with pytest.raises(EncodingError, match="expected only the operations a, found b"):
        to_pyg([CHAIN], operations=("a",))


def test_no_graphs_make_no_batch():
    with pytest.raises(EncodingError, match="at least one graph, found none"):
        to_pyg([], operations=("a",))

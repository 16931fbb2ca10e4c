import itertools

import numpy as np
import pytest

from encoders import ABSENT, ArchGraph, EncodingError, GraphBatch

# Topological order input (node 2), b (0), a (3), output (1); edge 2 -> 0 is doubled.
GRAPH = ArchGraph(("b", "output", "input", "a"), ((2, 0), (2, 0), (0, 3), (3, 1), (2, 1)))
SMALL = ArchGraph(("input", "output"), ((0, 1),))


def test_arrays_worked_by_hand():
    batch = GraphBatch.of([GRAPH, SMALL], operations=["a", "b"])
    assert len(batch) == 2
    assert batch.operations == ("a", "b")
    assert batch.codes.tolist() == [[2, 1, 0, 3], [2, ABSENT, ABSENT, 3]]
    first, second = batch.adjacency.tolist()
    assert first == [[0, 2, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert second == [[0, 0, 0, 1], [0] * 4, [0] * 4, [0] * 4]
    assert batch.num_nodes.tolist() == [4, 2]
    assert batch.used() == {"a", "b"}


def test_graphs_come_back_numbered_by_position():
    graphs = GraphBatch.of([GRAPH, SMALL], operations=["a", "b"]).graphs()
    assert graphs == [
        ArchGraph(("input", "b", "a", "output"), ((0, 1), (0, 1), (1, 2), (2, 3), (0, 3))),
        SMALL,
    ]
    assert all(type(node) is int for edge in graphs[0].edges for node in edge)
    # They are whole: everything that a graph computes can be computed.
    assert graphs[0].key() == GRAPH.key()
    assert graphs[0].depth() == 3


def test_graphs_in_topological_order_come_back_as_they_were():
    rng = np.random.default_rng(0)
    graphs = []
    for nodes in rng.integers(2, 8, size=50).tolist():
        pairs = itertools.combinations(range(nodes), 2)
        edges = [pair for pair in pairs for _ in range(rng.integers(3))]
        names = rng.choice(["a", "b"], size=nodes - 2).tolist()
        graphs.append(ArchGraph(("input", *names, "output"), edges))
    batch = GraphBatch.of(graphs, ("a", "b"))
    assert batch.graphs() == graphs
    assert batch.depths().tolist() == [graph.depth() for graph in graphs]
    # What is made of valid graphs passes the checks of the constructor.
    checked = GraphBatch(batch.operations, batch.codes, batch.adjacency)
    assert checked.recoded(("b", "c", "a")).graphs() == graphs
    assert checked.fitted_to(9).graphs() == graphs
    assert checked.fitted_to(9).fitted_to(7).codes.tolist() == batch.codes.tolist()
    assert checked.taken(np.array([3, 1])).graphs() == [graphs[3], graphs[1]]


def test_no_graphs_make_an_empty_batch():
    batch = GraphBatch.of([], ("a",))
    assert len(batch) == 0
    assert batch.graphs() == []
    assert batch.used() == set()


def test_other_operations_and_larger_graphs_are_refused():
    with pytest.raises(EncodingError, match="expected only the operations a, found b; fit again"):
        GraphBatch.of([GRAPH, SMALL], operations=["a"])
    batch = GraphBatch.of([GRAPH], operations=["a", "b"])
    with pytest.raises(EncodingError, match="expected only the operations b, found a; fit again"):
        batch.recoded(["b"])
    with pytest.raises(EncodingError, match="at most 3 nodes, found one of 4; give a larger"):
        batch.fitted_to(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": [[2.0, 0.0, 3.0]]}, "expected integer codes .* found float64"),
        ({"codes": [2, 0, 3]}, r"at least two positions.*found int64 \(3,\)"),
        ({"adjacency": [[[0, 1], [0, 0]]]}, r"adjacency \(n, m, m\), found .* \(1, 2, 2\)"),
        ({"codes": [[0, 0, 3]]}, "the code 2 of the input at the first position"),
        ({"codes": [[2, 0, 2]]}, "the code 3 of the output at the last position"),
        ({"codes": [[2, 2, 3]]}, r"codes from -1 to 1 .*, found codes \[2, 2, 3\] in row 0"),
        ({"codes": [[2, ABSENT, 3]]}, "edges from a node to a later one"),
        ({"adjacency": [[[0, 1, 0], [0, 0, 1], [0, 1, 0]]]}, "edges from a node to a later one"),
        ({"adjacency": [[[0, -1, 0], [0, 0, 1], [0, 0, 0]]]}, "edges from a node to a later one"),
    ],
)
def test_what_are_no_such_arrays_is_refused(change, message):
    arrays = {"codes": [[2, 0, 3]], "adjacency": [[[0, 1, 0], [0, 0, 1], [0, 0, 0]]]} | change
    with pytest.raises(EncodingError, match=message):
        GraphBatch(("a", "b"), **{name: np.array(value) for name, value in arrays.items()})


def test_empty_positions_come_last():
    codes = np.array([[1, ABSENT, 0, 2]])
    with pytest.raises(EncodingError, match="empty positions behind all nodes but the output"):
        GraphBatch(("a",), codes, np.zeros((1, 4, 4), dtype=np.int64))

import tracemalloc

import numpy as np
import pytest

from encoders import ArchGraph, EncodingError, GraphBatch
from encoders.joined_graphs import JoinedGraphs

CHAIN = ArchGraph(("input", "b", "output"), ((0, 1), (0, 1), (1, 2)))
# Its nodes are not numbered in topological order.
TURNED = ArchGraph(("output", "a", "input", "b"), ((2, 3), (3, 1), (1, 0), (2, 1)))
EMPTY = ArchGraph(("output", "input"), ())


def test_graphs_joined_by_hand():
    joined = JoinedGraphs.of([CHAIN, EMPTY, TURNED], ("a", "b"))
    assert len(joined) == 3
    assert joined.codes.tolist() == [2, 1, 3, 2, 3, 2, 1, 0, 3]
    assert joined.bounds.tolist() == [0, 3, 5, 9]
    assert joined.graph_of.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    edges = sorted(zip(joined.sources.tolist(), joined.targets.tolist(), strict=True))
    assert edges == [(0, 1), (0, 1), (1, 2), (5, 6), (5, 7), (6, 7), (7, 8)]
    sources, targets, repeats = joined.distinct_edges()
    assert sources.tolist() == [0, 1, 5, 5, 6, 7]
    assert targets.tolist() == [1, 2, 6, 7, 7, 8]
    assert repeats.tolist() == [2, 1, 1, 1, 1, 1]


def test_padded_graphs_join_to_the_same():
    graphs = [CHAIN, EMPTY, TURNED]
    joined = JoinedGraphs.of(graphs, ("a", "b"))
    padded = GraphBatch.of(graphs, ("a", "b")).joined()
    assert padded.codes.tolist() == joined.codes.tolist()
    assert padded.bounds.tolist() == joined.bounds.tolist()
    for one, other in zip(padded.distinct_edges(), joined.distinct_edges(), strict=True):
        assert one.tolist() == other.tolist()


def test_no_graphs_join_to_nothing():
    joined = JoinedGraphs.of([], ("a",))
    assert len(joined) == 0
    assert [len(part) for part in joined.distinct_edges()] == [0, 0, 0]


def test_memory_grows_with_edges_and_not_with_pairs_of_nodes():
    nodes, count = 400, 200
    edges = [(node, node + 1) for node in range(nodes - 1)]
    long = ArchGraph(("input", *["a"] * (nodes - 2), "output"), edges)
    long.topological_order()
    tracemalloc.start()
    try:
        joined = JoinedGraphs.of([long] * count, ("a",))
        joined.distinct_edges()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(joined.sources) == count * (nodes - 1)
    assert peak < 8 * count * nodes * nodes / 10


def test_an_operation_outside_the_vocabulary_is_refused_by_name():
    with pytest.raises(EncodingError, match="expected only the operations a, found b"):
        JoinedGraphs.of([CHAIN], ("a",))


def test_numbers_are_whole():
    joined = JoinedGraphs.of([CHAIN], ("a", "b"))
    for numbers in (joined.codes, joined.bounds, joined.sources, joined.targets):
        assert numbers.dtype == np.int64

import itertools

import networkx as nx
import numpy as np
import pytest

from encoders import ArchGraph, EncodingError, WeisfeilerLehmanEncoder

# input -> a -> a -> output and input -> a -> output
GRAPH = ArchGraph(("input", "a", "a", "a", "output"), ((0, 1), (1, 2), (2, 4), (0, 3), (3, 4)))


def test_operations_are_counted_first():
    encoder = WeisfeilerLehmanEncoder(operations=("a", "b"), iterations=0).fit([GRAPH])
    assert encoder.get_feature_names_out().tolist() == ["0:a", "0:input", "0:output"]
    assert encoder.transform([GRAPH]).tolist() == [[3, 1, 1]]


def test_refinement_tells_nodes_apart_by_their_neighbours():
    # After one iteration: a behind the input before a, a behind a before the output, a between
    # the two ends, the input and the output.
    encoder = WeisfeilerLehmanEncoder(operations=("a",), iterations=1).fit([GRAPH])
    row = encoder.transform([GRAPH])[0]
    names = encoder.get_feature_names_out()
    refined = [row[i] for i, name in enumerate(names) if name.startswith("1:")]
    assert refined == [1, 1, 1, 1, 1]
    twins = ArchGraph(("input", "a", "a", "output"), ((0, 1), (0, 2), (1, 3), (2, 3)))
    encoder.fit([twins])
    row = encoder.transform([twins])[0]
    assert sorted(row) == [1, 1, 1, 1, 2, 2]


def test_the_direction_of_edges_counts():
    first = ArchGraph(("input", "a", "b", "output"), ((0, 1), (1, 2), (2, 3)))
    second = ArchGraph(("input", "b", "a", "output"), ((0, 1), (1, 2), (2, 3)))
    encoder = WeisfeilerLehmanEncoder(operations=("a", "b"), iterations=1).fit([first, second])
    rows = encoder.transform([first, second])
    assert rows[0, :4].tolist() == rows[1, :4].tolist()
    assert not np.array_equal(rows[0], rows[1])


@pytest.mark.filterwarnings("ignore:The hashes produced for directed graphs:UserWarning")
@pytest.mark.parametrize("iterations", [1, 2])
def test_rows_differ_exactly_where_networkx_hashes_do(iterations):
    rng = np.random.default_rng(1)
    pairs = list(itertools.combinations(range(5), 2))
    graphs, hashes = [], []
    for _ in range(60):
        names = rng.choice(["a", "b"], size=3).tolist()
        graph = ArchGraph(
            ("input", *names, "output"), [pair for pair in pairs if rng.random() < 0.4]
        )
        if len(graphs) > 40:
            graph = graphs[len(graphs) - 40].relabelled((2, 0, 4, 3, 1))
        other = nx.DiGraph(graph.edges)
        other.add_nodes_from((i, {"op": op}) for i, op in enumerate(graph.operations))
        graphs.append(graph)
        hashes.append(nx.weisfeiler_lehman_graph_hash(other, node_attr="op", iterations=iterations))
    encoder = WeisfeilerLehmanEncoder(("a", "b"), iterations=iterations, canonical=False)
    rows = encoder.fit(graphs).transform(graphs)
    equal = [
        (np.array_equal(rows[i], rows[j]), hashes[i] == hashes[j])
        for i, j in itertools.combinations(range(60), 2)
    ]
    assert {True, False} == {ours for ours, _ in equal}
    assert all(ours == theirs for ours, theirs in equal)


def test_labels_that_were_not_seen_count_nowhere():
    encoder = WeisfeilerLehmanEncoder(operations=("a", "b"), iterations=0).fit([GRAPH])
    other = ArchGraph(("input", "b", "output"), ((0, 1), (1, 2)))
    assert encoder.transform([other]).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("iterations", [-1, 1.5, True])
def test_iterations_are_a_whole_number(iterations):
    with pytest.raises(EncodingError, match="expected iterations as a whole number"):
        WeisfeilerLehmanEncoder(iterations=iterations).fit([GRAPH])


def test_labels_are_distinct():
    with pytest.raises(EncodingError, match="expected labels as distinct texts"):
        WeisfeilerLehmanEncoder(labels=["0:a", "0:a"]).fit([GRAPH])


def test_counts_are_the_rows_as_a_sparse_array():
    other = ArchGraph(("input", "b", "output"), ((0, 1), (1, 2)))
    encoder = WeisfeilerLehmanEncoder(operations=("a", "b")).fit([GRAPH, other])
    column = [other, GRAPH, other]
    np.testing.assert_array_equal(encoder.count(column).toarray(), encoder.transform(column))
    assert encoder.count([]).shape == (0, len(encoder.labels_))


def test_labels_do_not_depend_on_the_vocabulary_nor_on_the_graphs_beside():
    other = ArchGraph(("input", "b", "output"), ((0, 1), (1, 2)))
    first = WeisfeilerLehmanEncoder(operations=("a",)).fit([GRAPH]).labels_
    second = WeisfeilerLehmanEncoder(operations=("c", "b", "a")).fit([other, GRAPH]).labels_
    assert set(first) < set(second)

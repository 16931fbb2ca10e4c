import numpy as np
import pytest

from encoders import AdjacencyEncoder, ArchGraph, EncodingError


def test_a_row_worked_by_hand():
    # Topological order input (node 2), b (0), a (3), output (1); edge 2 -> 0 is doubled.
    graph = ArchGraph(("b", "output", "input", "a"), ((2, 0), (2, 0), (0, 3), (3, 1), (2, 1)))
    encoder = AdjacencyEncoder(operations=("a", "b")).fit([graph])
    features = dict(
        zip(encoder.get_feature_names_out(), encoder.transform([graph])[0], strict=True)
    )
    assert features == {
        "node1=a": 0,
        "node1=b": 1,
        "node2=a": 1,
        "node2=b": 0,
        "edge0->1": 2,
        "edge0->2": 0,
        "edge0->3": 1,
        "edge1->2": 1,
        "edge1->3": 0,
        "edge2->3": 1,
    }


def test_smaller_graphs_leave_positions_empty_before_the_output():
    small = ArchGraph(("input", "a", "output"), ((0, 1), (1, 2)))
    encoder = AdjacencyEncoder(operations=("a",), max_nodes=5).fit([small])
    names = encoder.get_feature_names_out()
    present = names[encoder.transform([small])[0] == 1]
    assert present.tolist() == ["node1=a", "edge0->1", "edge1->4"]
    assert len(names) == 3 * 1 + 5 * 4 // 2


def test_the_triangle_is_that_of_the_adjacency_matrix_in_row_order():
    rng = np.random.default_rng(3)
    nodes = 7
    pairs = np.stack(np.triu_indices(nodes, 1), axis=1)
    graph = ArchGraph(
        ("input", *"abcde", "output"),
        [(i, j) for i, j in pairs.tolist() for _ in range(rng.integers(3)) if i == j - 1]
        + [(i, i + 1) for i in range(nodes - 1)]
        + [(i, j) for i, j in pairs.tolist() if rng.random() < 0.5],
    )
    row = AdjacencyEncoder().fit_transform([graph])[0]
    np.testing.assert_array_equal(row[-21:], graph.adjacency()[np.triu_indices(nodes, 1)])


def test_canonical_forms_drop_zero_and_identity_from_the_vocabulary():
    graph = ArchGraph(("input", "skip_connect", "a", "output"), ((0, 1), (1, 2), (2, 3)))
    encoder = AdjacencyEncoder(("none", "skip_connect", "a"), canonical=True).fit([graph])
    assert encoder.operations_ == ("a",)
    assert encoder.max_nodes_ == 3


def test_a_larger_graph_than_the_layout_is_refused():
    small = ArchGraph(("input", "output"), ((0, 1),))
    large = ArchGraph(("input", "a", "output"), ((0, 1), (1, 2)))
    encoder = AdjacencyEncoder(operations=("a",)).fit([small])
    with pytest.raises(EncodingError, match="at most 2 nodes, found one of 3; give a larger"):
        encoder.transform([large])
    with pytest.raises(EncodingError, match="expected larger as one of refuse, cut, found 'keep'"):
        AdjacencyEncoder(larger="keep").fit([small])


def test_a_larger_graph_can_be_cut_to_its_first_positions_and_the_output():
    small = ArchGraph(("input", "a", "output"), ((0, 1), (1, 2)))
    encoder = AdjacencyEncoder(operations=("a", "b"), larger="cut").fit([small])
    large = ArchGraph(("input", "b", "a", "output"), ((0, 1), (1, 2), (0, 2), (1, 3), (2, 3)))
    kept = ArchGraph(("input", "b", "output"), ((0, 1), (1, 2)))
    rows = encoder.transform([large, small, kept])
    assert rows[0].tolist() == rows[2].tolist() == [0, 1, 1, 0, 1]
    assert rows[1].tolist() == [1, 0, 1, 0, 1]


def test_categorical_coding_has_one_column_a_position():
    graph = ArchGraph(("input", "b", "a", "output"), ((0, 1), (1, 2), (2, 3)))
    encoder = AdjacencyEncoder(operations=("a", "b"), max_nodes=5, coding="categorical")
    row = encoder.fit([graph]).transform([graph])[0]
    names = encoder.get_feature_names_out().tolist()
    assert names[:4] == ["node1", "node2", "node3", "edge0->1"]
    assert row[:3].tolist() == [2, 1, 0]
    one_hot = AdjacencyEncoder(operations=("a", "b"), max_nodes=5).fit_transform([graph])[0]
    assert row[3:].tolist() == one_hot[6:].tolist()


def test_an_unknown_coding_is_refused():
    graph = ArchGraph(("input", "output"), ((0, 1),))
    with pytest.raises(EncodingError, match="coding as one of one-hot, categorical, found 'code'"):
        AdjacencyEncoder(coding="code").fit([graph])


@pytest.mark.parametrize("max_nodes", [1, 2.5, True, "8"])
def test_max_nodes_is_a_whole_number_of_at_least_two(max_nodes):
    graph = ArchGraph(("input", "output"), ((0, 1),))
    with pytest.raises(EncodingError, match="max_nodes as a whole number of at least 2, found"):
        AdjacencyEncoder(max_nodes=max_nodes).fit([graph])

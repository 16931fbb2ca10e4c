import networkx as nx
import numpy as np
import pytest
from scipy.linalg import expm

from encoders import ArchGraph, EncodingError, GraphBatch, LaplacianEncoder
from encoders.laplacian import laplacian_positions

# input -> a -> b -> output, input -> b, and input -> a twice.
GRAPH = ArchGraph(("input", "a", "b", "output"), ((0, 1), (0, 1), (1, 2), (0, 2), (2, 3)))


def normalised_laplacian(graph):
    undirected = nx.MultiGraph(graph.edges)
    undirected.add_nodes_from(range(graph.num_nodes))
    return nx.normalized_laplacian_matrix(undirected, range(graph.num_nodes)).toarray()


def test_a_row_agrees_with_networkx_and_the_matrix_exponential():
    encoder = LaplacianEncoder(("a", "b"), max_nodes=5).fit([GRAPH])
    row = dict(zip(encoder.get_feature_names_out(), encoder.transform([GRAPH])[0], strict=True))
    laplacian = normalised_laplacian(GRAPH)
    spectrum = [row.pop(f"eigenvalue{index}") for index in range(5)]
    expected = [*sorted(np.linalg.eigvalsh(laplacian), reverse=True), 0]
    np.testing.assert_allclose(spectrum, expected, atol=1e-9)
    places = {"input": [0], "a": [1], "b": [2], "output": [3]}
    for time in (1, 4):
        heat = expm(-time * laplacian)
        for pair in ("a,a", "b,b", "input,a", "input,b", "a,output", "b,output", "input,output"):
            first, second = pair.split(",")
            value = heat[np.ix_(places[first], places[second])].sum()
            assert row.pop(f"heat{time}({pair})") == pytest.approx(value, abs=1e-9)
    assert not row


def test_a_chain_has_the_spectrum_of_a_path():
    # The eigenvalues of a path of m nodes are 1 − cos(π k / (m − 1)).
    chain = ArchGraph(("input", "a", "a", "a", "output"), [(i, i + 1) for i in range(4)])
    row = LaplacianEncoder().fit_transform([chain])[0]
    expected = 1 - np.cos(np.pi * np.arange(4, -1, -1) / 4)
    np.testing.assert_allclose(row[:5], expected, atol=1e-9)


def test_nodes_without_edges_have_eigenvalue_zero():
    graph = ArchGraph(("input", "a", "output"), ())
    row = LaplacianEncoder(canonical=False).fit_transform([graph])[0]
    assert row[:3].tolist() == [0, 0, 0]


def test_directions_and_operations_count():
    first = ArchGraph(("input", "a", "b", "output"), ((0, 1), (1, 2), (2, 3)))
    second = ArchGraph(("input", "b", "a", "output"), ((0, 1), (1, 2), (2, 3)))
    rows = LaplacianEncoder(("a", "b")).fit_transform([first, second])
    assert rows[0, :4].tolist() == rows[1, :4].tolist()
    assert not np.allclose(rows[0], rows[1])


def test_a_larger_graph_than_the_layout_is_refused():
    encoder = LaplacianEncoder(("a", "b"), max_nodes=3).fit([ArchGraph(("input", "output"), ())])
    with pytest.raises(EncodingError, match="at most 3 nodes, found one of 4; give a larger"):
        encoder.transform([GRAPH])
    with pytest.raises(EncodingError, match="max_nodes as a whole number of at least 2, found 1"):
        LaplacianEncoder(max_nodes=1).fit([GRAPH])
    with pytest.raises(EncodingError, match="expected larger as one of refuse, cut, found 'keep'"):
        LaplacianEncoder(larger="keep").fit([GRAPH])


def test_of_a_larger_graph_the_smallest_eigenvalues_can_be_left_out():
    whole = LaplacianEncoder(("a", "b")).fit([GRAPH])
    small = ArchGraph(("input", "a", "output"), ((0, 1), (1, 2)))
    cut = LaplacianEncoder(("a", "b"), larger="cut").fit([small])
    nodes = GRAPH.num_nodes
    expected = np.delete(whole.transform([GRAPH])[0], range(3, nodes))
    np.testing.assert_allclose(cut.transform([GRAPH])[0], expected, atol=1e-9)
    rows = cut.transform([GRAPH, small])
    np.testing.assert_allclose(rows[1], cut.transform([small])[0], atol=1e-9)


def test_positions_are_eigenvectors_of_the_smallest_eigenvalues_but_the_first():
    small = ArchGraph(("input", "output"), ((0, 1),))
    positions = laplacian_positions(GraphBatch.of([GRAPH, small], ("a", "b")), 4)
    assert positions.shape == (2, 4, 4)
    matrix = normalised_laplacian(GRAPH)
    values = np.linalg.eigvalsh(matrix)
    # The last two eigenvalues coincide: which basis of their eigenvectors comes out is open.
    np.testing.assert_allclose(values, [0, 2 / 3, 5 / 3, 5 / 3], atol=1e-12)
    ours = positions[0, :, :3]
    np.testing.assert_allclose(matrix @ ours, ours * values[1:], atol=1e-12)
    np.testing.assert_allclose(ours.T @ ours, np.eye(3), atol=1e-12)
    first = ours[np.abs(ours[:, 0]) > 1e-9, 0]
    assert first[0] > 0
    # There are no more than the number of nodes less one.
    np.testing.assert_array_equal(positions[0, :, 3], 0)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(positions[1, [0, 3], 0], [half, -half])
    np.testing.assert_array_equal(positions[1, 1:3], 0)
    np.testing.assert_array_equal(positions[1, :, 1:], 0)


def test_positions_move_with_their_nodes():
    # The smallest eigenvalue but the first is single, so its vector is determined up to its sign.
    order = (2, 0, 3, 1)
    moved = GRAPH.relabelled(order)
    before = laplacian_positions(GraphBatch.of([GRAPH], ("a", "b")), 1)
    after = laplacian_positions(GraphBatch.of([moved], ("a", "b")), 1)
    np.testing.assert_allclose(after, before, atol=1e-9)


def test_no_positions_have_no_columns():
    assert laplacian_positions(GraphBatch.of([GRAPH], ("a", "b")), 0).shape == (1, 4, 0)

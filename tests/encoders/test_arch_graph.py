import copy
import hashlib
import json
import pickle

import numpy as np
import pytest

from encoders import ArchGraph, EncodingError

DIAMOND = ArchGraph(("input", "a", "b", "output"), ((2, 3), (0, 1), (0, 2), (1, 3)))


def test_equal_graphs_are_equal_and_hash_alike_whatever_the_order_of_edges():
    same = ArchGraph(DIAMOND.operations, tuple(reversed(DIAMOND.edges)))
    assert same == DIAMOND
    assert hash(same) == hash(DIAMOND)
    assert same.edges == ((0, 1), (0, 2), (1, 3), (2, 3))
    assert ArchGraph(DIAMOND.operations, DIAMOND.edges[:3]) != DIAMOND


def test_a_graph_cannot_be_changed():
    with pytest.raises(AttributeError, match="cannot assign to field 'edges'"):
        DIAMOND.edges = ()


def test_lists_and_numpy_integers_are_stored_as_tuples_of_plain_integers():
    graph = ArchGraph(["input", "output"], np.array([[0, 1], [0, 1]]))
    assert graph == ArchGraph(("input", "output"), ((0, 1), (0, 1)))
    assert all(type(node) is int for edge in graph.edges for node in edge)


def test_neighbours_adjacency_and_depth_count_repeated_edges():
    graph = ArchGraph(("input", "a", "output"), ((0, 1), (0, 1), (1, 2), (0, 2)))
    assert graph.num_nodes == 3
    assert graph.predecessors == ((), (0, 0), (0, 1))
    assert graph.successors == ((1, 1, 2), (2,), ())
    np.testing.assert_array_equal(graph.adjacency(), [[0, 2, 1], [0, 0, 1], [0, 0, 0]])
    assert graph.depth() == 2


@pytest.mark.parametrize(
    ("edges", "depth"), [((), 0), (((0, 2),), 0), (((0, 1),), 1), (((2, 1), (0, 1)), 1)]
)
def test_depth_counts_only_paths_that_start_at_the_input(edges, depth):
    assert ArchGraph(("input", "output", "a"), edges).depth() == depth


def test_topological_order_puts_the_input_first_and_the_output_last():
    # Node 0 has no predecessors, node 2 no successors, and both are off every path.
    graph = ArchGraph(("a", "output", "b", "input"), ((0, 1), (3, 1), (3, 2)))
    assert graph.topological_order() == (3, 0, 2, 1)


def test_relabelled_moves_every_node_to_its_new_place():
    moved = DIAMOND.relabelled((3, 0, 2, 1))
    assert moved.operations == ("a", "output", "b", "input")
    assert moved.edges == ((0, 1), (2, 1), (3, 0), (3, 2))


@pytest.mark.parametrize("permutation", [(0, 1, 2), (0, 1, 2, 2), (1, 2, 3, 4)])
def test_relabelled_refuses_what_is_no_permutation(permutation):
    with pytest.raises(EncodingError, match="expected every number from 0 to 3 once, found"):
        DIAMOND.relabelled(permutation)


@pytest.mark.parametrize(
    ("operations", "edges", "message"),
    [
        (("input", "a"), (), "exactly one node 'output', found 0 among 2 nodes"),
        (("output",), (), "exactly one node 'input', found 0"),
        (("input", "input", "output"), (), "exactly one node 'input', found 2"),
        (("input", "output", "a"), ((2, 0),), "no incoming edges at the node 'input', found 1"),
        (("input", "output", "a"), ((1, 2),), "no outgoing edges at the node 'output', found 1"),
        (("input", "output", "a"), ((2, 2),), r"two different nodes from 0 to 2, found \(2, 2\)"),
        (("input", "output"), ((0, 2),), r"two different nodes from 0 to 1, found \(0, 2\)"),
        (("input", "output"), ((-2, 1),), r"found \(-2, 1\)"),
        (
            ("input", "a", "b", "output"),
            ((0, 1), (1, 2), (2, 1), (2, 3)),
            r"without cycles, found one among the nodes \[1, 2\]",
        ),
        (("input", "", "output"), (), "non-empty operation name at node 1, found ''"),
        (("input", 3, "output"), (), "non-empty operation name at node 1, found 3"),
        ("input", (), "a sequence of operation names, found 'input'"),
        (None, (), "a sequence of operation names, found None"),
        (("input", "output"), ((0, 1, 1),), r"a pair of node numbers, found \(0, 1, 1\)"),
        (("input", "output"), ((0, 1.0),), r"a pair of node numbers, found \(0, 1.0\)"),
        (("input", "output"), ((False, True),), "a pair of node numbers, found"),
        (("input", "output"), (1,), "a pair of node numbers, found 1"),
        (("input", "output"), 1, "a sequence of edges, found 1"),
    ],
)
def test_what_is_no_graph_is_refused_in_one_line(operations, edges, message):
    with pytest.raises(EncodingError, match=message) as caught:
        ArchGraph(operations, edges)
    assert "\n" not in str(caught.value)


def test_json_holds_operations_and_edges_and_comes_back_equal():
    assert json.loads(DIAMOND.to_json()) == {
        "operations": ["input", "a", "b", "output"],
        "edges": [[0, 1], [0, 2], [1, 3], [2, 3]],
    }
    assert ArchGraph.from_json(DIAMOND.to_json()) == DIAMOND


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found text that is not JSON"),
        ("{", "found text that is not JSON"),
        ("[" * 100_000, "found text that is not JSON"),
        (None, "found text that is not JSON"),
        ("[]", "the members 'operations' and 'edges', found list"),
        ('{"operations": ["input", "output"]}', r"found \['operations'\]"),
        (
            '{"operations": ["input", "output"], "edges": [], "name": "x"}',
            r"found \['edges', 'name', 'operations'\]",
        ),
        (
            '{"operations": ["input", "output"], "edges": [], "edges": [[0, 1]]}',
            "every member of a JSON object once",
        ),
        ('{"operations": ["input", "output"], "edges": ""}', "as lists"),
        ('{"operations": "input", "edges": []}', "as lists"),
        ('{"operations": ["input", "output"], "edges": [[0, 1.0]]}', "a pair of node numbers"),
        ('{"operations": ["input", "output"], "edges": [[0, true]]}', "a pair of node numbers"),
        ('{"operations": ["input", "output"], "edges": ["01"]}', "a pair of node numbers"),
        ('{"operations": ["input", "output"], "edges": [[0, 9]]}', "from 0 to 1"),
    ],
)
def test_json_that_is_no_graph_is_refused_in_one_line(text, message):
    with pytest.raises(EncodingError, match=message) as caught:
        ArchGraph.from_json(text)
    assert "\n" not in str(caught.value)


def test_key_is_the_digest_of_the_canonical_json():
    text = '{"operations": ["input", "a", "output"], "edges": [[0, 1], [1, 2]]}'
    graph = ArchGraph(("skip_connect", "output", "a", "input"), ((3, 0), (0, 2), (2, 1)))
    assert graph.canonical().to_json() == text
    assert graph.key() == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_copies_stay_equal_with_everything_computed_kept_out_of_the_comparison():
    graph = ArchGraph(DIAMOND.operations, DIAMOND.edges)
    graph.key()
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert other == DIAMOND
        assert hash(other) == hash(DIAMOND)
        assert other.key() == DIAMOND.key()

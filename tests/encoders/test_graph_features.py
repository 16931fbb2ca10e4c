import itertools

import networkx as nx
import numpy as np
import pytest

from encoders import ArchGraph, GraphFeatureEncoder

OPERATIONS = ("a", "b", "none", "skip_connect")


def features(graph, operations=("a", "b"), **parameters):
    encoder = GraphFeatureEncoder(operations, **parameters).fit([graph])
    return dict(zip(encoder.get_feature_names_out(), encoder.transform([graph])[0], strict=True))


def test_a_row_worked_by_hand():
    # input -> a -> b -> output, input -> b -> output, and two identities in parallel.
    graph = ArchGraph(
        ("input", "a", "b", "skip_connect", "skip_connect", "output"),
        ((0, 1), (1, 2), (0, 2), (2, 5), (0, 3), (0, 4), (3, 5), (4, 5)),
    )
    # Two direct edges, one path through b, one through a and b.
    of_subsets = {
        "path": (1, 1, 1, 1),
        "closeness": (1, 1, 1, 1),
        "longest": (1, 1, 2, 3),
        "paths": (np.log2(3), np.log2(3), np.log2(4), np.log2(5)),
        "fewest": (0, 0, 0, 0),
        "most": (0, 1, 1, 2),
        "count": (0, 1, 1, 2),
        "input_degree": (0, 1, 1, 2),
        "output_degree": (0, 0, 1, 1),
    }
    of_operations = {
        "mean": (1 / 4, 2 / 4),
        "first_depth": (1, 2),
        "mean_depth": (1, 2),
        "last_depth": (1, 2),
        "mean_in_degree": (1, 2),
        "max_in_degree": (1, 2),
        "mean_out_degree": (1, 1),
        "max_out_degree": (1, 1),
    }
    of_graph = {
        "nodes": 2,
        "edges": 5,
        "direct_edges": np.log2(3),
        "mean_length": 3 / 4,
        "mean_in_degree": 1.5,
        "max_in_degree": 2,
        "mean_out_degree": 1,
        "max_out_degree": 1,
    }
    expected = dict(of_graph)
    for feature, values in of_subsets.items():
        for subset, value in zip(("", "a", "b", "a,b"), values, strict=True):
            expected[f"{feature}{{{subset}}}"] = value
    for feature, values in of_operations.items():
        for operation, value in zip("ab", values, strict=True):
            expected[f"{feature}{{{operation}}}"] = value
    assert features(graph) == expected


def test_without_a_path_everything_is_zero():
    assert set(features(ArchGraph(("input", "a", "output"), ((0, 1),))).values()) == {0}


def random_graph(rng):
    """Return a graph of up to five inner nodes, in any numbering, some edges twice."""
    inner = int(rng.integers(6))
    pairs = list(itertools.combinations(range(inner + 2), 2))
    edges = [pair for pair in pairs for _ in range(rng.integers(1, 3)) if rng.random() < 0.4]
    graph = ArchGraph(("input", *rng.choice(OPERATIONS, size=inner).tolist(), "output"), edges)
    return graph.relabelled(rng.permutation(inner + 2).tolist())


def path_features(graph, subset):
    """Return the features of paths for a subset, from all paths one by one."""
    multigraph = nx.MultiDiGraph(graph.edges)
    multigraph.add_nodes_from(range(graph.num_nodes))
    ends = graph.operations.index("input"), graph.operations.index("output")
    found = [
        [graph.operations[node] for _, node, _ in path[:-1]]
        for path in nx.all_simple_edge_paths(multigraph, *ends)
    ]
    only = [len(path) + 1 for path in found if set(path) <= set(subset)]
    members = [sum(name in subset for name in path) for path in found]
    return {
        "path": float(bool(only)),
        "closeness": 1 / min(only) if only else 0,
        "longest": max(only, default=0),
        "paths": np.log2(1 + len(only)),
        "fewest": min(members, default=0),
        "most": max(members, default=0),
        "mean": np.mean(members) if members else 0,
    }


def depth_features(graph, operation):
    """Return the depths of the nodes of an operation, from all paths to them one by one."""
    digraph = nx.DiGraph(graph.edges)
    digraph.add_nodes_from(range(graph.num_nodes))
    begin = graph.operations.index("input")
    lengths = [
        [len(path) - 1 for path in nx.all_simple_paths(digraph, begin, node)]
        for node, name in enumerate(graph.operations)
        if name == operation
    ]
    depths = [max(each) for each in lengths if each] or [0]
    return {
        "first_depth": min(depths),
        "mean_depth": np.mean(depths),
        "last_depth": max(depths),
    }


@pytest.mark.parametrize("canonical", [False, True])
def test_rows_agree_with_enumerated_paths(canonical):
    rng = np.random.default_rng(1)
    graphs = [random_graph(rng) for _ in range(60)]
    encoder = GraphFeatureEncoder(OPERATIONS, canonical=canonical).fit(graphs)
    names = encoder.get_feature_names_out().tolist()
    for graph, row in zip(graphs, encoder.transform(graphs), strict=True):
        values = dict(zip(names, row, strict=True))
        form = graph.canonical() if canonical else graph
        for size in range(len(encoder.operations_) + 1):
            for subset in itertools.combinations(encoder.operations_, size):
                expected = path_features(form, subset)
                if size != 1:
                    del expected["mean"]
                found = {name: values[f"{name}{{{','.join(subset)}}}"] for name in expected}
                assert found == pytest.approx(expected, rel=1e-12)
        for operation in encoder.operations_:
            expected = depth_features(form, operation)
            found = {name: values[f"{name}{{{operation}}}"] for name in expected}
            assert found == pytest.approx(expected, rel=1e-12)


def test_as_given_a_zero_and_an_identity_are_operations():
    graph = ArchGraph(("input", "none", "skip_connect", "output"), ((0, 1), (1, 3), (0, 2), (2, 3)))
    row = features(graph, OPERATIONS, canonical=False)
    assert row["path{none}"] == row["path{skip_connect}"] == 1
    assert row["path{}"] == row["path{a,b}"] == 0
    assert row["paths{none,skip_connect}"] == np.log2(3)


@pytest.mark.parametrize(
    ("number", "subsets"),
    [(0, 1), (1, 2), (5, 32), (6, 1 + 6 + 15 + 6 + 1), (8, 1 + 8 + 28 + 8 + 1), (9, 1 + 9 + 9 + 1)],
)
def test_subsets_are_bounded_for_many_operations(number, subsets):
    graph = ArchGraph(("input", "output"), ((0, 1),))
    operations = [f"op{index}" for index in range(number)]
    encoder = GraphFeatureEncoder(operations).fit([graph])
    names = encoder.get_feature_names_out().tolist()
    assert sum(name.startswith("closeness") for name in names) == subsets
    assert len(set(names)) == len(names) == 9 * subsets + 8 * number + 8


def test_all_but_one_and_all_are_subsets_of_many_operations():
    names = ["a", "b", "c", "d", "e", "f", "not a", "*", "g"]
    graph = ArchGraph(("input", "a", "b", "output"), ((0, 1), (1, 3), (0, 2), (2, 3)))
    row = features(graph, names)
    assert (row["path{*}"], row["path{not a}"], row["path{not c}"]) == (1, 1, 1)
    assert (row["paths{*}"], row["paths{not a}"], row["count{not a}"]) == (np.log2(3), 1, 1)
    assert row["path{'not a'}"] == row["path{'*'}"] == 0


def test_more_paths_than_floats_count_stay_finite():
    chain = ArchGraph(
        ("input", *["a"] * 1200, "output"),
        [(node, node + 1) for node in range(1201) for _ in range(2)],
    )
    row = features(chain, canonical=False)
    assert row["longest{a}"] == row["most{a}"] + 1 == 1201
    assert all(np.isfinite(value) for value in row.values())

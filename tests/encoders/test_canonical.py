"""Canonical forms and keys, against enumerated paths, brute force over all orders and networkx."""

import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networkx.algorithms.isomorphism import (
    categorical_node_match,
    numerical_edge_match,
)

from encoders import IDENTITY, ZERO, ArchGraph, EncodingError
from encoders.canonical import canonical_order


@st.composite
def graphs(draw, operations=("a", "b", IDENTITY, ZERO), max_inner=5):
    """Draw a graph whose nodes are numbered at random, with edges repeated up to twice."""
    inner = draw(st.lists(st.sampled_from(operations), max_size=max_inner))
    names = ("input", *inner, "output")
    pairs = itertools.combinations(range(len(names)), 2)
    edges = [pair for pair in pairs for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2))))]
    return ArchGraph(names, tuple(edges)).relabelled(draw(st.permutations(range(len(names)))))


def spelled_paths(graph: ArchGraph) -> Counter[tuple[str, ...]]:
    """Count the paths from input to output by what they apply; zeros end a path."""
    paths: Counter[tuple[str, ...]] = Counter()
    waiting = [(graph.operations.index("input"), ())]
    while waiting:
        node, spelled = waiting.pop()
        operation = graph.operations[node]
        if operation == "output":
            paths[spelled] += 1
        elif operation != ZERO:
            applied = () if operation in ("input", IDENTITY) else (operation,)
            waiting += [(target, spelled + applied) for target in graph.successors[node]]
    return paths


def to_networkx(graph: ArchGraph) -> nx.DiGraph:
    result = nx.DiGraph()
    for node, operation in enumerate(graph.operations):
        result.add_node(node, operation=operation)
    for (source, target), count in Counter(graph.edges).items():
        result.add_edge(source, target, count=count)
    return result


def isomorphic(one: ArchGraph, other: ArchGraph) -> bool:
    return nx.is_isomorphic(
        to_networkx(one),
        to_networkx(other),
        node_match=categorical_node_match("operation", None),
        edge_match=numerical_edge_match("count", 0),
    )


@given(graphs())
@settings(deadline=None)
def test_simplifying_keeps_every_path_and_nothing_else(graph):
    canonical = graph.canonical()
    assert spelled_paths(canonical) == spelled_paths(graph)
    assert not {ZERO, IDENTITY} & set(canonical.operations)
    if canonical.edges:
        from_input = nx.descendants(to_networkx(canonical), 0)
        to_output = nx.ancestors(to_networkx(canonical), canonical.num_nodes - 1)
        assert from_input == set(range(1, canonical.num_nodes))
        assert to_output == set(range(canonical.num_nodes - 1))
    else:
        assert canonical.operations == ("input", "output")


@given(graphs())
@settings(deadline=None)
def test_canonical_is_idempotent_and_topological_with_input_first_and_output_last(graph):
    canonical = graph.canonical()
    assert canonical.canonical() == canonical
    assert all(source < target for source, target in canonical.edges)
    assert canonical.operations[0] == "input"
    assert canonical.operations[-1] == "output"


@given(graphs(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_relabelling_changes_neither_canonical_form_nor_key(graph, random):
    permutation = random.sample(range(graph.num_nodes), graph.num_nodes)
    other = graph.relabelled(permutation)
    assert isomorphic(graph, other)
    assert other.canonical() == graph.canonical()
    assert other.key() == graph.key()


@given(graphs(operations=("a", "b"), max_inner=4), graphs(operations=("a", "b"), max_inner=4))
@settings(deadline=None, max_examples=200)
def test_keys_are_equal_exactly_for_isomorphic_forms(one, other):
    assert (one.key() == other.key()) == isomorphic(one.canonical(), other.canonical())


@given(graphs(operations=("a", "b")), st.data())
@settings(deadline=None)
def test_one_edge_more_or_less_changes_the_key_unless_the_forms_stay_isomorphic(graph, data):
    canonical = graph.canonical()
    if canonical.edges:
        edge = data.draw(st.sampled_from(canonical.edges))
        doubled = ArchGraph(canonical.operations, (*canonical.edges, edge))
        assert doubled.key() != canonical.key()
        remaining = list(canonical.edges)
        remaining.remove(edge)
        less = ArchGraph(canonical.operations, remaining)
        assert (less.key() == canonical.key()) == isomorphic(less.canonical(), canonical)


def test_all_small_graphs_are_grouped_as_by_brute_force_over_all_orders():
    """Three inner nodes: the smallest of the six relabellings is a canonical form by itself."""
    pairs = tuple(itertools.combinations(range(5), 2))
    orders = [(0, *inner, 4) for inner in itertools.permutations((1, 2, 3))]
    groups = set()
    seen = set()
    for names in itertools.product("ab", repeat=3):
        operations = ("input", *names, "output")
        for present in itertools.product((False, True), repeat=len(pairs)):
            edges = tuple(itertools.compress(pairs, present))
            graph = ArchGraph(operations, edges)
            canonical = graph.canonical()
            if canonical.num_nodes < 5:
                continue
            smallest = min(
                (
                    tuple(operations[order.index(node)] for node in range(5)),
                    sorted((order[source], order[target]) for source, target in edges),
                )
                for order in orders
            )
            groups.add((smallest[0], tuple(smallest[1]), canonical))
            seen.add(canonical)
    # One canonical form for every brute-force form, and the other way round.
    assert len(groups) == len(seen) == len({group[:2] for group in groups}) > 100


def test_identities_become_edges_whose_multiplicities_multiply():
    # Two edges into an identity and two identities behind it: 2 × 2 edges.
    graph = ArchGraph(
        ("input", IDENTITY, IDENTITY, IDENTITY, "output"),
        ((0, 1), (0, 1), (1, 2), (1, 3), (2, 4), (3, 4)),
    )
    assert graph.canonical() == ArchGraph(("input", "output"), ((0, 1),) * 4)


def test_an_addition_of_a_value_to_itself_differs_from_the_value():
    once = ArchGraph(("input", "a", "output"), ((0, 1), (1, 2)))
    twice = ArchGraph(("input", "a", "output"), ((0, 1), (1, 2), (1, 2)))
    assert once.key() != twice.key()


def test_shared_and_repeated_operations_differ():
    shared = ArchGraph(("input", "a", "b", "b", "output"), ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4)))
    repeated = ArchGraph(
        ("input", "a", "a", "b", "b", "output"), ((0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5))
    )
    assert shared.key() != repeated.key()


@pytest.mark.parametrize(
    "graph",
    [
        ArchGraph(("input", "output"), ()),
        ArchGraph(("output", "a", "input"), ((2, 1),)),
        ArchGraph(("input", "a", "output"), ((1, 2),)),
        ArchGraph(("input", ZERO, "a", "output"), ((0, 1), (1, 2), (2, 3))),
    ],
)
def test_without_a_path_only_input_and_output_stay(graph):
    assert graph.canonical() == ArchGraph(("input", "output"), ())


def layered(cycles: tuple[int, ...]) -> ArchGraph:
    """Join two layers so that, without directions, they form cycles of the given lengths."""
    width = sum(cycles) // 2
    edges = [(0, 1 + i) for i in range(width)]
    edges += [(1 + width + i, 2 * width + 1) for i in range(width)]
    start = 0
    for length in cycles:
        half = length // 2
        for i in range(half):
            edges.append((1 + start + i, 1 + width + start + i))
            edges.append((1 + start + i, 1 + width + start + (i + 1) % half))
        start += half
    return ArchGraph(("input", *("a",) * width, *("b",) * width, "output"), tuple(edges))


def test_graphs_that_colours_alone_cannot_tell_apart_have_different_keys():
    one, two = layered((12,)), layered((6, 6))
    assert not isomorphic(one, two)
    assert one.key() != two.key()
    permutation = (9, 4, 11, 0, 2, 13, 7, 1, 5, 12, 3, 10, 8, 6)
    assert one.relabelled(permutation).key() == one.key()
    assert two.relabelled(permutation).key() == two.key()


def test_nodes_of_one_colour_that_are_not_equivalent_are_all_tried():
    """A node on the long cycle looks like one on a short cycle; which is first must not matter."""
    graph = layered((12, 6, 6))
    random = Random(0)
    for _ in range(10):
        permutation = random.sample(range(graph.num_nodes), graph.num_nodes)
        assert graph.relabelled(permutation).canonical() == graph.canonical()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_symmetry_costs_no_search_through_all_orders(length):
    """Of 12 equal branches there are 479,001,600 orders; one search must do."""
    branches = 12
    operations = ["input", *["a"] * (branches * length), "output"]
    last = len(operations) - 1
    edges = []
    for first in range(1, last, length):
        edges += [(0, first), (first + length - 1, last)]
        edges += [(node, node + 1) for node in range(first, first + length - 1)]
    graph = ArchGraph(operations, edges)
    reverse = [0, *range(last - 1, 0, -1), last]
    assert graph.key() == graph.relabelled(reverse).key()


def test_a_form_that_would_explode_is_refused():
    # Every link of the chain is x + x: 2 to the power of 20 edges.
    operations = ("input", *(IDENTITY,) * 40, "output")
    edges = []
    for link in range(20):
        entry, left, right = max(0, 2 * link - 1), 2 * link + 1, 2 * link + 2
        sources = [0] if link == 0 else [entry, entry + 1]
        edges += [(source, target) for source in sources for target in (left, right)]
    edges += [(39, 41), (40, 41)]
    with pytest.raises(EncodingError, match="at most 100,000 edges, found more"):
        ArchGraph(operations, edges).canonical()


def test_a_form_that_is_too_large_without_identities_is_refused_too():
    graph = ArchGraph(("input", "output"), [(0, 1)] * 100_001)
    with pytest.raises(EncodingError, match="at most 100,000 edges, found more"):
        graph.canonical()


def test_canonical_order_does_not_depend_on_the_order_of_edges():
    operations = ("input", "a", "a", "output")
    edges = ((0, 1), (0, 2), (0, 2), (1, 3), (2, 3))
    assert canonical_order(operations, edges) == canonical_order(operations, edges[::-1])


def test_keys_are_the_same_in_another_process():
    code = (
        "from encoders import ArchGraph; "
        "print(ArchGraph(('input', 'b', 'a', 'a', 'output'), "
        "((0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4), (3, 4))).key())"
    )
    keys = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    graph = ArchGraph(
        ("input", "b", "a", "a", "output"),
        ((0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4), (3, 4)),
    )
    assert keys == {graph.key() + "\n"}

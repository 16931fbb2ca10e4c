"""Pruning worked by hand, and the distinct cells against a search through all of them."""

from itertools import combinations, permutations, product

import numpy as np
import pytest

from predictnas.spaces.nasbench101_cells import EDGES, Cells, distinct_cells


def row(edges, options=(0, 0, 0, 0, 0)):
    """Return the options of a cell with the given edges."""
    return [int(edge in edges) for edge in EDGES] + list(options)


def test_vertices_that_are_on_no_path_are_pruned_and_the_others_moved_up():
    # Vertex 1 leads nowhere, nothing leads to vertex 2, and 5 hangs between the two.
    edges = {(0, 1), (2, 5), (5, 6), (0, 3), (3, 4), (4, 6), (0, 6), (3, 6), (1, 5)}
    dead = {(0, 1), (2, 3), (0, 3), (3, 5), (3, 6), (1, 4)}
    cells = Cells.of(np.array([row(edges - {(1, 5)}, (2, 2, 1, 2, 1)), row(dead, (2, 0, 1, 0, 2))]))
    assert cells.inner.tolist() == [2, 1]
    assert cells.connected.all()
    assert cells.num_edges.tolist() == [5, 2]
    # Vertices 3 and 4 are now 1 and 2; in the second cell 3 is now 1.
    assert cells.rows.tolist() == [
        row({(0, 1), (1, 2), (2, 6), (0, 6), (1, 6)}, (1, 2, 0, 0, 0)),
        row({(0, 1), (1, 6)}, (1, 0, 0, 0, 0)),
    ]
    assert cells.matrix(0) == [[0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert cells.matrix(1) == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_without_a_path_nothing_is_left():
    cells = Cells.of(np.array([row({(0, 1), (1, 2), (3, 6)}, (1, 1, 1, 1, 1)), row(set())]))
    assert not cells.connected.any()
    assert cells.num_edges.tolist() == cells.inner.tolist() == [0, 0]
    assert not cells.rows.any()


def test_pruning_twice_changes_nothing():
    rng = np.random.default_rng(0)
    rows = np.hstack([rng.integers(0, 2, (500, 21)), rng.integers(0, 3, (500, 5))])
    once = Cells.of(rows)
    twice = Cells.of(once.rows)
    assert len(np.unique(once.inner)) > 3
    for before, after in zip(once, twice, strict=True):
        np.testing.assert_array_equal(before, after)
    assert once.hashes() == twice.hashes()


def searched(vertices):
    """Collect all cells with exactly so many vertices, none of them idle, up to isomorphism."""
    found = set()
    pairs = list(combinations(range(vertices), 2))
    inner = range(1, vertices - 1)
    orders = [(0, *order, vertices - 1) for order in permutations(inner)]
    for count in range(1, min(9, len(pairs)) + 1):
        for edges in combinations(pairs, count):
            ahead, behind = {0}, {vertices - 1}
            for source, target in sorted(edges):
                ahead |= {target} if source in ahead else set()
            for source, target in sorted(edges, reverse=True):
                behind |= {source} if target in behind else set()
            if len(ahead & behind) < vertices:
                continue
            for labels in product(range(3), repeat=vertices - 2):
                found.add(
                    repr(
                        min(
                            (
                                sorted((order[source], order[target]) for source, target in edges),
                                sorted((order[vertex], labels[vertex - 1]) for vertex in inner),
                            )
                            for order in orders
                        )
                    )
                )
    return found


@pytest.mark.parametrize(("vertices", "count"), [(2, 1), (3, 6), (4, 84), (5, 2_441)])
def test_the_distinct_cells_are_as_many_as_a_search_finds(vertices, count):
    rows = distinct_cells(vertices)
    assert len(searched(vertices)) == len(rows) == count
    cells = Cells.of(rows)
    np.testing.assert_array_equal(cells.rows, rows)
    assert (cells.inner == vertices - 2).all()
    assert len(set(cells.hashes())) == count


def test_the_published_numbering_worked_by_hand():
    # Both orders of vertices 1 and 2 are possible. An edge to the output counts the less, the
    # earlier the vertex that it leaves, so vertex 2, which leads there, comes first.
    edges = {(0, 1), (0, 2), (1, 3), (2, 6), (3, 6)}
    # The label of the 1 × 1 convolution, the first option, is larger than that of the 3 × 3 one.
    twins = {(0, 1), (0, 2), (1, 6), (2, 6)}
    cells = Cells.of(
        np.array([row(edges), row(twins, (0, 1, 0, 0, 0)), row(twins, (2, 1, 0, 0, 0))])
    )
    assert [cells.numbering(index) for index in range(3)] == [
        [0, 2, 1, 3, 4],
        [0, 2, 1, 3],
        [0, 2, 1, 3],
    ]

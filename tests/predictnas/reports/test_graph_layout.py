import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders import ArchGraph
from predictnas.reports.graph_layout import layout
from predictnas.spaces import NasBench201

DIAMOND = ArchGraph(("input", "a", "b", "output"), ((0, 1), (0, 2), (1, 3), (2, 3)))


@st.composite
def graphs(draw) -> ArchGraph:
    size = draw(st.integers(2, 9))
    pairs = list(itertools.combinations(range(size), 2))
    edges = draw(st.lists(st.sampled_from(pairs), max_size=20))
    names = st.sampled_from(["a", "b", "skip_connect", "none"])
    operations = draw(st.lists(names, min_size=size - 2, max_size=size - 2))
    return ArchGraph(("input", *operations, "output"), tuple(edges))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_whatever_the_graph(graph):
    place = layout(graph)
    drawn = {n for n, name in enumerate(graph.operations) if name != "none"}
    assert set(place.positions) == drawn
    kept = [edge for edge in graph.edges if set(edge) <= drawn]
    assert sum(route.count for route in place.routes) == len(kept)
    for route in place.routes:
        assert route.points[0] == place.positions[route.source]
        assert route.points[-1] == place.positions[route.target]
        # Each layer between is passed once, from left to right.
        assert np.diff([x for x, _ in route.points]).tolist() == [1.0] * (len(route.points) - 1)
    for (_, a), (_, b) in itertools.combinations(place.positions.items(), 2):
        assert a[0] != b[0] or abs(a[1] - b[1]) >= 1 - 1e-9
    assert place.positions[0][0] == 0
    assert place.positions[graph.num_nodes - 1][0] == place.width
    assert min(y for x, y in place.positions.values()) == 0 or place.routes
    # What is alive is what the canonical form keeps, identities aside.
    alive = [graph.operations[n] for n in sorted(drawn - place.dead)]
    if graph.canonical().depth():
        kept_names = sorted(name for name in alive if name != "skip_connect")
        assert kept_names == sorted(graph.canonical().operations)


def test_a_diamond_is_symmetric():
    place = layout(DIAMOND)
    assert [place.positions[n][0] for n in range(4)] == [0, 1, 1, 2]
    assert place.positions[1][1] == pytest.approx(0)
    assert place.positions[2][1] == pytest.approx(1)
    assert place.positions[0][1] == pytest.approx(0.5)
    assert place.positions[3][1] == pytest.approx(0.5)
    assert place.dead == frozenset()


def test_zeros_go_and_what_hangs_on_them_is_dead():
    graph = ArchGraph(
        ("input", "none", "a", "b", "c", "output"),
        ((0, 1), (1, 2), (2, 5), (0, 3), (3, 5), (0, 4)),
    )
    place = layout(graph)
    assert set(place.positions) == {0, 2, 3, 4, 5}
    assert place.dead == {2, 4}  # 2 gets nothing, 4 gives nothing
    assert place.positions[2][0] == place.positions[5][0] - 1


def test_repeated_edges_are_one_route():
    place = layout(ArchGraph(("input", "a", "output"), ((0, 1), (0, 1), (1, 2))))
    assert [(route.source, route.target, route.count) for route in place.routes] == [
        (0, 1, 2),
        (1, 2, 1),
    ]


def test_cells_are_drawn_without_crossings():
    space = NasBench201()
    cells = [(3, 3, 3, 3, 3, 3), *space.sample(15, np.random.default_rng(0))]
    for cell in cells:
        routes = layout(space.graph(cell)).routes
        segments = [pair for route in routes for pair in itertools.pairwise(route.points)]
        for ((x0, a0), (_, a1)), ((x1, b0), (_, b1)) in itertools.combinations(segments, 2):
            assert x0 != x1 or (a0 - b0) * (a1 - b1) > -1e-9

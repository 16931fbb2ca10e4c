from fractions import Fraction
from itertools import combinations, permutations, product
from math import comb, prod
from pathlib import Path

import numpy as np
import pytest

from encoders import ArchGraph
from predictnas.spaces import Darts, get_space

TABLE = Path(__file__).parents[3].parent / "shared" / "data" / "darts_nasbench301_surrogate.parquet"

SPACE = Darts()
# The cells found by DARTS with second-order approximation, from the published code.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def genotype(normal, reduce):
    """Return an architecture of two cells, given as (operation, source) for all edges."""
    return SPACE.parse(
        f"Genotype(normal={normal}, normal_concat=[2, 3, 4, 5], "
        f"reduce={reduce}, reduce_concat=[2, 3, 4, 5])"
    )


def renumbered(edges, order):
    """Return the edges of a cell with node 2 + i moved to 2 + order[i], or None if impossible."""
    place = [0, 1, *(2 + number for number in order)]
    nodes = [None] * 4
    for node in range(4):
        pair = [(name, place[source]) for name, source in edges[2 * node : 2 * node + 2]]
        if max(source for _, source in pair) >= place[node + 2]:
            return None
        nodes[order[node]] = pair
    return [edge for pair in nodes for edge in pair]


def cells(arch):
    """Return the edges of both cells, read from the text."""
    namespace = {"Genotype": lambda **members: members}
    members = eval(SPACE.format(arch), namespace)
    return members["normal"], members["reduce"]


def test_the_size_is_that_counted_by_hand():
    assert SPACE.size == prod(n * (n - 1) * 7**2 for n in (2, 3, 4, 5)) ** 2
    assert prod(comb(n, 2) * 7**2 for n in (2, 3, 4, 5)) ** 2 * 2**8 == SPACE.size
    assert f"{SPACE.size / 2**8:.2e}" == "1.08e+18"


def test_the_number_of_distinct_cells_that_the_docstring_gives():
    # Every class of isomorphic cells holds as many cells as there are renumberings over
    # automorphisms; an automorphism of the wiring fixes 7 ** orbits choices of operations.
    classes = Fraction(0)
    for wiring in product(*(combinations(range(node), 2) for node in (2, 3, 4, 5))):
        possible, fixed = 0, 0
        for order in permutations((2, 3, 4, 5)):
            place = (0, 1, *order)
            moved = {place[n + 2]: tuple(sorted(place[s] for s in wiring[n])) for n in range(4)}
            if all(max(sources) < node for node, sources in moved.items()):
                possible += 1
                if tuple(moved[node] for node in (2, 3, 4, 5)) == wiring:
                    edges = {(s, n + 2) for n in range(4) for s in wiring[n]}
                    orbits = 0
                    while edges:
                        orbits += 1
                        edge = min(edges)
                        while edge in edges:
                            edges.remove(edge)
                            edge = (place[edge[0]], place[edge[1]])
                    fixed += 7**orbits
        classes += Fraction(fixed, possible)
    assert classes == 382_128_166
    assert f"{classes.numerator:,} cells" in Darts.__doc__
    assert f"{float(classes) ** 2:.2e}".replace("e+", "e") + " pairs" in Darts.__doc__


def test_a_genotype_of_the_paper():
    arch = SPACE.parse(DARTS_V2)
    assert SPACE.format(arch) == DARTS_V2
    params = SPACE.params(arch)
    assert len(params) == 24
    assert params["normal_2_inputs"] == "0+1"
    assert params["normal_4_inputs"] == "1+0"
    assert (params["normal_4_first"], params["normal_4_second"]) == ("sep_conv_3x3", "skip_connect")
    assert params["normal_5_inputs"] == "0+2"
    assert params["reduce_5_inputs"] == "2+1"


def test_all_genotypes_of_the_published_table_come_back_exactly():
    if not TABLE.exists():
        pytest.skip("../shared/data/darts_nasbench301_surrogate.parquet is absent")
    texts = pytest.importorskip("pandas").read_parquet(TABLE)["arch"].tolist()
    rows = SPACE.parse_all(texts)
    assert SPACE.format_all(rows) == texts
    assert len(set(SPACE.keys(rows))) == len(texts) == 725


def test_the_graph_of_a_genotype_worked_by_hand():
    names = ["sep_conv_3x3", "dil_conv_5x5", "skip_connect", "max_pool_3x3"] * 2
    normal = list(zip(names, (1, 0, 0, 2, 3, 2, 4, 0), strict=True))
    reduce = [("avg_pool_3x3", s) for s in (0, 1) * 4]
    graph = SPACE.graph(genotype(normal, reduce))
    assert graph.operations == (
        *("input", "normal_0", "normal_1"),
        *("dil_conv_5x5", "sep_conv_3x3", "add"),
        *("skip_connect", "max_pool_3x3", "add"),
        *("dil_conv_5x5", "sep_conv_3x3", "add"),
        *("max_pool_3x3", "skip_connect", "add"),
        *("reduce_0", "reduce_1"),
        *("avg_pool_3x3", "avg_pool_3x3", "add") * 4,
        "output",
    )
    edges = [(0, 1), (0, 2), (0, 15), (0, 16)]
    edges += [(1, 3), (2, 4), (1, 6), (5, 7), (5, 9), (8, 10), (1, 12), (11, 13)]
    edges += [(15, 17), (16, 18), (15, 20), (16, 21), (15, 23), (16, 24), (15, 26), (16, 27)]
    for add in (5, 8, 11, 14, 19, 22, 25, 28):
        edges += [(add - 2, add), (add - 1, add), (add, 29)]
    assert graph == ArchGraph(graph.operations, tuple(edges))


def test_renumbered_nodes_and_swapped_edges_have_the_same_key_and_all_else_another(rng):
    texts = {}
    for arch in SPACE.sample(40, rng):
        normal, reduce = cells(arch)
        key = SPACE.key(arch)
        alike = set()
        for order in permutations(range(4)):
            for edges, other, swap in ((normal, reduce, False), (reduce, normal, True)):
                moved = renumbered(edges, order)
                if moved is not None:
                    pair = (other, moved) if swap else (moved, other)
                    alike.add(genotype(*pair))
        flipped = [edge for node in range(4) for edge in normal[2 * node : 2 * node + 2][::-1]]
        alike.add(genotype(flipped, reduce))
        assert set(SPACE.keys(list(alike))) == {key}
        assert {graph.key() for graph in SPACE.graphs(list(alike))} == {SPACE.graph(arch).key()}
        texts[key] = arch
        assert SPACE.key(genotype(reduce, normal)) != key
    assert len(texts) == 40


def test_keys_are_equal_exactly_where_those_of_the_graphs_are(rng):
    # Two operations and few wirings, so that many small differences and coincidences occur.
    rows = SPACE.sample(600, rng)
    rows[:, 12:] = rows[0, 12:]
    for column in (1, 2, 4, 5, 7, 8, 10, 11):
        rows[:, column] = 2 + rows[:, column] % 2
    rows[:, 3] %= 2
    rows[:, 6] %= 4
    rows[:, 9] %= 2
    keys = SPACE.keys(rows)
    pairs = set(zip(keys, (graph.key() for graph in SPACE.graphs(rows)), strict=True))
    assert len(pairs) == len(set(keys)) == len({key for _, key in pairs})
    distinct = len({tuple(row) for row in rows.tolist()})
    assert len(set(keys)) < 0.7 * distinct


def test_shared_and_repeated_nodes_are_told_apart():
    # Nodes 2 and 3 are alike; nodes 4 and 5 take the same one of them, or one each.
    twins = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1)] * 2
    shared = [*twins, *[("dil_conv_3x3", 0), ("dil_conv_3x3", 2)] * 2]
    apart = [*shared[:-1], ("dil_conv_3x3", 3)]
    assert SPACE.key(genotype(shared, shared)) != SPACE.key(genotype(apart, shared))
    crossed = [*twins, *reversed(apart[4:])]
    assert SPACE.key(genotype(apart, shared)) == SPACE.key(genotype(crossed, shared))


def test_the_inputs_of_a_cell_are_told_apart():
    one = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1)] * 4
    left = [("dil_conv_5x5", 0), ("sep_conv_3x3", 1), *one[2:]]
    right = [("dil_conv_5x5", 1), ("sep_conv_3x3", 0), *one[2:]]
    assert SPACE.key(genotype(left, one)) != SPACE.key(genotype(right, one))


def test_many_keys_are_the_single_ones(rng):
    rows = SPACE.sample(5_000, rng)
    keys = SPACE.keys(rows)
    assert keys[4_990:] == [SPACE.key(row) for row in rows[4_990:]]
    assert len(set(keys)) == 5_000
    assert SPACE.keys([]) == []


def test_samples_are_uniform_over_inputs_and_operations(rng):
    rows = SPACE.sample(20_000, rng)
    counts = np.bincount(rows[:, 9], minlength=20)
    # Binomial with n = 20000, p = 1/20: standard deviation 31.
    assert (abs(counts - 1000) < 5 * 31).all()


def test_the_number_of_neighbors():
    # A node with n nodes before it: n (n − 1) ordered pairs, and twice six other operations.
    assert len(SPACE.neighbors((0,) * 24)) == 2 * sum(n * (n - 1) - 1 + 12 for n in (2, 3, 4, 5))


def test_get_space_finds_it():
    assert isinstance(get_space("darts"), Darts)

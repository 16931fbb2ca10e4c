import re
from pathlib import Path

import numpy as np
import pytest

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.spaces import TransNas101Micro, get_space

TABLE = Path(__file__).parents[3].parent / "shared" / "data" / "transnas101_micro.parquet"

SPACE = TransNas101Micro()
MIXED = "64-41414-3_01_230"


@pytest.fixture(scope="module")
def everything():
    return SPACE.iterate()


@pytest.fixture(scope="module")
def table():
    if not TABLE.exists():
        pytest.skip("the published table ../shared/data/transnas101_micro.parquet is absent")
    return pytest.importorskip("pandas").read_parquet(TABLE)


def composed(arch, reduces):
    """Spell the last node as a sum of compositions, with every operation named by its edge.

    Two expressions that are equal up to the edges' names belong to cells that compute the same;
    in a cell that reduces, an identity that leaves node 0 is an operation.
    """
    edges = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    terms = {0: [()], 1: [], 2: [], 3: []}
    for (source, target), option in zip(edges, arch, strict=True):
        for path in terms[source]:
            if option == 1 and not (reduces and source == 0):
                terms[target].append(path)
            elif option > 0:
                terms[target].append((*path, (option, source, target)))
    return terms[3]


def test_the_space_has_the_published_sizes(everything):
    assert SPACE.size == len(everything) == 4_096
    forms = [graph.canonical() for graph in SPACE.graphs(everything)]
    assert sum(not form.edges for form in forms) == 169
    assert sum(not composed(arch, reduces=False) for arch in everything.tolist()) == 169
    assert len(set(SPACE.keys(everything))) == 1_376


def test_cells_of_one_key_have_the_same_operations_on_the_same_number_of_paths(everything):
    found = {}
    for arch, key in zip(everything.tolist(), SPACE.keys(everything), strict=True):
        paths = [tuple(option for option, *_ in path) for path in composed(arch, reduces=True)]
        assert found.setdefault(key, sorted(paths)) == sorted(paths)


def test_an_identity_that_leaves_node_0_is_an_operation():
    # conv(x) through node 1: on 1 -> 3 behind a reduction, and on 0 -> 1 as the reduction.
    behind, before = SPACE.parse("64-41414-1_00_030"), SPACE.parse("64-41414-3_00_010")
    assert SPACE.key(behind) != SPACE.key(before)
    assert SPACE.key(before) == SPACE.key(SPACE.parse("64-41414-0_00_300"))
    # The same reduction through node 1 and through node 2.
    assert SPACE.key(behind) == SPACE.key(SPACE.parse("64-41414-0_10_003"))


def test_all_texts_are_distinct_and_come_back(everything):
    texts = SPACE.format_all(everything)
    assert len(set(texts)) == 4_096
    np.testing.assert_array_equal(SPACE.parse_all(texts), everything)


def test_the_text_names_edges_in_the_published_order():
    arch = SPACE.parse(MIXED)
    assert arch == (3, 0, 1, 2, 3, 0)
    assert SPACE.params(arch) == {
        "0->1": "conv_3x3",
        "0->2": "none",
        "1->2": "skip_connect",
        "0->3": "conv_1x1",
        "1->3": "conv_3x3",
        "2->3": "none",
    }
    assert SPACE.format(arch) == MIXED


@pytest.mark.parametrize(
    ("text", "expected", "position", "found"),
    [
        ("", "'6'", 1, "the end"),
        ("3_01_230", "'6'", 1, "'3_01_230'"),
        ("32" + MIXED[2:], "'6'", 1, "'32-41414-3_01_230'"),
        ("64-4111-basic", "'4'", 6, "'11-basic'"),
        ("64-41414-4_01_230", "one of 0, 1, 2, 3", 10, "'4_01_230'"),
        ("64-41414-3-01-230", "'_'", 11, "'-01-230'"),
        ("64-41414-3_0_1230", "one of 0, 1, 2, 3", 13, "'_1230'"),
        ("64-41414-?_01_230", "one of 0, 1, 2, 3", 10, "'?_01_230'"),
        (MIXED[:-1], "one of 0, 1, 2, 3", 17, "the end"),
        (MIXED + "0", "the end", 18, "'0'"),
        (MIXED + "\n", "the end", 18, r"'\n'"),
    ],
)
def test_malformed_text_is_refused_at_the_first_wrong_piece(text, expected, position, found):
    message = f"expected {expected} at character {position}, found {found}; write 64-41414-a_bc_def"
    with pytest.raises(InputError, match="^" + re.escape(message)):
        SPACE.parse(text)


def test_something_else_than_text_is_refused():
    with pytest.raises(InputError, match="expected the text of a cell, found 3"):
        SPACE.parse(3)


def test_the_graph_has_a_node_for_every_choice_and_the_wiring_of_the_cell():
    assert SPACE.graph(SPACE.parse("64-41414-1_21_110")) == ArchGraph(
        (
            "input",
            "factorized_reduce",
            "conv_1x1",
            "skip_connect",
            "factorized_reduce",
            "skip_connect",
            "none",
            "output",
        ),
        ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 6), (3, 6), (4, 7), (5, 7), (6, 7)),
    )


def test_every_cell_has_18_neighbors():
    assert len(SPACE.neighbors(SPACE.parse(MIXED))) == 6 * 3


def test_the_published_table_is_read_and_its_dead_cells_are_those_without_a_path(table, everything):
    rows = SPACE.parse_all(table["arch"])
    assert SPACE.format_all(rows) == table["arch"].tolist()
    assert {tuple(row) for row in rows.tolist()} == {tuple(row) for row in everything.tolist()}
    dead = np.array([not graph.canonical().edges for graph in SPACE.graphs(rows)])
    for task in ("class_scene", "jigsaw"):
        chance = table.loc[dead, task]
        assert chance.nunique() == 1
        assert (table.loc[~dead, task] > chance.iloc[0]).mean() > 0.99


def test_cells_with_one_key_were_measured_alike_and_no_larger_classes(table):
    graphs = SPACE.graphs(SPACE.parse_all(table["arch"]))
    # What would be one cell if an identity that leaves node 0 did nothing.
    merged = [
        ArchGraph(
            tuple(name.replace("factorized_reduce", "skip_connect") for name in graph.operations),
            graph.edges,
        )
        for graph in graphs
    ]
    live = np.array([bool(graph.canonical().edges) for graph in graphs])

    def within(graphs):
        """Return the pooled standard deviation within the classes of equal keys."""
        keys = np.array([graph.key() for graph in graphs])[live]
        return table[live].groupby(keys)["class_scene"].var().mean() ** 0.5

    assert len({graph.key() for graph in merged}) == 1_011
    assert within(graphs) < 0.4
    assert within(merged) > 2 * within(graphs)


def test_get_space_finds_it():
    assert isinstance(get_space("transnas101-micro"), TransNas101Micro)

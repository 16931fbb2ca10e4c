import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from encoders import ENCODERS, ArchGraph
from predictnas.errors import InputError
from predictnas.spaces import NasBench201, get_space

TABLE = Path(__file__).parents[3].parent / "shared" / "data" / "nasbench201_cifar10.parquet"

SPACE = NasBench201()
MIXED = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"


@pytest.fixture(scope="module")
def everything():
    return SPACE.iterate()


@pytest.fixture(scope="module")
def table():
    if not TABLE.exists():
        pytest.skip("the published table ../shared/data/nasbench201_cifar10.parquet is absent")
    return pytest.importorskip("pandas").read_parquet(TABLE)


def test_the_space_has_the_published_sizes(everything):
    assert SPACE.size == len(everything) == 15_625
    assert len(set(SPACE.keys(everything))) == 6_466
    forms = [graph.canonical() for graph in SPACE.graphs(everything)]
    assert sum(not form.edges for form in forms) == 341


def test_all_strings_are_distinct_and_come_back(everything):
    texts = SPACE.format_all(everything)
    assert len(set(texts)) == 15_625
    np.testing.assert_array_equal(SPACE.parse_all(texts), everything)


def test_the_text_names_edges_in_the_published_order():
    arch = SPACE.parse(MIXED)
    assert arch == (3, 0, 1, 4, 2, 0)
    assert SPACE.params(arch) == {
        "0->1": "nor_conv_3x3",
        "0->2": "none",
        "1->2": "skip_connect",
        "0->3": "avg_pool_3x3",
        "1->3": "nor_conv_1x1",
        "2->3": "none",
    }
    assert SPACE.format(arch) == MIXED


@pytest.mark.parametrize(
    ("text", "position", "found"),
    [
        ("", 1, "the end"),
        ("nor_conv_3x3~0", 1, "'nor_conv_3x3~0'"),
        (MIXED[1:], 1, "'nor_conv_3x3~0|+|non'"),
        (" " + MIXED, 1, "' |nor_conv_3x3~0|+|n'"),
        ("|", 2, "the end"),
        (MIXED.replace("nor_conv_3x3~0", "nor_conv_5x5~0"), 2, "'nor_conv_5x5~0'"),
        (MIXED.replace("nor_conv_3x3~0", "nor_conv_3x3~1"), 2, "'nor_conv_3x3~1'"),
        (MIXED.replace("nor_conv_3x3~0", "nor_conv_3x3"), 2, "'nor_conv_3x3'"),
        (MIXED.replace("nor_conv_3x3~0", "nor_conv_3x3~"), 2, "'nor_conv_3x3~'"),
        ("|nor_conv_3x3~0||none~0|", 17, "'|none~0|'"),
        ("|nor_conv_3x3~0|+none~0|", 18, "'none~0|'"),
        (MIXED.replace("skip_connect~1", "skip~1"), 26, "'skip~1'"),
        (MIXED.replace("skip_connect~1|", ""), 26, "'+'"),
        (MIXED.replace("none~2", "none~1"), 73, "'none~1'"),
        (MIXED[:30], 26, "'skip_'"),
        (MIXED[:-1], 79, "the end"),
        (MIXED + "+", 80, "'+'"),
        (MIXED + "\n", 80, r"'\n'"),
    ],
)
def test_malformed_text_is_refused_at_the_first_wrong_piece(text, position, found):
    message = re.escape(f" at character {position}, found {found}; write |op~0|+|op~0|op~1|+|")
    with pytest.raises(InputError, match="^expected .*" + message):
        SPACE.parse(text)


def test_something_else_than_text_is_refused():
    with pytest.raises(InputError, match="expected the text of a cell, found 3"):
        SPACE.parse(3)


def test_the_graph_has_a_node_for_every_choice_and_the_wiring_of_the_cell():
    assert SPACE.graph(SPACE.parse(MIXED)) == ArchGraph(
        (
            "input",
            "nor_conv_3x3",
            "none",
            "skip_connect",
            "avg_pool_3x3",
            "nor_conv_1x1",
            "none",
            "output",
        ),
        # Into the edges that leave node 0, 1 and 2 of the cell, and out of those that enter 3.
        ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 6), (3, 6), (4, 7), (5, 7), (6, 7)),
    )


def test_a_canonical_graph_worked_by_hand():
    # Node 1 is conv3x3(x), nodes 2 and its edge to 3 do nothing: pool(x) + conv1x1(conv3x3(x)).
    assert (
        SPACE.graph(SPACE.parse(MIXED)).canonical()
        == ArchGraph(
            ("input", "nor_conv_3x3", "avg_pool_3x3", "nor_conv_1x1", "output"),
            ((0, 1), (0, 2), (1, 3), (2, 4), (3, 4)),
        ).canonical()
    )


@pytest.mark.parametrize(
    ("arch", "expression"),
    [
        ((0, 0, 0, 0, 0, 0), "#+#+#"),
        ((0, 0, 0, 1, 0, 0), "#+#+0"),
        ((0, 1, 0, 0, 0, 3), "#+#+(#+0)@nor_conv_3x3"),
        ((3, 0, 1, 4, 2, 0), "#+((0)@nor_conv_3x3)@nor_conv_1x1+(0)@avg_pool_3x3"),
    ],
)
def test_the_key_is_the_digest_of_the_published_expression(arch, expression):
    assert SPACE.key(arch) == hashlib.sha256(expression.encode()).hexdigest()[:32]


def test_the_key_differs_from_that_of_the_graph_in_both_directions():
    # conv(conv(x)) through node 1 and through node 2: a zero summand stays in the expression.
    through_one, through_two = (3, 0, 0, 0, 3, 0), (0, 3, 0, 0, 0, 3)
    assert SPACE.graph(through_one).key() == SPACE.graph(through_two).key()
    assert SPACE.key(through_one) != SPACE.key(through_two)
    # conv(x) + conv(x) with two convolutions, and with one that is used twice.
    repeated, shared = (0, 3, 0, 3, 0, 1), (3, 0, 1, 0, 1, 1)
    assert SPACE.graph(repeated).key() != SPACE.graph(shared).key()
    assert SPACE.key(repeated) == SPACE.key(shared)


def test_samples_are_uniform():
    rows = SPACE.sample(20_000, np.random.default_rng(0))
    counts = np.stack([np.bincount(column, minlength=5) for column in rows.T])
    # Binomial with n = 20000, p = 1/5: standard deviation 57.
    assert (abs(counts - 4000) < 5 * 57).all()


def test_all_distinct_cells_can_be_drawn_and_no_more():
    rng = np.random.default_rng(0)
    assert len(set(SPACE.keys(SPACE.sample(6_466, rng, distinct=True)))) == 6_466
    with pytest.raises(InputError, match="expected 6467 distinct architectures, found 6466 in"):
        SPACE.sample(6_467, rng, distinct=True)


def test_every_cell_has_24_neighbors():
    assert len(SPACE.neighbors(SPACE.parse(MIXED))) == 6 * 4


@pytest.mark.parametrize("name", ENCODERS)
def test_the_whole_space_is_encoded_with_a_row_for_every_graph(name, everything):
    graphs = SPACE.graphs(everything)
    encoder = ENCODERS[name](operations=SPACE.operations)
    array = encoder.fit_transform(graphs)
    assert array.shape == (15_625, len(encoder.get_feature_names_out()))
    if name == "adjacency":
        assert len(np.unique(array, axis=0)) == 15_625
    if name == "path":
        assert array.shape[1] == 1 + 3 + 9 + 27
        assert (array.sum(axis=1) == 0).sum() == 341


def test_the_published_table_is_read_and_its_dead_cells_are_those_without_a_path(table, everything):
    rows = SPACE.parse_all(table["arch"])
    assert {tuple(row) for row in rows.tolist()} == {tuple(row) for row in everything.tolist()}
    dead = [not graph.canonical().edges for graph in SPACE.graphs(rows)]
    # Ten balanced test classes: a network that does not see its input is right in a tenth.
    np.testing.assert_array_equal(table["test_accuracy"].round(6) == 10.0, dead)


def test_cells_with_one_key_were_measured_alike(table):
    keys = np.array(SPACE.keys(SPACE.parse_all(table["arch"])))
    spread = table.groupby(keys)["valid_accuracy"].std(ddof=0)
    assert spread.median() < 0.5 < table["valid_accuracy"].std() / 10


def test_get_space_finds_it():
    assert isinstance(get_space("nasbench201"), NasBench201)
    assert Counter(SPACE.choices.values()) == {SPACE.operations: 6}

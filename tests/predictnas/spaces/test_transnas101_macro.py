import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from encoders import ENCODERS, ArchGraph
from predictnas.errors import InputError
from predictnas.spaces import TransNas101Macro, get_space

TABLE = Path(__file__).parents[3].parent / "shared" / "data" / "transnas101_macro.parquet"

SPACE = TransNas101Macro()


@pytest.fixture(scope="module")
def everything():
    return SPACE.iterate()


def test_the_space_has_the_published_size_and_no_two_are_the_same(everything):
    assert len(everything) == 3_256
    texts = SPACE.format_all(everything)
    assert len(set(texts)) == len(set(SPACE.keys(everything))) == 3_256
    np.testing.assert_array_equal(SPACE.parse_all(texts), everything)
    listed = {
        "64-" + "".join(digits) + "-basic"
        for count in (4, 5, 6)
        for digits in product("1234", repeat=count)
        if 1 <= digits.count("2") + digits.count("4") <= 3
        and 1 <= digits.count("3") + digits.count("4") <= 4
    }
    assert set(texts) == listed


def test_the_published_table_has_exactly_the_same_architectures(everything):
    if not TABLE.exists():
        pytest.skip("the published table ../shared/data/transnas101_macro.parquet is absent")
    table = pytest.importorskip("pandas").read_parquet(TABLE)
    rows = SPACE.parse_all(table["arch"])
    assert SPACE.format_all(rows) == table["arch"].tolist()
    assert {tuple(row) for row in rows.tolist()} == {tuple(row) for row in everything.tolist()}


def test_a_sample_is_uniform():
    rows = SPACE.sample(20_000, np.random.default_rng(0))
    lengths = (rows < 4).sum(axis=1)
    # The table has 210, 750 and 2,296 of 4, 5 and 6 modules; the deviation is below 70.
    for length, count in ((4, 210), (5, 750), (6, 2_296)):
        assert abs((lengths == length).sum() - 20_000 * count / 3_256) < 5 * 70


def test_modules_are_missing_only_at_the_end():
    rows = [[3, 0, 0, 0, 4, 4], [3, 0, 0, 0, 0, 4], [3, 0, 0, 0, 4, 0], [0, 0, 0, 0, 0, 0]]
    assert SPACE.is_valid(rows).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "expected", "position", "found"),
    [
        ("", "'6'", 1, "the end"),
        ("32-4111-basic", "'6'", 1, "'32-4111-basic'"),
        ("64-41414-1_02_333", "'b'", 10, "'1_02_333'"),
        ("64-411-basic", "one of 1, 2, 3, 4", 7, "'-basic'"),
        ("64-0111-basic", "one of 1, 2, 3, 4", 4, "'0111-basic'"),
        ("64-4111115-basic", "'-'", 10, "'5-basic'"),
        ("64-4111-basi", "'c'", 13, "the end"),
        ("64-4111-basic\n", "the end", 14, r"'\n'"),
    ],
)
def test_malformed_text_is_refused_at_the_first_wrong_piece(text, expected, position, found):
    message = f"expected {expected} at character {position}, found {found}; write 64-abcdef-basic"
    with pytest.raises(InputError, match="^" + re.escape(message)):
        SPACE.parse(text)


@pytest.mark.parametrize("digits", ["1111", "2222", "3333", "222244", "333332", "444411"])
def test_too_many_or_too_few_changes_are_refused(digits):
    with pytest.raises(InputError, match=rf"1 to 4 among 3 and 4, found {digits} at character 4"):
        SPACE.parse(f"64-{digits}-basic")


def test_something_else_than_text_is_refused():
    with pytest.raises(InputError, match="expected the text of an architecture, found 3"):
        SPACE.parse(3)


def test_the_graph_is_the_chain_of_the_modules():
    assert SPACE.graph(SPACE.parse("64-41321-basic")) == ArchGraph(
        ("input", "module_4", "module_1", "module_3", "module_2", "module_1", "output"),
        ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)),
    )


def test_neighbors_change_a_kind_or_the_number_of_modules():
    found = SPACE.format_all(SPACE.neighbors(SPACE.parse("64-11114-basic")))
    changed = [
        "64-" + "11114"[:place] + kind + "11114"[place + 1 :] + "-basic"
        for place in range(4)
        for kind in "234"
    ]
    # Of module 5 only kind 4 both doubles and halves, and a sixth may be of any kind.
    assert sorted(found) == sorted(changed + [f"64-11114{kind}-basic" for kind in "1234"])


@pytest.mark.parametrize("name", ENCODERS)
def test_architectures_are_encoded_and_told_apart(name, everything):
    graphs = SPACE.graphs(everything[::16])
    encoded = ENCODERS[name](operations=SPACE.operations).fit_transform(graphs)
    assert len(np.unique(encoded, axis=0)) == len(graphs)


def test_get_space_finds_it():
    assert isinstance(get_space("transnas101-macro"), TransNas101Macro)

import re

import pytest

from encoders import ENCODERS
from predictnas.catalogue import encoder_table, reference, space_table, with_tables
from predictnas.errors import InputError
from predictnas.spaces import SPACES, get_space

# Spaces that are small enough to count again.
COUNTED = [name for name in SPACES if get_space(name).size <= 20_000]


@pytest.mark.parametrize("name", COUNTED)
def test_the_number_of_distinct_architectures_is_that_of_the_keys(name):
    space = get_space(name)
    assert len(set(space.keys(space.iterate()))) == space.num_distinct


def cells_of(table):
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
    return [[cell.strip() for cell in line] for line in lines]


def test_every_space_has_a_row():
    head, rule, *rows = cells_of(space_table())
    assert set(rule) == {"---"}
    assert [row[0] for row in rows] == [f"`{name}`" for name in SPACES]
    assert {len(row) for row in (head, rule, *rows)} == {5}
    first = rows[0]
    assert first[1:3] == ["15,625", "6,466"]
    assert first[3].startswith(r"`\|avg_pool_3x3~0\|+\|")
    assert first[4] == "Dong and Yang 2020 (arXiv:2001.00326)"
    assert {row[0]: row[1] for row in rows}["`darts`"] == "2.8 × 10^20"


def test_every_encoding_has_a_row():
    _, _, *rows = cells_of(encoder_table())
    assert [row[0] for row in rows] == [f"`{name}`" for name in ENCODERS]
    # Eight nodes, six of which carry one of five operations.
    assert rows[0][1:3] == [str(6 * 5 + 8 * 7 // 2), "with `canonical=True`"]
    assert rows[1] == ["`path`", "40", "yes", "White et al. 2021 (arXiv:1910.11858)"]


def test_tables_replace_what_stood_in_their_place():
    place = "<!-- table of {0} -->\n{1}<!-- end of {0} -->\n"
    empty = f"a\n{place.format('spaces', '')}b\n{place.format('encodings', 'old')}c\n"
    text = with_tables(empty)
    assert space_table() in text
    assert encoder_table() in text
    assert "old" not in text
    assert with_tables(text) == text
    for table in (space_table(), encoder_table()):
        text = text.replace(f"\n{table}\n", "")
    assert text == empty.replace("old", "")


def test_a_text_without_a_place_is_refused():
    with pytest.raises(InputError, match="expected the lines <!-- table of spaces -->"):
        with_tables("nothing\n")


def test_a_class_without_a_reference_is_refused():
    class Anonymous(type(get_space("nasbench201"))):
        """A space that nobody wrote about."""

    with pytest.raises(InputError, match="expected a reference in the docstring of Anonymous"):
        reference(Anonymous)

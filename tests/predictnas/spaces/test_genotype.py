import re

import pytest

from predictnas.errors import InputError
from predictnas.spaces.genotype import format_genotype, parse_genotype

OPERATIONS = ("a", "b_2")
NORMAL = [("a", 0), ("b_2", 1), ("a", 2), ("a", 0), ("b_2", 3), ("a", 1), ("a", 4), ("a", 3)]
REDUCE = [("b_2", 1), ("b_2", 0), ("a", 0), ("a", 1), ("a", 1), ("a", 2), ("b_2", 0), ("a", 1)]
TEXT = (
    "Genotype(normal=[('a', 0), ('b_2', 1), ('a', 2), ('a', 0), ('b_2', 3), ('a', 1), ('a', 4), "
    "('a', 3)], normal_concat=[2, 3, 4, 5], reduce=[('b_2', 1), ('b_2', 0), ('a', 0), ('a', 1), "
    "('a', 1), ('a', 2), ('b_2', 0), ('a', 1)], reduce_concat=[2, 3, 4, 5])"
)


def test_text_is_written_and_read():
    assert format_genotype({"normal": NORMAL, "reduce": REDUCE}) == TEXT
    assert parse_genotype(TEXT, OPERATIONS) == {"normal": NORMAL, "reduce": REDUCE}


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace(" ", ""),
        TEXT.replace("'", '"'),
        TEXT.replace("[2, 3, 4, 5]", "range(2, 6)"),
        "\n " + TEXT.replace("(", "( ").replace("=", " =\n") + " \n",
    ],
)
def test_other_ways_to_print_it_are_read(text):
    assert parse_genotype(text, OPERATIONS) == {"normal": NORMAL, "reduce": REDUCE}


@pytest.mark.parametrize(
    ("text", "expected", "position", "found"),
    [
        ("", "'Genotype'", 1, "the end"),
        ("__import__('os')", "'Genotype'", 1, "\"__import__('os')\""),
        ("Genotype", "'('", 9, "the end"),
        (TEXT.replace("normal", "norm", 1), "'normal'", 10, repr("norm=[('a', 0), ('b_")),
        (TEXT.replace("'a'", "a", 1), "one of 'a', 'b_2'", 19, repr("a, 0), ('b_2', 1), (")),
        (TEXT.replace("'a'", "'c'", 1), "one of 'a', 'b_2'", 19, repr("'c', 0), ('b_2', 1),")),
        (TEXT.replace("'a'", "'a", 1), "one of 'a', 'b_2'", 19, repr("'a, 0), ('b_2', 1), ")),
        (TEXT.replace("0", "2", 1), "one of '0', '1'", 24, repr("2), ('b_2', 1), ('a'")),
        (TEXT.replace("1", "0", 1), "'1'", 36, repr("0), ('a', 2), ('a', ")),
        (TEXT.replace("0", "-1", 1), "one of '0', '1'", 24, repr("-1), ('b_2', 1), ('a")),
        (TEXT.replace("[2, 3", "[3", 1), "'2'", 118, repr("3, 4, 5], reduce=[('")),
        (TEXT.replace("), ('a', 3)]", ")]", 1), "','", 90, repr("], normal_concat=[2,")),
        (TEXT[:-1], "')'", len(TEXT), "the end"),
        (TEXT + "x", "the end", len(TEXT) + 1, "'x'"),
    ],
)
def test_malformed_text_is_refused_at_the_first_wrong_piece(text, expected, position, found):
    message = f"expected {expected} at character {position}, found {found}; write Genotype("
    with pytest.raises(InputError, match="^" + re.escape(message)):
        parse_genotype(text, OPERATIONS)


def test_something_else_than_text_is_refused():
    with pytest.raises(InputError, match="expected the text of a genotype, found None"):
        parse_genotype(None, OPERATIONS)

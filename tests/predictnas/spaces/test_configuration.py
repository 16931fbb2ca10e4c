import re

import pytest

from predictnas.errors import InputError
from predictnas.spaces.configuration import option_index, option_indices, read_members

NOTATION = '{"a":1,"b":2}'


def test_members_come_in_any_order():
    assert read_members(' {"b": [2.5], "a": 1}', ("a", "b"), NOTATION) == {"a": 1, "b": [2.5]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (3, "expected the text of an architecture, found 3; write {"),
        ("", "expected JSON, found the end at character 1; write {"),
        ('{"a":1,"b":', "expected JSON, found the end at character 12; write {"),
        ('{"a":1,b:2}', "expected JSON, found 'b:2}' at character 8; write {"),
        ("[1]", "expected an object with the members a, b, each once, found [1]; write {"),
        ('{"a":1}', 'expected an object with the members a, b, each once, found {"a":1}; write'),
        ('{"a":1,"b":2,"b":3}', "expected an object with the members a, b, each once, found {"),
        ('{"a":1,"b":2,"c":3}', "expected an object with the members a, b, each once, found {"),
        ("[" * 100_000, "expected an architecture, found JSON of great depth or length; write"),
        ('{"a":' + "1" * 5000, "expected an architecture, found JSON of great depth or length"),
    ],
)
def test_what_is_no_such_object_is_refused_in_one_line(text, message):
    with pytest.raises(InputError, match="^" + re.escape(message)) as caught:
        read_members(text, ("a", "b"), NOTATION)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_options_are_found_by_number():
    assert option_index("a", 4.0, ("3.5", "4"), NOTATION) == 1
    assert option_indices("b", [3.5, 4], ("3.5", "4"), range(2, 3), NOTATION) == [0, 1]
    assert option_indices("b", [], ("3.5", "4"), range(3), NOTATION) == []


@pytest.mark.parametrize("value", [True, "4", None, 5, float("nan"), [4], 10**400])
def test_what_is_no_option_is_refused(value):
    with pytest.raises(InputError, match=r"expected for b\[1\] one of 3.5, 4, found .*; write {"):
        option_indices("b", [4, value], ("3.5", "4"), range(2, 3), NOTATION)


@pytest.mark.parametrize(
    ("values", "lengths", "message"),
    [
        (4, range(2, 3), "expected as b 2 numbers, found 4; write {"),
        ([4], range(2, 3), "expected as b 2 numbers, found [4]; write {"),
        ([4] * 20, range(2, 4), "expected as b 2 to 3 numbers, found 20 numbers; write {"),
    ],
)
def test_a_list_of_another_length_is_refused(values, lengths, message):
    with pytest.raises(InputError, match="^" + re.escape(message)):
        option_indices("b", values, ("3.5", "4"), lengths, NOTATION)

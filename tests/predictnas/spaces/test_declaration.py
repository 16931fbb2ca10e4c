"""What a class may declare, and one line for everything else."""

import pytest

from predictnas.errors import InputError
from predictnas.spaces.declaration import option_text, read_choices, read_conditions, read_name

CHOICES = {"layers": ("1", "2", "3"), "width": ("16", "32"), "flag": ("False", "True")}


def test_options_are_written_as_python_writes_them():
    options = ("relu", 64, 0.10, 1e-5, True)
    assert [option_text(option) for option in options] == ["relu", "64", "0.1", "1e-05", "True"]


def test_choices_keep_order_and_values():
    declared = {"width": range(1, 4), "rate": [0.0, 0.5], "kind": ("a b", "c")}
    read = read_choices("mine", declared)
    assert dict(read) == {"width": (1, 2, 3), "rate": (0.0, 0.5), "kind": ("a b", "c")}
    with pytest.raises(TypeError, match="does not support item assignment"):
        read["width"] = (4,)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, r"mine: expected choices as a dictionary from names to options, found {}"),
        ([("width", (1, 2))], "expected choices as a dictionary"),
        ({"the width": (1, 2)}, "names of choices that could be variables, found 'the width'"),
        ({1: (1, 2)}, "names of choices that could be variables, found 1"),
        ({"width": 32}, "the options of width as a tuple, found 32; declare them like"),
        ({"kind": "relu"}, "the options of kind as a tuple, found 'relu'"),
        ({"width": ()}, r"the options of width as a tuple, found \(\)"),
        ({"width": (1, "1")}, "distinct options for width, found 1, 1; remove repeats"),
        ({"kernel": ((3, 3), (5, 5))}, r"options of kernel, found \(3, 3\); name what it stands"),
        ({"rate": (float("nan"),)}, "options of rate, found nan"),
        ({"kind": (None, "a")}, "options of kind, found None"),
        ({"kind": ("a,b",)}, "options of kind without commas, line breaks and spaces around them"),
        ({"kind": (" a",)}, "without commas, line breaks and spaces around them, found ' a'"),
        ({"kind": ("a\nb",)}, "without commas, line breaks"),
        ({"kind": ("",)}, "without commas, line breaks"),
    ],
)
def test_malformed_choices_are_refused(choices, message):
    with pytest.raises(InputError, match=message) as caught:
        read_choices("mine", choices)
    assert "\n" not in str(caught.value)


def test_conditions_become_texts():
    conditions = {"width": {"layers": (2, 3)}, "flag": {"layers": [3], "width": (32,)}}
    assert read_conditions("mine", conditions, CHOICES) == {
        "width": {"layers": ("2", "3")},
        "flag": {"layers": ("3",), "width": ("32",)},
    }


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([], r"mine: expected conditions as a dictionary, found \[\]; declare them like"),
        ({"depth": {"layers": (1,)}}, "from choices to dictionaries, found 'depth'"),
        ({"width": (2, 3)}, r"from choices to dictionaries, found 'width': \(2, 3\)"),
        ({"layers": {"width": (16,)}}, "layers to depend on choices declared before it, found 'w"),
        ({"width": {"width": (16,)}}, "width to depend on choices declared before it"),
        ({"width": {"layers": 2}}, "options of layers with which width exists as a tuple, found 2"),
        ({"width": {"layers": (2, 4)}}, "layers being among 1, 2, 3, found 4; name options that"),
        ({"width": {"layers": ()}}, "layers being among 1, 2, 3, found none"),
    ],
)
def test_malformed_conditions_are_refused(conditions, message):
    with pytest.raises(InputError, match=message) as caught:
        read_conditions("mine", conditions, CHOICES)
    assert "\n" not in str(caught.value)


def test_names_that_files_and_studies_can_have():
    assert read_name("my-space_2.1") == "my-space_2.1"
    for name in ("", "my space", "a:b", "a/b", "a#b", "1st", 3):
        with pytest.raises(InputError, match=r"the name of a space as letters, digits"):
            read_name(name)

"""Derivations as rows and what an edit is, on small grammars of which everything can be listed."""

import re
from collections import Counter

import numpy as np
import pytest

from predictnas.errors import InputError
from predictnas.spaces import Grammar, Hierarchical

SMALL = """
NET   -> BLOCK | Sequential2(BLOCK, OP) | Sequential3(BLOCK, OP, BLOCK)
BLOCK -> Sequential2(OP, OP) | Residual2(OP, conv1x1, SHORT)
OP    -> conv3x3 | id
SHORT -> zero | id
"""
# Few alternatives with few choices, and some without any.
LOOSE = """
NET -> id | Sequential2(A, B) | Residual2(B, FIXED, A)
A -> conv1x1 | conv3x3 | Sequential2(B, FIXED)
B -> avg_pool | dconv3x3
FIXED -> Sequential2(conv1x1, conv1x1)
"""


def space_of(text, **attributes):
    return type("Toy", (Hierarchical,), {"name": "toy", "grammar": Grammar(text), **attributes})()


@pytest.fixture(scope="module")
def small():
    return space_of(SMALL)


@pytest.fixture(params=[SMALL, LOOSE])
def space(request):
    return space_of(request.param)


def edits(grammar, name, new, old=None):
    """Count the edits from one derivation to another on the derivations themselves.

    Nonterminals of the same name are compared from left to right; what the old derivation does not
    have is compared with the first alternatives.
    """
    earlier = {}
    if old is not None:
        kept = grammar.nonterminals(grammar.productions[name][old.option])
        for part, derivation in zip(kept, old.parts, strict=True):
            earlier.setdefault(part, []).append(derivation)
    total = int(new.option != (0 if old is None else old.option))
    parts = grammar.nonterminals(grammar.productions[name][new.option])
    for part, derivation in zip(parts, new.parts, strict=True):
        queue = earlier.get(part)
        total += edits(grammar, part, derivation, queue.pop(0) if queue else None)
    return total


def table_of_edits(space):
    """Return the number of edits from every architecture, in a row, to every other one."""
    grammar = space.grammar
    derivations = [grammar.parse(text) for text in space.format_all(space.iterate())]
    return np.array(
        [[edits(grammar, grammar.start, new, old) for new in derivations] for old in derivations]
    )


def test_there_is_a_choice_for_every_nonterminal_there_can_be(small):
    assert list(small.choices) == [
        "NET",
        "BLOCK_1",
        "BLOCK_1.OP_1",
        "BLOCK_1.OP_2",
        "BLOCK_1.SHORT_1",
        "BLOCK_2",
        "BLOCK_2.OP_1",
        "BLOCK_2.OP_2",
        "BLOCK_2.SHORT_1",
        "OP_1",
    ]
    assert small.choices["BLOCK_2"] == ("Sequential2(OP, OP)", "Residual2(OP, conv1x1, SHORT)")
    assert small.choices["OP_1"] == ("conv3x3", "id")


def test_rows_and_terms_correspond(small):
    text = "Sequential3(Residual2(id, conv1x1, zero), conv3x3, Sequential2(conv3x3, id))"
    assert small.parse(text) == (2, 1, 1, 0, 0, 0, 0, 1, 0, 0)
    assert small.format((2, 1, 1, 0, 0, 0, 0, 1, 0, 0)) == text
    assert small.params(small.parse(text))["BLOCK_1.OP_1"] == "id"
    assert small.format((0,) * 10) == "Sequential2(conv3x3, conv3x3)"


def test_all_derivations_are_listed_once_in_ascending_order(space):
    rows = space.iterate()
    assert len(rows) == space.size == len(set(space.format_all(rows)))
    assert rows.tolist() == sorted(rows.tolist())
    assert space.is_valid(rows).all()
    np.testing.assert_array_equal(space.parse_all(space.format_all(rows)), rows)
    # Among all rows of options there are no others.
    shape = [len(options) for options in space.choices.values()]
    everything = np.indices(shape).reshape(len(shape), -1).T
    assert space.is_valid(everything).sum() == len(rows)


def test_sizes_are_those_counted_by_hand():
    # BLOCK: 2·2 + 2·2. NET: 8 + 8·2 + 8·2·8.
    assert space_of(SMALL).size == 152
    # A: 1 + 1 + 2. NET: 1 + 4·2 + 2·4.
    assert space_of(LOOSE).size == 17


def test_distances_are_those_of_the_derivations(space):
    rows = space.iterate()
    table = table_of_edits(space)
    for row, expected in zip(rows[::3], table[::3], strict=True):
        np.testing.assert_array_equal(space.distances(rows, row), expected)
    np.testing.assert_array_equal(space.distances(rows, rows), np.zeros(len(rows)))


def test_neighbors_are_all_architectures_one_edit_away(space):
    rows = space.iterate()
    for row, distances in zip(rows, table_of_edits(space), strict=True):
        found = {tuple(each) for each in space.neighbors(row).tolist()}
        assert found == {tuple(each) for each in rows[distances == 1].tolist()}
        assert len(found) == len(space.neighbors(row))


def test_an_edit_keeps_what_both_alternatives_have_and_derives_the_rest_by_the_first(small):
    arch = small.parse("Sequential3(Residual2(id, conv1x1, zero), id, Residual2(id, conv1x1, id))")
    assert set(small.format_all(small.neighbors(arch))) == {
        "Residual2(id, conv1x1, zero)",
        "Sequential2(Residual2(id, conv1x1, zero), id)",
        "Sequential3(Sequential2(id, conv3x3), id, Residual2(id, conv1x1, id))",
        "Sequential3(Residual2(conv3x3, conv1x1, zero), id, Residual2(id, conv1x1, id))",
        "Sequential3(Residual2(id, conv1x1, id), id, Residual2(id, conv1x1, id))",
        "Sequential3(Residual2(id, conv1x1, zero), conv3x3, Residual2(id, conv1x1, id))",
        "Sequential3(Residual2(id, conv1x1, zero), id, Sequential2(id, conv3x3))",
        "Sequential3(Residual2(id, conv1x1, zero), id, Residual2(conv3x3, conv1x1, id))",
        "Sequential3(Residual2(id, conv1x1, zero), id, Residual2(id, conv1x1, zero))",
    }
    grown = small.neighbors(small.parse("Residual2(id, conv1x1, id)"))
    assert set(small.format_all(grown)) == {
        "Sequential2(Residual2(id, conv1x1, id), conv3x3)",
        "Sequential3(Residual2(id, conv1x1, id), conv3x3, Sequential2(conv3x3, conv3x3))",
        "Sequential2(id, conv3x3)",
        "Residual2(conv3x3, conv1x1, id)",
        "Residual2(id, conv1x1, zero)",
    }


def test_as_many_edits_as_every_derivation_allows_for_can_be_made(space):
    most = table_of_edits(space).max(axis=1).min()
    rows = np.repeat(space.iterate(), 3, axis=0)
    for number in range(1, most + 1):
        mutants = space.mutate(rows, np.random.default_rng(number), edits=number)
        assert (space.distances(mutants, rows) == number).all()
    with pytest.raises(InputError, match=f"expected from 1 to {most} edits, found {most + 1}; toy"):
        space.mutate(rows, np.random.default_rng(0), edits=most + 1)


def test_mutations_are_uniform_over_nonterminals_and_other_alternatives(small):
    arch = small.parse("Sequential2(Sequential2(id, id), id)")
    mutants = small.mutate(np.tile(arch, (5000, 1)), np.random.default_rng(0))
    counts = Counter(small.format_all(mutants))
    assert len(counts) == len(small.neighbors(arch)) == 6
    # Five nonterminals, NET with two other alternatives: deviations of at most 29.
    for text, count in counts.items():
        halved = text in ("Sequential2(id, id)", "Sequential3(Sequential2(id, id), id, "
                          "Sequential2(conv3x3, conv3x3))")  # fmt: skip
        assert abs(count - (500 if halved else 1000)) < 5 * 29


def test_samples_take_every_alternative_with_the_same_probability(small):
    rows = small.sample(9000, np.random.default_rng(0))
    # Deviations of at most 45.
    for option in range(3):
        assert abs((rows[:, 0] == option).sum() - 3000) < 5 * 45
    # BLOCK_2 is there in a third, and its shortcut in half of those.
    assert abs((rows[:, 5] == 1).sum() - 1500) < 5 * 45
    assert abs((rows[:, 8] == 1).sum() - 750) < 5 * 45


def test_options_that_do_not_go_together_are_no_architecture_but_parameters(small):
    arch = small.parse("Sequential2(id, id)")
    stray = np.array(arch)
    stray[[4, 7]] = 1
    assert small.is_valid([arch, stray]).tolist() == [True, False]
    with pytest.raises(InputError, match=r"found options .* in row 0, which do not go together"):
        small.validate([stray])
    names = list(small.choices)
    params = {**small.params(arch), names[4]: "id", names[7]: "id"}
    assert small.from_params(params) == arch
    assert small.is_product
    with pytest.raises(InputError, match=r"expected for BLOCK_1.SHORT_1 one of zero, id, found 3"):
        small.from_params({**params, names[4]: 3})


def test_a_space_derived_from_it_can_forbid_more():
    class Short(type(space_of(SMALL))):
        """Without networks that end in a block behind a block."""

        def is_valid(self, archs):
            return super().is_valid(archs) & (self._rows(archs)[:, 0] < 2)

    space = Short()
    assert not space.is_product
    rows = space.iterate()
    assert len(rows) == 8 + 16
    assert space.is_valid(space.sample(50, np.random.default_rng(0))).all()
    for number in (1, 2):
        mutants = space.mutate(rows, np.random.default_rng(0), edits=number)
        assert space.is_valid(mutants).all()
        assert (space.distances(mutants, rows) == number).all()
    assert space.is_valid(space.neighbors(rows[0])).all()


def test_mutants_that_cannot_be_are_refused():
    class Sole(type(space_of(SMALL))):
        """One network alone."""

        def is_valid(self, archs):
            return super().is_valid(archs) & (self._rows(archs) == 0).all(axis=1)

    assert len(Sole().neighbors((0,) * 10)) == 0
    with pytest.raises(InputError, match="expected to make 2 edits .* found one of toy with"):
        Sole().mutate([(0,) * 10], np.random.default_rng(0), edits=2)


def test_too_large_spaces_are_not_listed():
    with pytest.raises(InputError, match="at most 1,048,576 architectures to enumerate, found 1,4"):
        Hierarchical().iterate()


@pytest.mark.parametrize(
    ("text", "motifs", "message"),
    [
        ("A -> conv5x5 | id", {}, "zero, found conv5x5 in the grammar; declare it in operations"),
        ("A -> add", {}, "found add in the grammar"),
        ("A -> Branch(id, id)", {}, "expected 2 edges of the motif Branch, one for each argument"),
        ("A -> Cell(id)", {}, "expected 1 edges of the motif Cell, one for each argument in the "),
        ("A -> M(id, id)", {"M": ((0, 1), (2, 1))}, "of the motif M from lower to higher nodes"),
        ("A -> M(id, id)", {"M": ((0, 1), (0, 3))}, "and one into every node from 1 on, found"),
        ("A -> down | id", {}, "expected one number of down on all ways through A, found 0 and 1"),
        (
            "A -> Residual2(B, down, id) B -> conv1x1 | id",
            {},
            "on all ways through Residual2(B, down, id), found 0 and 1; write a nonterminal",
        ),
        (
            "A -> B | Sequential2(B, down) B -> Sequential2(down, id) | down",
            {},
            "on all ways through A, found 1 and 2",
        ),
    ],
)
def test_a_grammar_without_networks_is_refused(text, motifs, message):
    with pytest.raises(InputError, match=re.escape(message)):
        space_of(text, motifs={**Hierarchical.motifs, **motifs})

import math
import re
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from predictnas.errors import InputError
from predictnas.spaces import Grammar
from predictnas.spaces.terms import Derivation, Term, read_rules

SMALL = """
NET  -> Triple(PAIR, OP, PAIR) | PAIR | Lone(Lone(OP))
PAIR -> Pair(OP, OP) | Pair(OP, Lone(OP)) | none
OP   -> conv | pool
"""


def words(grammar, name):
    """List what a nonterminal derives, by writing every alternative out as text."""
    found = []
    for alternative in grammar.productions[name]:
        pieces = re.findall(r"\w+|[^\w]+", str(alternative))
        options = [words(grammar, p) if p in grammar.productions else [p] for p in pieces]
        found += ["".join(each) for each in product(*options)]
    return found


@pytest.fixture(scope="module")
def small():
    return Grammar(SMALL)


def test_rules_are_read(small):
    assert small.start == "NET"
    assert list(small.productions) == ["NET", "PAIR", "OP"]
    assert small.productions["PAIR"] == (
        Term("Pair", (Term("OP"), Term("OP"))),
        Term("Pair", (Term("OP"), Term("Lone", (Term("OP"),)))),
        Term("none"),
    )
    assert small.primitives() == {"conv", "pool", "none"}
    assert small.functions() == {"Triple": 3, "Pair": 2, "Lone": 1}
    assert small.nonterminals(small.productions["NET"][0]) == ("PAIR", "OP", "PAIR")
    assert (
        Grammar("A->f(B,x)|y B->z").productions
        == Grammar(" A -> f( B ,x )\n|y\tB -> z\n").productions
    )


def test_the_number_of_derivations_is_that_of_the_words_written_out(small):
    listed = words(small, "NET")
    # PAIR has 2·2 + 2·2 + 1 = 9 words, so NET has 9·2·9 + 9 + 2.
    assert small.count() == len(listed) == len(set(listed)) == 173


def test_the_published_space_has_the_published_size():
    # The hierarchical NAS-Bench-201 of arXiv:2211.01842 as its code has it, but for the names of
    # the two alternatives of OP that are the same there.
    grammar = Grammar(
        """
        D2   -> Linear3(D1, D1, D0) | Linear3(D0, D1, D1) | Linear4(D1, D1, D0, D0)
        D1   -> Linear3(C, C, DOWN) | Linear4(C, C, C, DOWN) | Residual3(C, C, DOWN, DOWN)
        D0   -> Linear3(C, C, CELL) | Linear4(C, C, C, CELL) | Residual3(C, C, CELL, CELL)
        DOWN -> Linear2(CELL, down) | Linear3(CELL, CELL, down) | Residual2(CELL, down, down)
        C    -> Linear2(CELL, CELL) | Linear3(CELL, CELL, CELL) | Residual2(CELL, CELL, CELL)
        CELL -> Cell(OP, OP, OP, OP, OP, OP)
        OP   -> id | zero | First(CONV) | Second(CONV) | avg_pool
        CONV -> Block(ACTIVATION, KERNEL, NORM)
        ACTIVATION -> relu | hardswish | mish
        KERNEL     -> conv3x3 | conv1x1 | dconv3x3
        NORM       -> batch | instance | layer
        """
    )
    assert math.floor(math.log10(grammar.count())) == 446


def test_the_cells_of_nasbench201_are_counted():
    grammar = Grammar("CELL -> Cell(OP, OP, OP, OP, OP, OP) OP -> a | b | c | d | e")
    assert grammar.count() == 15_625


def test_every_word_has_a_derivation_that_gives_it_back(small):
    derivations = {}
    for word in words(small, "NET"):
        derivation = small.parse(word)
        assert str(small.term(derivation)) == word
        derivations[derivation] = word
    assert len(derivations) == 173


def test_a_derivation_holds_the_alternatives_from_left_to_right(small):
    derivation = small.parse("Triple(none, pool, Pair(conv, Lone(pool)))")
    assert derivation == Derivation(
        0,
        (
            Derivation(2),
            Derivation(1),
            Derivation(1, (Derivation(0), Derivation(1))),
        ),
    )
    assert small.parse(" Triple (none ,\tpool,Pair(conv,Lone(pool)) )\n") == derivation


@pytest.mark.parametrize(
    ("text", "expected", "position", "found"),
    [
        ("", "Triple, Pair, none or Lone", 1, "the end"),
        ("  Quad(conv)", "Triple, Pair, none or Lone", 3, "'Quad(conv)'"),
        ("Triples(none)", "Triple, Pair, none or Lone", 1, "'Triples(none)'"),
        ("Triple[none", "'('", 7, "'[none'"),
        ("Triple(none; pool", "','", 12, "'; pool'"),
        ("Triple(none, none, none)", "conv or pool", 14, "'none, none)'"),
        ("Pair(conv, Pair(conv, conv))", "conv, pool or Lone", 12, "'Pair(conv, conv))'"),
        ("Pair(conv, Lone(pool, conv))", "')'", 21, "', conv))'"),
        ("Pair(conv, pool", "')'", 16, "the end"),
        ("Pair(conv, pool))", "the end", 17, "')'"),
        ("Lone(pool)", "Lone", 6, "'pool)'"),
        ("none none", "the end", 6, "'none'"),
        ("Pair(conv)", "','", 10, "')'"),
    ],
)
def test_a_malformed_word_is_refused_at_the_first_wrong_piece(
    small, text, expected, position, found
):
    message = f"expected {expected} at character {position}, found {found}; write a term that NET"
    with pytest.raises(InputError, match="^" + re.escape(message)):
        small.parse(text)


def test_something_else_than_text_is_refused(small):
    with pytest.raises(InputError, match="expected the text of a term, found 3; derive NET"):
        small.parse(3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a name at character 1 of the grammar, found the end; write rules such as"),
        ("A = x", "expected -> at character 3 of the grammar, found '= x'"),
        ("A -> f(x, y z)", "expected ',' or ')' at character 13 of the grammar, found 'z)'"),
        ("A -> x |", "expected a name at character 9 of the grammar, found the end"),
        ("A -> f()", "expected a name at character 8 of the grammar, found ')'"),
        ("A -> x y", "expected -> at character 9 of the grammar, found the end"),
        ("A -> x A -> y", "expected one rule for A, found two; join their"),
        ("A -> f(x) | g(f(x, y))", "expected f with 1 arguments everywhere, found f(x, y)"),
        ("A -> f | f(x)", "expected f with 0 arguments everywhere, found f(x)"),
        ("A -> B(x) B -> y", "expected B with 0 arguments everywhere, found B(x)"),
        ("A -> f(B) B -> C C -> x | g(B)", "expected rules without recursion, found B -> C -> B"),
        ("A -> x | f(A)", "expected rules without recursion, found A -> A"),
        ("A -> x B -> y C -> C", "expected every rule to be used from A on, found B, C unused"),
        ("A -> x | x", "found x from A by x and by x"),
        ("A -> f(B, C) | f(C, B) B -> x | y C -> y | z", "found f(y, y) from A by f(B, C) and by"),
        ("A -> B | C B -> f(x) C -> f(D) D -> y | x", "found f(x) from A by B and by C"),
    ],
)
def test_a_grammar_that_cannot_be_is_refused(text, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        Grammar(text)
    assert "\n" not in str(caught.value)


def test_a_grammar_is_refused_exactly_where_a_word_has_two_derivations():
    rng = np.random.default_rng(0)
    accepted = 0
    for _ in range(300):
        lower = ["x", "y", "f(x)", "f(B)", "B"]
        rules = {"A": [*lower, "g(B, B)", "g(x, B)", "g(C, f(B))", "C", "f(C)"], "C": lower}
        rules["B"] = ["x", "y", "z", "f(x)"]
        text = "S -> h(A, B, C) " + " ".join(
            f"{name} -> {' | '.join(rng.choice(options, 2, replace=False))}"
            for name, options in rules.items()
        )
        listed = words(SimpleNamespace(productions=dict(read_rules(text))), "S")
        if len(set(listed)) < len(listed):
            with pytest.raises(InputError, match="expected one derivation for every word, found"):
                Grammar(text)
        else:
            assert Grammar(text).count() == len(listed)
            accepted += 1
    assert 30 < accepted < 270

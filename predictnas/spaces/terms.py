"""Terms, such as ``Residual2(conv3x3, id, conv1x1)``, and how they are read under a grammar."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from predictnas.errors import InputError

__all__ = ["Derivation", "Term", "read_rules", "read_word"]

_NAME = re.compile(r"\w+")
_BLANK = re.compile(r"\s*")
_EXAMPLE = "NET -> Pair(LAYER, LAYER) | LAYER"


class Term(NamedTuple):
    """A function of terms, or without arguments a primitive or a nonterminal."""

    name: str
    arguments: tuple["Term", ...] = ()

    def __str__(self) -> str:
        if not self.arguments:
            return self.name
        return f"{self.name}({', '.join(map(str, self.arguments))})"

    def parts(self) -> Iterator["Term"]:
        """Yield the term and all terms within it."""
        yield self
        for argument in self.arguments:
            yield from argument.parts()


class Derivation(NamedTuple):
    """The alternative that a nonterminal takes, and the derivations of the nonterminals in it."""

    option: int
    parts: tuple["Derivation", ...] = ()


Productions: TypeAlias = Mapping[str, tuple[Term, ...]]


def read_rules(text: str) -> Iterator[tuple[str, tuple[Term, ...]]]:
    """Yield the nonterminal and the alternatives of every rule in the text of a grammar.

    Raises
    ------
    InputError
        If it is malformed; the message gives the position, counted in characters from 1.
    """
    return _Rules(text).read()


def read_word(text: str, productions: Productions, start: str) -> Derivation:
    """Return the derivation of a word.

    Parameters
    ----------
    text
        A term; blanks and line ends mean nothing.
    productions
        For every nonterminal its alternatives, without recursion.
    start
        The nonterminal that derives it.

    Raises
    ------
    InputError
        If it is no such word; the message gives the first wrong piece and its position, counted
        in characters from 1.
    """
    return _Word(text, productions).read(start)


class _Rules:
    """The rules of a grammar in text, read from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.cursor = _skip(text, 0)

    def read(self) -> Iterator[tuple[str, tuple[Term, ...]]]:
        while True:
            name = self._name()
            if not self._take("->"):
                raise self._malformed("->")
            alternatives = [self._term()]
            while self._take("|"):
                alternatives.append(self._term())
            yield name, tuple(alternatives)
            if self.cursor == len(self.text):
                return

    def _term(self) -> Term:
        name = self._name()
        arguments: list[Term] = []
        if self._take("("):
            arguments.append(self._term())
            while self._take(","):
                arguments.append(self._term())
            if not self._take(")"):
                raise self._malformed("',' or ')'")
        return Term(name, tuple(arguments))

    def _name(self) -> str:
        found = _NAME.match(self.text, self.cursor)
        if found is None:
            raise self._malformed("a name")
        self.cursor = _skip(self.text, found.end())
        return found[0]

    def _take(self, literal: str) -> bool:
        taken = self.text.startswith(literal, self.cursor)
        if taken:
            self.cursor = _skip(self.text, self.cursor + len(literal))
        return taken

    def _malformed(self, expected: str) -> InputError:
        return InputError(
            f"expected {expected} at character {self.cursor + 1} of the grammar, found "
            f"{_found(self.text, self.cursor)}; write rules such as {_EXAMPLE}"
        )


class _Word:
    """A word of a grammar in text.

    Alternatives are tried in turn. If none leads to the end, the place that was reached by the
    best of them is the first wrong one.
    """

    def __init__(self, text: str, productions: Productions) -> None:
        self.text = text
        self.productions = productions
        self.furthest = 0
        self.expected: dict[str, None] = {}
        # What a nonterminal derives at a position, and where that ends; None if it cannot.
        self.known: dict[tuple[str, int], tuple[int, Derivation] | None] = {}

    def read(self, start: str) -> Derivation:
        found = self._derive(start, _skip(self.text, 0))
        if found is not None:
            end, derivation = found
            if end == len(self.text):
                return derivation
            self._miss(end, "the end")
        *others, last = self.expected
        expected = f"{', '.join(others)} or {last}" if others else last
        raise InputError(
            f"expected {expected} at character {self.furthest + 1}, found "
            f"{_found(self.text, self.furthest)}; write a term that {start} derives"
        )

    def _derive(self, name: str, start: int) -> tuple[int, Derivation] | None:
        if (name, start) not in self.known:
            self.known[name, start] = None
            for option, alternative in enumerate(self.productions[name]):
                parts: list[Derivation] = []
                end = self._match(alternative, start, parts)
                if end is not None:
                    self.known[name, start] = end, Derivation(option, tuple(parts))
                    break
        return self.known[name, start]

    def _match(self, term: Term, start: int, parts: list[Derivation]) -> int | None:
        """Return where a term that begins at `start` ends, and collect the derivations in it."""
        if term.name in self.productions:
            found = self._derive(term.name, start)
            if found is None:
                return None
            parts.append(found[1])
            return found[0]
        name = _NAME.match(self.text, start)
        if name is None or name[0] != term.name:
            self._miss(start, term.name)
            return None
        cursor: int | None = _skip(self.text, name.end())
        for number, argument in enumerate(term.arguments):
            if cursor is not None:
                cursor = self._literal("," if number else "(", cursor)
            if cursor is not None:
                cursor = self._match(argument, cursor, parts)
        if term.arguments and cursor is not None:
            cursor = self._literal(")", cursor)
        return cursor

    def _literal(self, literal: str, start: int) -> int | None:
        if self.text.startswith(literal, start):
            return _skip(self.text, start + len(literal))
        self._miss(start, repr(literal))
        return None

    def _miss(self, position: int, expected: str) -> None:
        if position > self.furthest:
            self.furthest, self.expected = position, {}
        if position == self.furthest:
            self.expected[expected] = None


def _skip(text: str, cursor: int) -> int:
    """Return the position behind blanks and line ends."""
    blank = _BLANK.match(text, cursor)
    assert blank is not None
    return blank.end()


def _found(text: str, cursor: int) -> str:
    return repr(text[cursor : cursor + 20]) if cursor < len(text) else "the end"

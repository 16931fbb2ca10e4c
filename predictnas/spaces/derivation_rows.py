"""Derivations of a grammar as rows of numbers, with a place for every nonterminal there can be."""

from collections import Counter
from functools import cache
from itertools import count
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from predictnas.spaces.grammar import Grammar
from predictnas.spaces.terms import Derivation

__all__ = ["DerivationRows"]

Rows = NDArray[np.int64]


class Place(NamedTuple):
    """A nonterminal in the largest tree of derivation.

    Attributes
    ----------
    name
        The way to it from the start, such as ``"DOWN_1.BLOCK_2"``.
    symbol
        The nonterminal.
    above
        The number of the place above; that of the start is its own.
    parts
        For every alternative the numbers of the places of its nonterminals, from left to right.
    """

    name: str
    symbol: str
    above: int
    parts: tuple[tuple[int, ...], ...]


class DerivationRows:
    """The correspondence of a grammar's derivations to rows of numbers of one length.

    A nonterminal has below it, for every other one, as many places as the alternative with most of
    them needs; the i-th of its kind in an alternative, from the left, takes the i-th place. So two
    alternatives have their common parts at common places: ``STAGE_1.BLOCK_1`` is the first block
    of a stage, however many there are. Places are numbered from the top, each before those below.

    A row has for every place the number of the alternative that is taken there, and 0 where the
    derivation does not come to. So rows and derivations correspond one to one.

    Parameters
    ----------
    grammar
        The grammar.

    Attributes
    ----------
    choices
        For the name of every place the alternatives as text.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._alternatives = {
            name: [grammar.nonterminals(alternative) for alternative in alternatives]
            for name, alternatives in grammar.productions.items()
        }
        self._places: list[Place] = []
        self._lay_out(grammar.start, grammar.start, 0)
        self.choices = MappingProxyType(
            {
                place.name: tuple(map(str, grammar.productions[place.symbol]))
                for place in self._places
            }
        )
        self._leads_to = [
            np.array([number in parts for parts in self._places[place.above].parts])
            for number, place in enumerate(self._places)
        ]

    def _lay_out(self, symbol: str, name: str, above: int) -> int:
        number = len(self._places)
        alternatives = self._alternatives[symbol]
        # Put there first, since the places below it need its number, and come behind it.
        self._places.append(Place(name, symbol, above, ()))
        most: Counter[str] = Counter()
        for alternative in alternatives:
            most |= Counter(alternative)
        prefix = f"{name}." if number else ""
        below = {
            (part, index): self._lay_out(part, f"{prefix}{part}_{index + 1}", number)
            for part, places in most.items()
            for index in range(places)
        }
        parts = []
        for alternative in alternatives:
            indices = {part: count() for part in most}
            parts.append(tuple(below[part, next(indices[part])] for part in alternative))
        self._places[number] = Place(name, symbol, above, tuple(parts))
        return number

    def reached(self, rows: Rows) -> NDArray[np.bool_]:
        """Return for every place of rows (n, places) whether the derivation comes to it."""
        found = np.ones(rows.shape, dtype=np.bool_)
        for number, place in enumerate(self._places[1:], start=1):
            found[:, number] = found[:, place.above] & self._leads_to[number][rows[:, place.above]]
        return found

    def pruned(self, rows: Rows) -> Rows:
        """Return rows (n, places) with 0 where the derivation does not come to."""
        return np.where(self.reached(rows), rows, 0)

    def row(self, derivation: Derivation) -> tuple[int, ...]:
        """Return the row of a derivation."""
        row = [0] * len(self._places)

        def write(derivation: Derivation, number: int) -> None:
            row[number] = derivation.option
            below = self._places[number].parts[derivation.option]
            for part, place in zip(derivation.parts, below, strict=True):
                write(part, place)

        write(derivation, 0)
        return tuple(row)

    def derivation(self, row: tuple[int, ...]) -> Derivation:
        """Return the derivation of a row."""

        def read(number: int) -> Derivation:
            option = row[number]
            return Derivation(option, tuple(map(read, self._places[number].parts[option])))

        return read(0)

    def all(self) -> Rows:
        """Return the rows of all derivations (n, places); the last place changes fastest."""

        def listed(number: int) -> Rows:
            """Return all derivations from a place on, with zeros at all other places."""
            rows = []
            for option, parts in enumerate(self._places[number].parts):
                found = np.zeros((1, len(self._places)), dtype=np.int64)
                found[0, number] = option
                for part in sorted(parts):
                    below = listed(part)
                    found = (found[:, None] + below[None]).reshape(-1, len(self._places))
                rows.append(found)
            return np.concatenate(rows)

        return listed(0)

    def most_edits(self) -> int:
        """Return how many edits every derivation allows for.

        An edit is another alternative at one place. What the two alternatives have in common
        stays, and what is new takes the first alternatives.
        """

        @cache
        def from_first(symbol: str) -> int:
            """Return how many places can differ from the first alternative at once."""
            return max(
                (option > 0) + sum(map(from_first, parts))
                for option, parts in enumerate(self._alternatives[symbol])
            )

        @cache
        def from_any(symbol: str) -> int:
            """Return how many places can at once be changed of the derivation with fewest."""
            kinds = [Counter(parts) for parts in self._alternatives[symbol]]
            return min(
                max(
                    (one is not other)
                    + sum(map(from_any, (one & other).elements()))
                    + sum(map(from_first, (other - one).elements()))
                    for other in kinds
                )
                for one in kinds
            )

        return from_any(self.grammar.start)

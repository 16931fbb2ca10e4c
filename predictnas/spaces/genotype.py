"""Genotypes of DARTS as text."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from predictnas.errors import InputError

__all__ = ["CELLS", "NODES", "Edge", "format_genotype", "parse_genotype"]

# An operation and the number of the node that it is applied to.
Edge: TypeAlias = tuple[str, int]

CELLS = ("normal", "reduce")
# The nodes of a cell behind its inputs 0 and 1; two edges enter each.
NODES = (2, 3, 4, 5)

_TOKEN = re.compile(r"\w+|'[^']*'|\"[^\"]*\"|.", re.DOTALL)
_NOTATION = (
    "Genotype(normal=[('op', i), …], normal_concat=[2, 3, 4, 5], reduce=[('op', i), …], "
    "reduce_concat=[2, 3, 4, 5]) with two edges for each node from 2 to 5"
)


def format_genotype(cells: Mapping[str, Sequence[Edge]]) -> str:
    """Return two cells as DARTS prints them.

    Parameters
    ----------
    cells
        For ``"normal"`` and ``"reduce"`` the edges into node 2, then 3, 4 and 5, two for each.
    """
    parts = (f"{cell}={list(cells[cell])!r}, {cell}_concat={list(NODES)!r}" for cell in CELLS)
    return f"Genotype({', '.join(parts)})"


def parse_genotype(text: str, operations: Sequence[str]) -> dict[str, list[Edge]]:
    """Read two cells; the text is never evaluated.

    Spaces are free, either kind of quotes is read, and so is ``range(2, 6)`` for the nodes that
    are concatenated.

    Parameters
    ----------
    text
        A genotype.
    operations
        The operations that may occur.

    Raises
    ------
    InputError
        If it is malformed; the message gives the first wrong piece and its position, counted in
        characters from 1.
    """
    if not isinstance(text, str):
        raise InputError(f"expected the text of a genotype, found {text!r}; write {_NOTATION}")
    reader = _Reader(text)
    cells: dict[str, list[Edge]] = {}
    reader.take("Genotype", "(")
    for cell in CELLS:
        if cells:
            reader.take(",")
        reader.take(cell, "=", "[")
        edges: list[Edge] = []
        for node in NODES:
            sources = [str(source) for source in range(node)]
            for _ in range(2):
                if edges:
                    reader.take(",")
                reader.take("(")
                operation = reader.take_one([repr(name) for name in operations])[1:-1]
                reader.take(",")
                source = reader.take_one(sources)
                reader.take(")")
                # The two inputs of a node differ.
                sources.remove(source)
                edges.append((operation, int(source)))
        reader.take("]", ",", f"{cell}_concat", "=")
        if reader.take_one(["[", "range"]) == "[":
            reader.take("2", ",", "3", ",", "4", ",", "5", "]")
        else:
            reader.take("(", "2", ",", "6", ")")
        cells[cell] = edges
    reader.take(")")
    reader.take_end()
    return cells


class _Reader:
    """Takes one token after the other from a text, skipping white space."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.cursor = 0

    def take(self, *tokens: str) -> None:
        """Go past the given tokens, which must come next."""
        for token in tokens:
            self.take_one([token])

    def take_one(self, tokens: Sequence[str]) -> str:
        """Return the next token, which must be one of those given."""
        found = self._next()
        quoted = f"'{found[1:-1]}'" if found[:1] == '"' and len(found) > 1 else found
        if quoted not in tokens:
            names = [token if token[0] == "'" else repr(token) for token in tokens]
            self._refuse(names[0] if len(names) == 1 else f"one of {', '.join(names)}")
        self.cursor += len(found)
        return quoted

    def take_end(self) -> None:
        """Check that nothing is left."""
        if self._next():
            self._refuse("the end")

    def _next(self) -> str:
        """Return the next token, empty at the end, and move to where it begins."""
        while self.text[self.cursor : self.cursor + 1].isspace():
            self.cursor += 1
        token = _TOKEN.match(self.text, self.cursor)
        return token[0] if token else ""

    def _refuse(self, expected: str) -> None:
        found = repr(self.text[self.cursor :][:20]) if self.text[self.cursor :] else "the end"
        raise InputError(
            f"expected {expected} at character {self.cursor + 1}, found {found}; write {_NOTATION}"
        )

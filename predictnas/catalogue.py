"""The tables of spaces and encodings in README, made from what is registered.

``python -m predictnas.catalogue README.md`` writes them between the comments that mark their place.
"""

import inspect
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from encoders import ENCODERS, Encoder
from predictnas.errors import InputError
from predictnas.spaces import SPACES, Space, get_space

__all__ = ["encoder_table", "reference", "space_table", "with_tables"]

# Of a longer example of a notation, so many characters are shown.
EXAMPLE_LENGTH = 48
# The cells that encoders are fitted to, to count their columns.
CELLS_SPACE, CELLS = "nasbench201", 1000
# A whole number of more digits is written as a power of ten.
MAX_DIGITS = 9

_AUTHORS = re.compile(r"((?:(?:\w\. ?)+[^,.]+, )*(?:\w\. ?)+[^,.]+)\. ")
_INITIALS = re.compile(r"^(?:\w\. ?)+")


@cache
def space_table() -> str:
    """Return the registered spaces as a Markdown table."""
    rows = [("space", "combinations", "distinct", "notation, for example", "reference")]
    for name in SPACES:
        space = get_space(name)
        distinct = "" if space.num_distinct is None else _count(space.num_distinct)
        example = _code(_example(space))
        rows.append((_code(name), _count(space.size), distinct, example, reference(type(space))))
    return _table(rows)


@cache
def encoder_table() -> str:
    """Return the registered encodings as a Markdown table."""
    space = get_space(CELLS_SPACE)
    cells = space.graphs(space.sample(CELLS, np.random.default_rng(0)))
    rows = [("encoding", "columns", "invariant", "reference")]
    for name, kind in ENCODERS.items():
        # What is trained has the same columns without training.
        untrained = {"steps": 0} if kind.learns_weights else {}
        encoder = kind(operations=space.operations, **untrained).fit(cells)
        columns = f"{len(encoder.get_feature_names_out()):,}"
        invariant = "yes" if kind.invariant else "with `canonical=True`"
        rows.append((_code(name), columns, invariant, reference(kind)))
    return _table(rows)


def with_tables(text: str) -> str:
    """Return a text with the tables put between the comments that mark their place.

    Raises
    ------
    InputError
        If the comments of a table are not there.
    """
    for name, table in (("spaces", space_table()), ("encodings", encoder_table())):
        start, end = f"<!-- table of {name} -->\n", f"<!-- end of {name} -->\n"
        before, found_start, rest = text.partition(start)
        _, found_end, after = rest.partition(end)
        if not found_start or not found_end:
            raise InputError(
                f"expected the lines {start.strip()} and {end.strip()}, found no such place; "
                "add them where the table should be"
            )
        text = f"{before}{start}\n{table}\n{end}{after}"
    return text


def reference(kind: type[Space] | type[Encoder]) -> str:
    """Return the first reference of a class's docstring, in short: authors, year, arXiv number.

    Raises
    ------
    InputError
        If the docstring has none of the form ``A. Author, B. Author. Title. Venue 2020 (arXiv:…)``.
    """
    _, _, section = (inspect.getdoc(kind) or "").partition("References\n----------\n")
    text = " ".join(section.split())
    authors = _AUTHORS.match(text)
    year = re.search(r"\b(?:19|20)\d\d\b(?: \((arXiv:[\d.]+)\))?", text)
    if authors is None or year is None:
        raise InputError(
            f"expected a reference in the docstring of {kind.__name__}, found {text[:60]!r}; write "
            "A. Author, B. Author. Title. Venue 2020 (arXiv:2001.00001)."
        )
    names = [_INITIALS.sub("", author) for author in authors[1].split(", ")]
    short = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    return f"{short} {year[0][:4]}" + (f" ({year[1]})" if year[1] else "")


def _example(space: Space) -> str:
    text = space.format(space.sample(1, np.random.default_rng(0))[0])
    return text if len(text) <= EXAMPLE_LENGTH else text[: EXAMPLE_LENGTH - 1] + "…"


def _count(number: int) -> str:
    if len(str(number)) <= MAX_DIGITS:
        return f"{number:,}"
    mantissa, exponent = f"{number:.1e}".split("e")
    return f"{mantissa} × 10^{int(exponent)}"


def _code(text: str) -> str:
    # In a table, a bar ends the cell even within code.
    return "`" + text.replace("|", r"\|") + "`"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join([head, "|" + "---|" * len(rows[0]) + "\n", *body])


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")

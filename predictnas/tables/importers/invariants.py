"""What must hold of a benchmark's table if its cells were read as they were written.

A tuple of six numbers says which operation is on which edge only to those who know the order of
the edges and the codes of the operations. The labels betray a wrong reading: a cell without a path
from input to output cannot learn, and isomorphic cells learn alike. What their parameters tell
stands in :mod:`predictnas.tables.importers.parameters`.

A cell of NAS-Bench-201 read from output to input passes all of this: its paths, its parameters and
its isomorphic cells are the same. No other order of the edges does in a table with cells that no
path crosses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from encoders import IDENTITY
from predictnas.errors import InputError
from predictnas.spaces import Archs, Space

__all__ = ["check_cells", "check_trained_cells", "isomorphic_agreement", "misread"]

NO_OPERATION = "none"
TOLERANCE = 1e-3
"""Percent by which labels of cells that cannot learn may differ."""

NEAR = 0.1
"""Share of chance by which these may differ from it: some classes are more frequent."""

MARGIN = 0.02
"""How much better another reading must explain isomorphic cells to refuse the one at hand."""

ERRORS = 3.0
"""By how many standard errors it must do so besides where labels may be little else than noise."""

TELLING = 30.0
"""Percent over which labels must range to tell cells that learned from those that cannot."""

FAILED = 1 / 8
"""Share of the trainings of sound cells that may fail, worse than cells that cannot learn."""

ENOUGH = 100
"""Cells with an isomorphic one among the others from which on their agreement means something."""

LARGEST_WORK = 100_000
"""Keys to compute at most, over all readings that are compared."""


def check_cells(
    space: Space, archs: Archs, labels: ArrayLike, *, chance: float | None = None, source: str
) -> dict[str, Any]:
    """Check labels of cells against the reading of their edges and operations.

    Cells without a path from input to output share one label, that of chance, and no other cell
    has it. And no other reading that agrees with this, with the edges in another order or another
    operation as the identity, finds clearly more agreement among the cells that it regards as
    isomorphic (see `isomorphic_agreement`).

    Parameters
    ----------
    space
        A space whose choices are the edges ``"i->j"`` of a cell, ``"none"`` among their options.
    archs
        Distinct architectures (n, len(choices)).
    labels
        What was measured of each, in percent, shape ``(n,)``; means where there are several.
    chance
        The label to expect of cells that cannot learn, within a tenth; None: whatever they share.
    source
        The file, for the message.

    Returns
    -------
    dict
        How many cells have no path, how many have an isomorphic one among the others, and the
        agreement of those (None where there are too few).

    Raises
    ------
    InputError
        When the labels belie the reading.
    """
    values = np.asarray(labels, dtype=np.float64)
    connected = _connected(space, archs)
    _check_chance(space, archs, values, connected, chance, source)
    readings = [
        reading
        for reading in _readings(space, any_order=not connected.all())
        if np.array_equal(_connected(space, reading.of(archs)), connected)
    ]
    return _check_isomorphic(space, archs, values, connected, readings, 0.0, source)


def check_trained_cells(
    space: Space, archs: Archs, labels: ArrayLike, *, source: str
) -> dict[str, Any]:
    """Check labels of cells that somebody trained, at whatever scale and on whatever task.

    There a cell without a path from input to output answers with one class, but that may be another
    one in every training, and other cells may fail to learn. So only this is refused: where labels
    range over 30 percent or more, such a cell in the upper half of the range that differs from the
    others by more than a tenth, or more than one in eight of the other cells that much below it;
    and another reading that finds more agreement among isomorphic cells by more than 0.02 and three
    standard errors.

    Parameters
    ----------
    space, archs, labels, source
        As of `check_cells`.

    Returns
    -------
    dict
        As of `check_cells`.

    Raises
    ------
    InputError
        When the labels belie the reading.
    """
    values = np.asarray(labels, dtype=np.float64)
    connected = _connected(space, archs)
    _check_low(space, archs, values, connected, source)
    readings = list(_readings(space, any_order=False))
    return _check_isomorphic(space, archs, values, connected, readings, ERRORS, source)


def _check_isomorphic(
    space: Space,
    archs: Archs,
    values: NDArray[np.float64],
    connected: NDArray[np.bool_],
    readings: Sequence["_Reading"],
    errors: float,
    source: str,
) -> dict[str, Any]:
    """Refuse a reading if another finds more agreement, by so many standard errors and a margin."""
    rows = np.flatnonzero(connected)
    most = max(LARGEST_WORK // (len(readings) + 1), 100)
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    agreement, repeated = isomorphic_agreement(space.keys(archs[rows]), values[rows])
    enough = repeated >= ENOUGH and np.isfinite(agreement)
    if enough:
        # That of a correlation of so many pairs.
        error = (1 - min(max(agreement, 0.0), 1.0) ** 2) / np.sqrt(repeated / 2)
        for reading in readings:
            keys = space.keys(reading.of(archs[rows]))
            better, count = isomorphic_agreement(keys, values[rows])
            if count >= ENOUGH and better > agreement + MARGIN + errors * error:
                raise misread(
                    source,
                    f"isomorphic cells agree better with {reading.name} ({better:.3f} against "
                    f"{agreement:.3f} of the variance of ranks)",
                )
    return {
        "unreachable": int(np.sum(~connected)),
        "isomorphic": repeated,
        "isomorphic_agreement": round(agreement, 4) if enough else None,
    }


def isomorphic_agreement(keys: list[str], labels: ArrayLike) -> tuple[float, int]:
    """Return how much of the variance of ranks isomorphic cells share, and how many there are.

    With the ranks r of all cells, it is the intraclass correlation
    1 − Σ_g Σ_{i∈g} (r_i − r̄_g)² / (N − G) / Var(r) over the G groups of equal keys that have
    two or more of the N cells: 1 where isomorphic cells have equal labels, about 0 where they
    agree no more than others.

    Parameters
    ----------
    keys
        The key of every cell.
    labels
        Shape ``(n,)``.

    Returns
    -------
    agreement, count
        NaN and 0 where no two cells have one key.
    """
    ranks = stats.rankdata(np.asarray(labels, dtype=np.float64))
    _, group, sizes = np.unique(np.array(keys), return_inverse=True, return_counts=True)
    repeated = sizes[group] > 1
    count = int(repeated.sum())
    if not count or not np.var(ranks):
        return float("nan"), count
    means = np.bincount(group, weights=ranks) / sizes
    within = np.sum((ranks - means[group])[repeated] ** 2) / (count - np.sum(sizes > 1))
    return float(1 - within / np.var(ranks)), count


def _check_chance(
    space: Space,
    archs: Archs,
    values: NDArray[np.float64],
    connected: NDArray[np.bool_],
    chance: float | None,
    source: str,
) -> None:
    unable = np.flatnonzero(~connected)
    level = chance
    if unable.size:
        # Classes are not always equally frequent: what all of them share is the exact chance.
        level = float(np.median(values[unable]))
        strange = unable[np.abs(values[unable] - level) > TOLERANCE]
        if not strange.size and chance is not None and abs(level - chance) > NEAR * chance:
            strange = unable
        if strange.size:
            expected = "one label" if chance is None else f"the label of chance, about {chance:g}"
            aim = level if chance is None else chance
            furthest = strange[np.argmax(np.abs(values[strange] - aim))]
            raise misread(
                source,
                f"{len(unable)} cells without a path from input to output should share "
                f"{expected}, but {space.format(archs[furthest])} has {values[furthest]:g}",
            )
    if level is None:
        return
    strange = np.flatnonzero(connected & (np.abs(values - level) <= TOLERANCE))
    if strange.size:
        raise misread(
            source,
            f"{strange.size} cells with a path from input to output have the label of those "
            f"without, {level:g}: the first is {space.format(archs[strange[0]])}",
        )


def _check_low(
    space: Space,
    archs: Archs,
    values: NDArray[np.float64],
    connected: NDArray[np.bool_],
    source: str,
) -> None:
    unable = np.flatnonzero(~connected)
    if not unable.size or np.ptp(values) < TELLING:
        return
    level = float(np.median(values[unable]))
    middle = (values.min() + values.max()) / 2
    # Below the middle they may differ: not every class has as many images as the others.
    apart = unable[(np.abs(values[unable] - level) > NEAR * level) & (values[unable] > middle)]
    if apart.size:
        furthest = apart[np.argmax(np.abs(values[apart] - level))]
        raise misread(
            source,
            f"{unable.size} cells without a path from input to output should share about one "
            f"label, near the lowest, but {space.format(archs[furthest])} has "
            f"{values[furthest]:g}, and the median of them is {level:g}",
        )
    below = np.flatnonzero(connected & (values < (1 - NEAR) * level))
    if below.size > FAILED * connected.sum():
        lowest = below[np.argmin(values[below])]
        raise misread(
            source,
            f"cells without a path from input to output should have about the lowest label, but "
            f"{below.size} of {connected.sum()} others are below {level:g}, the median of those: "
            f"{space.format(archs[lowest])} has {values[lowest]:g}",
        )


def misread(source: str, reason: str) -> InputError:
    """Return the error for a source whose labels belie the reading of its cells."""
    return InputError(
        f"{source}: the order of the edges or the codes of the operations are not those of the "
        f"benchmark: {reason}; take the file as published"
    )


def _edges(space: Space) -> list[tuple[int, int]]:
    """Return the edges that the choices of a cell space stand for."""
    edges = []
    for name in space.choices:
        start, _, end = name.partition("->")
        edges.append((int(start), int(end)))
    return edges


def _connected(space: Space, archs: Archs) -> NDArray[np.bool_]:
    """Return which cells have a path of operations from the first node to the last."""
    edges = _edges(space)
    last = max(end for _, end in edges)
    reached = np.zeros((last + 1, len(archs)), dtype=np.bool_)
    reached[0] = True
    for column, (start, end) in sorted(enumerate(edges), key=lambda item: item[1][1]):
        options = next(iter(space.choices.values()))
        reached[end] |= reached[start] & (archs[:, column] != options.index(NO_OPERATION))
    return np.asarray(reached[last])


@dataclass(frozen=True)
class _Reading:
    """Another way to read the numbers of a table: which edge and which operation each means."""

    name: str
    columns: tuple[int, ...]
    codes: tuple[int, ...]

    def of(self, archs: Archs) -> Archs:
        """Return the cells as this reading has them."""
        return np.asarray(np.array(self.codes)[archs[:, self.columns]])


def _readings(space: Space, *, any_order: bool) -> Iterator[_Reading]:
    """Yield the readings that may be confused with that of the space.

    Unless `any_order`, the edges stand in one other order alone: by their starts and not their
    ends. Cells without a path rule out nearly all others, and where there are no such cells, 719
    orders would be too many to compare.
    """
    names, options = list(space.choices), next(iter(space.choices.values()))
    columns, codes = tuple(range(len(names))), tuple(range(len(options)))
    edges = _edges(space)
    by_start = tuple(sorted(columns, key=lambda column: edges[column]))
    for order in permutations(columns) if any_order else [by_start]:
        if order != columns:
            name = "the edges in the order " + ", ".join(names[column] for column in order)
            yield _Reading(name, order, codes)
    identity = options.index(IDENTITY)
    for code, option in enumerate(options):
        if option != IDENTITY:
            exchanged = list(codes)
            exchanged[identity], exchanged[code] = code, identity
            yield _Reading(f"{option} and {IDENTITY} exchanged", columns, tuple(exchanged))

"""Units of accuracies: percent in every table, and what betrays fractions."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.errors import InputError
from predictnas.tables.curves import CURVE_PREFIX, read_curves

__all__ = ["UNITS", "check_accuracies", "check_units", "in_percent", "is_accuracy", "name_words"]

UNITS = ("percent", "fraction")

# Below this a share of correct answers says nothing of its unit: 0.05 is chance among 20 classes
# as a fraction, and no fewer than 2,000 classes in percent.
SMALLEST_FRACTION = 0.05

# Two columns in one unit seldom have maxima so far apart; fractions and percent are at 100.
FARTHEST_MAXIMA = 10

# A standard deviation below 1 percent is no fraction, and a rank is no share of answers.
DERIVED = {
    *("std", "sd", "sem", "stderr", "var", "variance", "gap", "diff", "difference", "delta"),
    *("error", "loss", "rank", "percentile", "quantile", "seconds", "time"),
}


def is_accuracy(name: str, *, short: bool = False) -> bool:
    """Return whether a column holds accuracies by its name.

    Parameters
    ----------
    name
        The column.
    short
        Whether ``acc`` at the end of a word says so too, as in ``val_acc``, ``top1acc`` and
        ``valAcc``, not only ``accuracy``.

    Examples
    --------
    >>> is_accuracy("curve_valid_accuracy"), is_accuracy("test_accuracy_std")
    (True, False)
    >>> is_accuracy("val_acc", short=True), is_accuracy("accelerator_ms", short=True)
    (True, False)
    """
    words = name_words(name)
    if DERIVED & words:
        return False
    # MACC is multiply and accumulate.
    named = any(word.endswith("acc") and not word.endswith("macc") for word in words)
    return "accuracy" in name or (short and named)


def name_words(name: str) -> set[str]:
    """Return the words of a column's name in lower case: of ``trainTime_ms`` train, time and ms."""
    return {word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)}


def check_units(frame: pd.DataFrame, units: Any = None, *, source: str = "the table") -> None:
    """Refuse accuracies in mixed units, or in another unit than the table says.

    Every column is looked at as in `check_accuracies`, and curves too. Then the columns are
    compared: where one holds fractions and the maximum of another is above 1 and above ten times
    its own, they are in two units, which only metadata that note the fractions explain. Untrained
    networks have low percentages in all columns. What no one reads as an accuracy is left out:
    proxies, and what is derived, such as a standard deviation.

    Parameters
    ----------
    frame
        A table.
    units
        What its metadata notes: a unit for all accuracies, or a unit for every column.
    source
        The table, for the message.

    Raises
    ------
    InputError
        When a column mixes units, belies its unit, or has a unit and holds what is no accuracy,
        or when two columns are in different units and nothing is noted.
    """
    maxima: dict[str, float] = {}
    fractions: list[str] = []
    for name, values in _accuracies(frame).items():
        noted = units.get(name) if isinstance(units, Mapping) else units
        unit = check_accuracies(values, name, noted, source=source)
        if unit is None or name.startswith("proxy_"):
            continue
        maxima[name] = float(np.max(values[np.isfinite(values)]))
        if unit == "fraction" and noted is None:
            fractions.append(name)
    for name in fractions:
        other = max(maxima, key=maxima.__getitem__)
        if maxima[other] > max(1.0, FARTHEST_MAXIMA * maxima[name]):
            raise InputError(
                f"{source}: {name!r} holds fractions, up to {maxima[name]:g}, and {other!r} "
                f"percent, up to {maxima[other]:g}; bring both to percent"
            )


def check_accuracies(
    values: NDArray[np.float64], name: str, noted: Any = None, *, source: str = "the table"
) -> str | None:
    """Refuse one column of accuracies that mixes units, or is in another unit than is noted.

    It holds fractions if no value is above 1, and percent otherwise; then a value from 0.05 to 1
    is a fraction in the wrong place, unless it is chance among so many classes (1 is chance among
    100), or values between 1 and 2 show that percentages go down that far. Of a curve this is
    asked of its maximum: percentages may begin low.

    Parameters
    ----------
    values
        The column, shape ``(n,)``, or a curve in every row, ``(n, epochs)``; NaN where there is
        none.
    name
        The column, for the message.
    noted
        Its unit, where that is noted.
    source
        The table, for the message.

    Returns
    -------
    str or None
        The unit that the values show; None if they might be in either, or are no accuracies.

    Raises
    ------
    InputError
        As `check_units` of a single column.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    lowest, highest = known.min(), known.max()
    if lowest < 0 or highest > 100:
        if noted is None:  # no accuracy, whatever the name says
            return None
        wrong = lowest if lowest < 0 else highest
        raise InputError(
            f"{source}: expected accuracies from 0 to 100 percent, found {wrong:g} in {name!r}"
        )
    best = known
    if values.ndim == 2:
        best = np.fmax.reduce(np.where(np.isfinite(values), values, np.nan), axis=1)
        best = best[np.isfinite(best)]
    fractions = _fractions(best)
    if highest <= 1:
        if noted == "percent" and fractions.size:
            raise InputError(
                f"{source}: {name!r} should be in percent, but no value is above 1; they are "
                "fractions: multiply them by 100"
            )
        return "fraction" if fractions.size else None
    if noted == "fraction":
        raise InputError(
            f"{source}: {name!r} should hold fractions, found {highest:g}; note its unit "
            "as percent, or divide it by 100"
        )
    if fractions.size and not np.any((known > 1) & (known <= 2)):
        kind = "values" if values.ndim == 1 else "curves"
        raise InputError(
            f"{source}: {name!r} mixes fractions and percent: {fractions.size} of "
            f"{best.size} {kind} look like fractions, such as {fractions[0]:g} beside "
            f"{highest:g}; bring them to percent"
        )
    return "percent"


def _accuracies(frame: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return the columns with accuracies, shape (n,), and the curves, (n, epochs)."""
    found = {}
    for name, column in frame.items():
        if not is_accuracy(str(name)) or pd.api.types.is_bool_dtype(column.dtype):
            continue
        if pd.api.types.is_numeric_dtype(column.dtype):
            found[str(name)] = np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
        elif str(name).startswith(CURVE_PREFIX):
            try:
                found |= read_curves(column.to_frame())
            except InputError:  # no lists of numbers, as in CSV: refused where it is wanted
                continue
    return found


def in_percent(values: NDArray[np.float64], unit: str, name: str) -> NDArray[np.float64]:
    """Return accuracies in percent.

    Parameters
    ----------
    values
        Accuracies in `unit`, any shape; NaN where there is none.
    unit
        ``"percent"`` or ``"fraction"``.
    name
        The column, for the message.

    Raises
    ------
    InputError
        When the unit is unknown or a value cannot be a fraction.
    """
    if unit not in UNITS:
        raise InputError(f"unknown unit {unit!r}; choose from: {', '.join(UNITS)}")
    if unit == "percent":
        return values
    wrong = values[np.isfinite(values) & ((values < 0) | (values > 1))]
    if wrong.size:
        raise InputError(
            f"{name!r} should hold fractions, found {wrong[0]:g} and {wrong.size - 1} more outside "
            "0 to 1; if it is in percent, say so"
        )
    return 100 * values


def _fractions(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values that would be strange in percent."""
    low = values[(values >= SMALLEST_FRACTION) & (values <= 1)]
    classes = 100 / low
    chance = np.abs(classes - np.round(classes)) < 1e-4 * classes
    if np.unique(np.round(classes[chance])).size > 1:  # chance is one number in a table
        return low
    return low[~chance]

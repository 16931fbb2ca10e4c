"""Units of accuracies: percent in every table, and what betrays fractions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.errors import InputError

__all__ = ["UNITS", "accuracy_columns", "check_units", "in_percent"]

UNITS = ("percent", "fraction")

# Below this a share of correct answers says nothing of its unit: 0.05 is chance among 20 classes
# as a fraction, and no fewer than 2,000 classes in percent.
SMALLEST_FRACTION = 0.05


def accuracy_columns(frame: pd.DataFrame) -> list[str]:
    """Return the numeric columns whose name says that they hold accuracies."""
    return [
        str(name)
        for name, column in frame.items()
        if "accuracy" in str(name) and pd.api.types.is_numeric_dtype(column.dtype)
    ]


def check_units(frame: pd.DataFrame, units: Any = None, *, source: str = "the table") -> None:
    """Refuse accuracies in mixed units, or in another unit than the table says.

    A column holds fractions if no value is above 1, and percent otherwise; then a value from 0.05
    to 1 is a fraction in the wrong place, unless it is chance among so many classes (1 is chance
    among 100), or values between 1 and 2 show that percentages go down that far.

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
        When a column mixes units, belies its unit, or has a unit and holds what is no accuracy.
    """
    for name in accuracy_columns(frame):
        values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        noted = units.get(name) if isinstance(units, Mapping) else units
        if values.min() < 0 or values.max() > 100:
            if noted is None:  # no accuracy, whatever the name says
                continue
            wrong = values.min() if values.min() < 0 else values.max()
            raise InputError(
                f"{source}: expected accuracies from 0 to 100 percent, found {wrong:g} in {name!r}"
            )
        if values.max() <= 1:
            if noted == "percent" and _fractions(values).size:
                raise InputError(
                    f"{source}: {name!r} should be in percent, but no value is above 1; they are "
                    "fractions: multiply them by 100"
                )
            continue
        if noted == "fraction":
            raise InputError(
                f"{source}: {name!r} should hold fractions, found {values.max():g}; note its unit "
                "as percent, or divide it by 100"
            )
        fractions = _fractions(values)
        if fractions.size and not np.any((values > 1) & (values <= 2)):
            raise InputError(
                f"{source}: {name!r} mixes fractions and percent: {fractions.size} of "
                f"{values.size} values look like fractions, such as {fractions[0]:g} beside "
                f"{values.max():g}; bring them to percent"
            )


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

"""Learning curves in tables: a list of numbers in every row, one for each epoch."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.errors import InputError

__all__ = ["CURVE_PREFIX", "group_means", "read_curves"]

CURVE_PREFIX = "curve_"


def read_curves(frame: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return the columns ``curve_NAME`` of a table as arrays.

    Parameters
    ----------
    frame
        A table of ``n`` rows; a curve may be missing (None).

    Returns
    -------
    dict
        By name of the column, arrays ``(n, epochs)``, NaN behind the ends of shorter curves.

    Raises
    ------
    InputError
        When a row holds anything but numbers.
    """
    return {
        str(name): _curve(column, str(name))
        for name, column in frame.items()
        if str(name).startswith(CURVE_PREFIX)
    }


def group_means(curves: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean curve of every group, NaN where one of its curves is.

    Parameters
    ----------
    curves
        Shape ``(n, epochs)``.
    groups
        The number of each row's group, from 0 on, shape ``(n,)``.

    Returns
    -------
    array (groups, epochs)
    """
    sums = np.zeros((int(groups.max()) + 1, curves.shape[1]))
    np.add.at(sums, groups, curves)
    return np.asarray(sums / np.bincount(groups)[:, None])


def _curve(column: pd.Series, name: str) -> NDArray[np.float64]:
    try:
        rows = [np.asarray([] if row is None else row, dtype=np.float64) for row in column]
        longest = max(len(row) for row in rows)
    except (TypeError, ValueError):
        raise InputError(
            f"the column {name!r} must hold a list of numbers in every row, found "
            f"{column.iloc[0]!r} in the first; write curves as lists, in Parquet"
        ) from None
    curve = np.full((len(rows), longest), np.nan)
    for number, row in enumerate(rows):
        curve[number, : len(row)] = row
    return curve

"""The first epochs of learning curves as inputs of predictors."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.errors import InputError
from predictnas.tables.curves import CURVE_PREFIX, read_curves
from predictnas.tables.labels import LabelTable

__all__ = ["curve_inputs", "is_curve_input", "with_epoch_columns"]

_INPUT = re.compile(r"curve(?:_(?P<name>.+))?:(?P<number>\d+)(?P<percent>%?)", re.ASCII)
_COLUMN = re.compile(r"(?P<curve>curve_.+)_(?P<epoch>[1-9]\d*)", re.ASCII)
_FEWEST_ROWS = 3  # any two points are on a line
_ROUNDING = 1e-9


def is_curve_input(text: str) -> bool:
    """Return whether a text asks for epochs of curves, if perhaps in a wrong way."""
    return text.startswith("curve") and ":" in text


def curve_inputs(table: LabelTable, text: str) -> pd.DataFrame:
    """Return the first epochs of learning curves, a column for each.

    Parameters
    ----------
    table
        Labels with curves.
    text
        ``curve:5`` for the first five epochs of every curve, ``curve:25%`` for the first quarter
        of the epochs of the longest one (rounded down, at least one), ``curve_NAME:5`` for one
        curve.

    Returns
    -------
    DataFrame
        Columns ``curve_NAME_1``, ``curve_NAME_2``, …, as `predictnas.predictors.LCSVRPredictor`
        reads them, and a row for every row of the table: means where an architecture has several
        labels, NaN where a curve is missing or ends before.

    Raises
    ------
    InputError
        If the text has another form, there is no such curve or no such epoch, or an epoch gives
        the target away: it is the target in all rows or a linear function of it, such as the
        target in another unit, or the last one of the curve of that name.

    Examples
    --------
    >>> import pandas as pd
    >>> from predictnas.spaces import get_space
    >>> from predictnas.tables import label_table
    >>> frame = pd.DataFrame(
    ...     {"arch": ["16:16:16:16:16"], "valid_accuracy": [81.0], "curve_loss": [[0.9, 0.5, 0.4]]}
    ... )
    >>> table = label_table(frame, get_space("nats-size"), "valid_accuracy")
    >>> curve_inputs(table, "curve:2").columns.tolist()
    ['curve_loss_1', 'curve_loss_2']
    """
    match = _INPUT.fullmatch(text)
    if match is None or int(match["number"]) == 0:
        raise InputError(
            "expected epochs of curves such as curve:5, curve:25% or curve_valid_accuracy:5, "
            f"found {text!r}"
        )
    columns = {}
    for name in _names(table, match["name"], text):
        values = table.curves[name]
        epochs = values.shape[1]
        count = int(match["number"])
        if match["percent"]:
            count = max(count * epochs // 100, 1)
        if count > epochs:
            raise InputError(f"{name!r} has {epochs} epochs, found {text!r}; ask for fewer")
        _check_target(table, name, count)
        columns.update({f"{name}_{epoch + 1}": values[:, epoch] for epoch in range(count)})
    return pd.DataFrame(columns)


def with_epoch_columns(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return a table with columns ``curve_NAME_EPOCH`` that it has as lists ``curve_NAME``.

    Parameters
    ----------
    frame
        A table, as it is read.
    columns
        Names of all columns that are wanted; those that are no epoch of a curve are left alone.

    Raises
    ------
    InputError
        If a curve ends before an epoch that is wanted.
    """
    found = {}
    for column in columns:
        match = _COLUMN.fullmatch(column)
        if match is None or column in frame or match["curve"] not in frame:
            continue
        epoch = int(match["epoch"])
        curves = read_curves(frame[[match["curve"]]])[match["curve"]]
        if curves.shape[1] < epoch or not np.isfinite(curves[:, epoch - 1]).all():
            raise InputError(
                f"expected {epoch} epochs or more in every row of {match['curve']!r}, found fewer; "
                "leave such rows out, or fit a predictor to fewer epochs"
            )
        found[column] = curves[:, epoch - 1]
    return frame.assign(**found)


def _names(table: LabelTable, name: str | None, text: str) -> list[str]:
    if not table.curves:
        raise InputError(
            f"{text} needs learning curves, found none: columns curve_* with a list of numbers in "
            "every row, in Parquet or a study; give such labels, or leave it out"
        )
    if name is None:
        return list(table.curves)
    if CURVE_PREFIX + name not in table.curves:
        raise InputError(
            f"the table has no curve {CURVE_PREFIX + name!r}; its curves are: "
            f"{', '.join(table.curves)}"
        )
    return [CURVE_PREFIX + name]


def _check_target(table: LabelTable, name: str, count: int) -> None:
    """Refuse epochs from which the target can be read off."""
    values = table.curves[name]
    rows = np.isfinite(values[:, :count]).all(axis=1)
    if not rows.any():
        return
    targets = table.targets[rows]
    equal = np.isclose(values[rows, :count], targets[:, None])
    # All of them: some are by chance, where accuracies are shares of a few images.
    revealing = np.asarray(equal.all(axis=0) & (np.ptp(targets) > 0))
    revealing |= [_is_linear(values[:, epoch], table.targets) for epoch in range(count)]
    if name == CURVE_PREFIX + table.target:
        revealing[-1] |= (~np.isfinite(values[rows, count:]).any(axis=1)).any()
    if revealing.any():
        epoch = int(np.argmax(revealing)) + 1
        instead = f"ask for fewer than {epoch} epochs" if epoch > 1 else "leave this curve out"
        raise InputError(
            f"epoch {epoch} of {name!r} gives the target {table.target!r} away, which cannot be "
            f"an input too; {instead}"
        )


def _is_linear(values: NDArray[np.float64], targets: NDArray[np.float64]) -> bool:
    """Return whether numbers, NaN where unknown, are the targets but for scale and offset."""
    rows = np.isfinite(values)
    if rows.sum() < _FEWEST_ROWS:
        return False
    pair = np.stack([values[rows], targets[rows]])
    if (pair.min(axis=1) == pair.max(axis=1)).any():
        return False
    pair /= np.abs(pair).max(axis=1, keepdims=True)  # so that no square overflows or vanishes
    pair -= pair.mean(axis=1, keepdims=True)
    pair /= np.linalg.norm(pair, axis=1, keepdims=True)
    return bool(abs(pair[0] @ pair[1]) > 1 - _ROUNDING)

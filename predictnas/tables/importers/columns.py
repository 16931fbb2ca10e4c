"""CSV and Parquet files whose columns have other names or other units."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predictnas.errors import InputError
from predictnas.spaces import Archs, Space, load_space
from predictnas.tables.curves import CURVE_PREFIX
from predictnas.tables.files import (
    guarded,
    read_csv,
    read_metadata,
    read_parquet,
    read_schema,
    table_suffix,
)
from predictnas.tables.importers.imported import (
    ImportedTable,
    ImportOptions,
    as_imported,
    parsed,
)
from predictnas.tables.importers.invariants import check_trained_cells
from predictnas.tables.importers.parameters import check_parameter_order
from predictnas.tables.labels import PROXY_PREFIX, SEED, first_trainings
from predictnas.tables.units import check_units, in_percent, is_accuracy

__all__ = ["import_columns"]

# Spaces of cells whose labels tell the order of their edges, and spaces whose networks have their
# numbers of parameters in about the same order at every scale.
CELLS = ("nasbench201", "transnas101-micro")
ORDERED = (*CELLS, "nasbench101", "transnas101-macro", "darts", "nats-size")
# What columns with numbers of parameters are called, in any unit, perhaps behind ``proxy_``.
PARAMETERS = ("params", "params_m", "parameters", "num_params", "trainable_parameters")


def import_columns(source: str, options: ImportOptions) -> list[ImportedTable]:
    """Read named columns of a table; accuracies come out in percent.

    The cells of ``nasbench201`` and ``transnas101-micro`` are checked by ``valid_accuracy``, or the
    first column of accuracies, and the architectures of published spaces by the order of their
    numbers of parameters, where there is such a column: by what holds at every scale of training.

    Parameters
    ----------
    source
        Path of a file ending in ``.parquet``, ``.csv`` or ``.csv.gz``.
    options
        The space, the column with the architectures, the columns to take and the unit of the
        accuracies among them (columns that are called so in the result); `dataset` is noted as
        the task.

    Raises
    ------
    InputError
        When no space is named, the file is damaged, a column is not there, holds no numbers or
        mixes units, rows that repeat a training disagree, an architecture is not of the space, or
        the labels belie the architectures.
    """
    if options.space is None:
        raise InputError(f"{source}: name the space of its architectures with --space")
    space = load_space(options.space)
    names = read_schema(source)
    wanted = {"arch": options.arch_column, **options.columns}
    if not options.columns:
        wanted |= {name: name for name in names if name not in {options.arch_column, "arch"}}
    missing = [column for column in wanted.values() if column not in names]
    if missing:
        raise InputError(
            f"{source} has no column {missing[0]!r}; its columns are: {', '.join(names)}"
        )
    table = _read(source, list(dict.fromkeys(wanted.values())), options.arch_column)
    frame = pd.DataFrame({name: table[column] for name, column in wanted.items()})
    for name in options.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[name].dtype)
        if not numeric and not name.startswith(CURVE_PREFIX):
            raise InputError(f"{source}: the column {wanted[name]!r} holds no numbers")
    frame["arch"] = [str(text) for text in frame["arch"]]
    archs = parsed(list(frame["arch"]), space, source)
    for name in frame.columns.drop("arch"):
        numeric = pd.api.types.is_numeric_dtype(frame[name].dtype)
        if "accuracy" in name and (numeric or name.startswith(CURVE_PREFIX)):
            frame[name] = _percent(frame[name], options.units, wanted[name], source)
    check_units(frame, "percent", source=source)
    if SEED in frame and not pd.api.types.is_integer_dtype(frame[SEED].dtype):
        raise InputError(f"{source}: the column for seeds must hold whole numbers")
    first_trainings(frame, archs, source=source)  # refuses rows that disagree
    noted = read_metadata(source)
    dataset = options.dataset or str(noted.get("task", "unknown"))
    return [
        as_imported(
            frame,
            space,
            dataset,
            source=source,
            licence=noted.get("licence"),
            checks=_check(frame, space, archs, source),
            from_columns=wanted,
        )
    ]


def _check(frame: pd.DataFrame, space: Space, archs: Archs, source: str) -> dict[str, Any]:
    """Check means over trainings, and numbers of parameters, against the architectures."""
    # The first row of every text, in the order of the groups.
    first = np.flatnonzero(~frame["arch"].duplicated().to_numpy())
    numbers = frame.groupby("arch", sort=False).mean(numeric_only=True)
    checks: dict[str, Any] = {}
    accuracies = [str(name) for name in numbers if is_accuracy(str(name))]
    accuracies.sort(key=lambda name: name != "valid_accuracy")
    if space.name in CELLS and accuracies:
        labels = numbers[accuracies[0]].to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.isfinite(labels)
        if known.any():
            checks = check_trained_cells(space, archs[first[known]], labels[known], source=source)
    counts = [name for name in numbers if str(name).removeprefix(PROXY_PREFIX) in PARAMETERS]
    if space.name in ORDERED and counts:
        checks["parameter_order"] = check_parameter_order(
            space, archs[first], numbers[counts[0]], source=source
        )
    return checks


def _read(source: str, columns: list[str], arch_column: str) -> pd.DataFrame:
    path = Path(source)
    if table_suffix(path) == ".parquet":
        frame = read_parquet(path, columns)
    else:
        frame = guarded(path, "CSV", lambda: read_csv(path, arch_column, columns))
    if frame.empty:
        raise InputError(f"{source} has no rows; expected at least one architecture")
    return frame


def _percent(column: pd.Series, units: str, name: str, source: str) -> pd.Series:
    """Return accuracies, or curves of accuracies, in percent."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return pd.Series(in_percent(values, units, name), index=column.index)
    try:
        arrays = [None if curve is None else np.asarray(curve, np.float64) for curve in column]
    except (TypeError, ValueError):
        raise InputError(
            f"{source}: expected lists of numbers in the column {name!r}, one an epoch; leave it "
            "out, or give the table as Parquet"
        ) from None
    curves = [None if array is None else in_percent(array, units, name) for array in arrays]
    return pd.Series(curves, index=column.index, dtype=object)

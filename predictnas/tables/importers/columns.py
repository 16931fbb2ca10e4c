"""CSV and Parquet files whose columns have other names or other units."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from predictnas.errors import InputError
from predictnas.spaces import load_space
from predictnas.tables.curves import CURVE_PREFIX
from predictnas.tables.files import guarded, read_schema, table_suffix
from predictnas.tables.importers.imported import (
    ImportedTable,
    ImportOptions,
    as_imported,
    parsed,
)
from predictnas.tables.labels import SEED, first_trainings
from predictnas.tables.units import check_units, in_percent

__all__ = ["import_columns"]


def import_columns(source: str, options: ImportOptions) -> list[ImportedTable]:
    """Read named columns of a table; accuracies come out in percent.

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
        mixes units, rows that repeat a training disagree, or an architecture is not of the space.
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
    archs = parsed([str(text) for text in frame["arch"]], space, source)
    for name in frame.columns.drop("arch"):
        numeric = pd.api.types.is_numeric_dtype(frame[name].dtype)
        if "accuracy" in name and (numeric or name.startswith(CURVE_PREFIX)):
            frame[name] = _percent(frame[name], options.units, wanted[name], source)
    check_units(frame, "percent", source=source)
    if SEED in frame and not pd.api.types.is_integer_dtype(frame[SEED].dtype):
        raise InputError(f"{source}: the column for seeds must hold whole numbers")
    first_trainings(frame, archs, source=source)  # refuses rows that disagree
    dataset = options.dataset or "unknown"
    return [as_imported(frame, space, dataset, source=source, from_columns=wanted)]


def _read(source: str, columns: list[str], arch_column: str) -> pd.DataFrame:
    def read() -> pd.DataFrame:
        if table_suffix(source) == ".parquet":
            found: pd.DataFrame = pq.read_table(source, columns=columns).to_pandas()
            return found
        text = {arch_column: str}
        return pd.read_csv(source, dtype=text, usecols=columns, encoding="utf-8-sig")

    frame: pd.DataFrame = guarded(source, "table", read)
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

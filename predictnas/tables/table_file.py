"""Tables that are opened first and read later, column by column."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from predictnas.tables.curves import CURVE_PREFIX
from predictnas.tables.files import read_metadata, read_schema, read_table

__all__ = ["TableFile"]


@dataclass(frozen=True)
class TableFile:
    """A table in a file, of which only the names of the columns and the metadata are in memory.

    In Parquet files the columns that are not asked for, such as curves, are never read. Every
    column that is read is compared with its checksum.

    Attributes
    ----------
    path
        A file ending in ``.parquet``, ``.csv`` or ``.csv.gz``.
    columns
        Names of the columns, in order.
    metadata
        What is noted about the table: space, task, split, units, seeds, source, licence.
    """

    path: Path
    columns: tuple[str, ...]
    metadata: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> "TableFile":
        """Read names of columns and metadata.

        Raises
        ------
        InputError
            When the file is missing, a directory, of another kind or damaged.
        """
        return cls(Path(path), read_schema(path), read_metadata(path))

    @property
    def curves(self) -> tuple[str, ...]:
        """Names of the columns with one value for every epoch."""
        return tuple(name for name in self.columns if name.startswith(CURVE_PREFIX))

    def read(self, columns: Sequence[str] | None = None, *, curves: bool = False) -> pd.DataFrame:
        """Read architectures and columns.

        Parameters
        ----------
        columns
            Names of columns to read beside ``arch`` and, if there is one, ``seed``; None: all.
        curves
            With `columns` None, whether to read the curves too.

        Raises
        ------
        InputError
            When a column is not there or its values are damaged, or there are no rows.
        """
        if columns is None:
            wanted = [name for name in self.columns if curves or name not in self.curves]
        else:
            kept = [name for name in ("arch", "seed") if name in self.columns]
            wanted = list(dict.fromkeys([*kept, *columns]))
        return read_table(self.path, wanted if "arch" in self.columns else None)

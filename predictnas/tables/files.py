"""Reading and writing tables of architectures as Parquet and CSV."""

import gzip
import json
import re
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from predictnas.errors import InputError
from predictnas.tables.checksums import table_checksums, verify_checksums
from predictnas.tables.curves import CURVE_PREFIX
from predictnas.tables.units import check_units

__all__ = ["read_metadata", "read_schema", "read_table", "table_suffix", "write_table"]

METADATA_KEY = b"predictnas"
CHECKSUM_KEY = b"predictnas_checksums"
SUFFIXES = (".parquet", ".csv", ".csv.gz")

# Also reads the files that spreadsheets begin with a byte order mark.
_ENCODING = "utf-8-sig"
# What stands for an unknown number in CSV: what pandas takes for one.
_UNKNOWN = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
]
# Row numbers that pandas writes beside the columns, where some rows were left out.
_ROW_NUMBERS = re.compile(r"__index_level_\d+__")


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table with a column ``arch``.

    In Parquet files the columns that :func:`write_table` wrote are compared with their checksums.

    Parameters
    ----------
    path
        A file ending in ``.parquet``, ``.csv`` or ``.csv.gz``. CSV has a header line and commas.
        Its column ``arch`` is always text: an architecture spelt ``007`` stays what it is.
    columns
        Names of the columns to read, in this order; None: all of them.

    Raises
    ------
    InputError
        When the file is missing, a directory, of another kind, truncated or otherwise damaged, has
        no rows, no column ``arch`` or not a column that is asked for, or when accuracies are in
        mixed units or belie the unit that is noted.
    """
    path = Path(path)
    names = read_schema(path)
    if "arch" not in names:
        raise InputError(
            f"{path} has no column 'arch' with the architectures; its columns are: "
            f"{', '.join(names) or 'none'}"
        )
    missing = [name for name in columns or () if name not in names]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}; its columns are: {', '.join(names)}"
        )
    read = read_parquet if table_suffix(path) == ".parquet" else _read_csv
    frame = read(path, columns)
    if frame.empty:
        raise InputError(f"{path} has no rows; expected at least one architecture")
    check_units(frame, read_metadata(path).get("units"), source=str(path))
    return frame


def read_schema(path: str | Path) -> tuple[str, ...]:
    """Return the names of the columns of a table, without reading its values.

    Raises
    ------
    InputError
        When the file is missing, a directory, of another kind or damaged.
    """
    path = Path(path)
    suffix = table_suffix(path)
    _check_readable(path)
    if suffix == ".parquet":
        names = _columns(guarded(path, "Parquet", lambda: pq.read_schema(path)))
    else:
        names = guarded(path, "CSV", lambda: _csv_names(path))
    return tuple(map(str, names))


def write_table(frame: pd.DataFrame, path: str | Path, *, metadata: Mapping[str, Any]) -> None:
    """Write a table, whole or not at all.

    It is written beside its destination and then renamed, so that an interruption leaves the
    earlier file as it was.

    Parameters
    ----------
    frame
        The rows; their index is not written.
    path
        A file ending in ``.parquet``, ``.csv`` or ``.csv.gz``, in an existing directory.
    metadata
        What the table is (space, task, split, units, source, …), as values that JSON can hold. It
        is kept in Parquet files; CSV has no place for it.

    Raises
    ------
    InputError
        When the suffix is unknown, the directory is missing or not writable, or a column holds
        what the format cannot.
    """
    path = Path(path)
    suffix = table_suffix(path)
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a directory; name a file in it")
    if not path.parent.is_dir():
        raise InputError(
            f"cannot write {path}: {path.parent} is not a directory; create it or choose another"
        )
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        if suffix == ".parquet":
            _write_parquet(frame, partial, metadata)
        else:
            _check_flat(frame, path)
            frame.to_csv(partial, index=False, compression="gzip" if suffix != ".csv" else None)
        partial.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; choose a writable directory"
        ) from error
    except pa.ArrowException as error:
        raise InputError(f"cannot write {path} as Parquet: {_one_line(error)}") from error
    finally:
        _remove(partial)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return what :func:`write_table` noted about a table; empty when there is nothing.

    Raises
    ------
    InputError
        When the file is missing, a directory, of another kind or damaged.
    """
    path = Path(path)
    suffix = table_suffix(path)
    _check_readable(path)
    if suffix != ".parquet":
        return {}
    stored = guarded(path, "Parquet", lambda: pq.read_schema(path)).metadata or {}
    return _parsed(path, stored[METADATA_KEY]) if METADATA_KEY in stored else {}


def table_suffix(path: str | Path) -> str:
    """Return which of the known suffixes a table file has.

    Raises
    ------
    InputError
        When it has none of them.
    """
    for suffix in SUFFIXES:
        if Path(path).name.lower().endswith(suffix):
            return suffix
    raise InputError(f"a table file must end in {', '.join(SUFFIXES)}, found {str(path)!r}")


def _parsed(path: Path, stored: bytes) -> dict[str, Any]:
    try:
        metadata = json.loads(stored)
    except ValueError as error:
        raise InputError(f"the metadata of {path} is not JSON: {_one_line(error)}") from error
    if not isinstance(metadata, dict):
        raise InputError(f"the metadata of {path} should be a JSON object, found {metadata!r}")
    return metadata


def _check_readable(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a directory; name a table file in it")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if size == 0:
        raise InputError(f"{path} is empty; expected a table with a column 'arch'")


def guarded(path: str | Path, kind: str, read: Callable[[], Any]) -> Any:
    """Read, and turn what damaged files raise into one line."""
    try:
        return read()
    except gzip.BadGzipFile as error:
        raise InputError(f"{path} is not a gzip file: {_one_line(error)}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {_one_line(error)}") from error
    except (
        pa.ArrowException,
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        EOFError,
        zlib.error,
    ) as error:
        raise InputError(
            f"{path} is not a complete {kind} file, perhaps cut off while it was written or "
            f"copied: {_one_line(error)}"
        ) from error
    except OSError as error:
        # PyArrow also raises OSError for broken pages, without an error number.
        reason = error.strerror or f"damaged {kind} file ({_one_line(error)})"
        raise InputError(f"cannot read {path}: {reason}") from error


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read Parquet, also columns that pandas wrote as an index, and compare checksums.

    Parameters
    ----------
    path
        The file.
    columns
        Names of the columns to read; None: all.

    Raises
    ------
    InputError
        When the file is damaged, or its values are not those that its checksums were made of.
    """
    wanted = None if columns is None else list(columns)
    table: pa.Table = guarded(path, "Parquet", lambda: pq.read_table(path, columns=wanted))
    checksums = (table.schema.metadata or {}).get(CHECKSUM_KEY)
    if checksums is not None:
        verify_checksums(table, _parsed(path, checksums), str(path))
    plain = table.select(_columns(table.schema))
    frame: pd.DataFrame = guarded(path, "Parquet", lambda: plain.to_pandas(ignore_metadata=True))
    return frame


def _columns(schema: pa.Schema) -> list[str]:
    """Return the names of columns, without row numbers that pandas wrote beside them."""
    return [name for name in schema.names if not _ROW_NUMBERS.fullmatch(name)]


def _read_csv(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    frame: pd.DataFrame = guarded(path, "CSV", lambda: read_csv(path))
    return frame if columns is None else frame[list(columns)]


def read_csv(path: Path, text: str = "arch", columns: list[str] | None = None) -> pd.DataFrame:
    """Read CSV with a header line and commas, in UTF-8.

    Parameters
    ----------
    path
        The file.
    text
        The column with architectures, which stay what they are: ``007``, ``None`` and ``NA`` too.
    columns
        Names of the columns to read; None: all.
    """
    names = _csv_names(path)
    unknown = {name: _UNKNOWN if name != text else [""] for name in names}
    frame: pd.DataFrame = pd.read_csv(
        path,
        dtype={text: str},
        encoding=_ENCODING,
        usecols=columns,
        na_values=unknown,
        keep_default_na=False,
    )
    return frame


def _csv_names(path: Path) -> list[str]:
    return list(pd.read_csv(path, nrows=0, encoding=_ENCODING).columns)


def _write_parquet(frame: pd.DataFrame, path: Path, metadata: Mapping[str, Any]) -> None:
    noted = json.dumps(dict(metadata), sort_keys=True, allow_nan=False).encode()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    checksums = json.dumps(table_checksums(table)).encode()
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), METADATA_KEY: noted, CHECKSUM_KEY: checksums}
    )
    # Through a file of Python's, whose errors say what is wrong in the same words everywhere.
    with path.open("wb") as stream:
        pq.write_table(table, stream, compression="zstd")


def _check_flat(frame: pd.DataFrame, path: Path) -> None:
    for name in frame:
        if str(name).startswith(CURVE_PREFIX):
            raise InputError(
                f"cannot write {path}: CSV has no place for the lists in {name!r}; write "
                "Parquet, or leave the curves out"
            )


def _remove(partial: Path) -> None:
    try:
        partial.unlink(missing_ok=True)
    except OSError:
        # Where nothing can be written, there is nothing to remove: the first error tells it.
        return


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

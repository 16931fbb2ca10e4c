"""Checksums of the columns of a table, so that each can be verified without reading the others."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from predictnas.errors import InputError

__all__ = ["column_checksum", "table_checksums", "verify_checksums"]


def table_checksums(table: pa.Table) -> dict[str, str]:
    """Return the checksum of every column, by name."""
    return {name: column_checksum(table.column(name)) for name in table.column_names}


def verify_checksums(table: pa.Table, expected: Mapping[str, Any], source: str) -> None:
    """Compare the columns of a table with the checksums that were written with it.

    Parameters
    ----------
    table
        Some or all columns of the file.
    expected
        Checksums by name of column; columns without one are not looked at.
    source
        The file, for the message.

    Raises
    ------
    InputError
        When one does not match.
    """
    for name in table.column_names:
        if name in expected and column_checksum(table.column(name)) != expected[name]:
            raise InputError(
                f"{source}: the values of column {name!r} are not those that were written, their "
                "checksum differs; the file was damaged or edited: take the original, or write "
                "the changed table anew"
            )


def column_checksum(column: pa.ChunkedArray) -> str:
    """Return the SHA-256 of the values of a column, in hexadecimal digits.

    It depends on type and values alone, not on how a file encodes, splits or compresses them.
    """
    digest = hashlib.sha256()
    _add(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column, digest)
    return digest.hexdigest()


def _add(values: Any, digest: Any) -> None:
    if isinstance(values, pa.ChunkedArray):  # of no chunk, or of too many bytes for one
        values = pa.concat_arrays(values.chunks) if values.num_chunks else values.type
        if isinstance(values, pa.DataType):
            values = pa.array([], type=values)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    # Text and lists have the same values whether their offsets take 32 or 64 bits.
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        digest.update(f"text {len(values)}".encode())
        texts = [None if text is None else text.encode() for text in values.to_pylist()]
        lengths = [-1 if text is None else len(text) for text in texts]
        digest.update(np.array(lengths, dtype="<i8").tobytes())
        digest.update(b"".join(text for text in texts if text is not None))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        digest.update(f"list {len(values)}".encode())
        lengths = values.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
        digest.update(lengths.astype("<i8").tobytes())
        _add(values.flatten(), digest)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        digest.update(f"{kind} {len(values)}".encode())
        digest.update(np.packbits(values.is_valid().to_numpy(zero_copy_only=False)).tobytes())
        filled = values.fill_null(pa.scalar(0).cast(kind))
        numbers = filled.to_numpy(zero_copy_only=False)
        digest.update(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes())
    else:
        digest.update(f"{kind} {values.to_pylist()!r}".encode())

import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predictnas.errors import InputError
from predictnas.tables import read_table, write_table
from predictnas.tables.checksums import column_checksum, table_checksums

COLUMNS = {
    "text": pa.array(["a", None, "bc", ""]),
    "whole": pa.array([1, 2, None, -4], pa.int32()),
    "real": pa.array([1.5, None, float("nan"), -0.0]),
    "truth": pa.array([True, False, None, True]),
    "curve": pa.array([[1.0, 2.0], [], None, [None, 3.0]]),
    "class": pa.array(["x", "y", "x", None]).dictionary_encode(),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_depends_on_values_and_not_on_how_they_are_kept(name):
    column = COLUMNS[name]
    whole = pa.chunked_array([column])
    parts = pa.chunked_array([column[:1], column[1:3], column[3:]])
    assert column_checksum(parts) == column_checksum(whole)
    assert column_checksum(whole.slice(1, 3)) == column_checksum(pa.chunked_array([column[1:]]))
    orders = [column.take(pa.array(order)) for order in ([0, 1, 3, 2], [0, 2, 1, 3], [0, 1, 2])]
    checksums = {column_checksum(pa.chunked_array([other])) for other in orders}
    assert column_checksum(whole) not in checksums
    assert column_checksum(whole.slice(0, 0)) == column_checksum(pa.chunked_array([], column.type))


def test_text_is_not_its_pieces_joined():
    texts = [["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None]]
    assert len({column_checksum(pa.chunked_array([pa.array(pair)])) for pair in texts}) == 4
    large = pa.chunked_array([pa.array(["ab", "c"], pa.large_string())])
    assert column_checksum(large) == column_checksum(pa.chunked_array([pa.array(["ab", "c"])]))


def test_is_that_of_type_length_validity_and_values():
    content = b"double 3" + bytes([0b10100000]) + np.array([1.0, 0.0, 2.5], "<f8").tobytes()
    found = column_checksum(pa.chunked_array([pa.array([1.0, None, 2.5])]))
    assert found == hashlib.sha256(content).hexdigest()


@pytest.fixture
def frame():
    curves = [np.array([1.0, 2.0 + row]) for row in range(5)]
    return pd.DataFrame(
        {"arch": list("abcde"), "seed": range(5), "score": np.arange(5) / 3, "curve_loss": curves}
    )


def edited(path, column, values):
    """Change a column of a file and leave everything else, the checksums among it, as it was."""
    table = pq.read_table(path)
    place = table.column_names.index(column)
    changed = table.set_column(place, column, pa.array(values, table.column(column).type))
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("arch", list("abcdf")),
        ("seed", [0, 1, 2, 3, 5]),
        ("score", [0.0, 1 / 3, 2 / 3, 1.0, None]),
        ("curve_loss", [[1.0, 2.0], [1.0, 3.0], [1.0, 4.0], [1.0, 5.0], [1.0]]),
    ],
)
def test_edited_values_are_refused_when_they_are_read(tmp_path, frame, column, values):
    path = tmp_path / "labels.parquet"
    write_table(frame, path, metadata={})
    pd.testing.assert_frame_equal(read_table(path), frame)
    edited(path, column, values)
    with pytest.raises(InputError, match=f"values of column '{column}' are not those that were"):
        read_table(path)
    if column not in ("arch", "seed"):
        assert list(read_table(path, ["arch", "seed"])) == ["arch", "seed"]


def test_files_of_others_have_no_checksums(tmp_path, frame):
    frame.to_parquet(tmp_path / "foreign.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "foreign.parquet"), frame)


def test_every_column_has_one(frame):
    checksums = table_checksums(pa.Table.from_pandas(frame, preserve_index=False))
    assert list(checksums) == ["arch", "seed", "score", "curve_loss"]
    assert len(set(checksums.values())) == 4

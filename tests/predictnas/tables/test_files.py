import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predictnas.errors import InputError
from predictnas.tables import read_metadata, read_table, write_table
from predictnas.tables.files import read_schema

SUFFIXES = [".parquet", ".csv", ".csv.gz"]
METADATA = {"space": "nasbench201", "task": "digits", "seeds": [0, 1], "unit": "percent"}


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "arch": [f"|none~0|+{row}" for row in range(200)],
            "valid_accuracy": rng.uniform(10, 95, 200) / 3,
            "epochs": rng.integers(1, 200, 200),
            "proxy_snip": np.where(rng.random(200) < 0.2, np.nan, rng.normal(size=200)),
        }
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tables_come_back_to_the_last_digit(tmp_path, frame, suffix):
    path = tmp_path / f"labels{suffix}"
    write_table(frame, path, metadata=METADATA)
    pd.testing.assert_frame_equal(read_table(path), frame, check_exact=True)
    pd.testing.assert_frame_equal(read_table(str(path)), frame, check_exact=True)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_parquet_keeps_metadata_and_is_compressed_with_zstd(tmp_path, frame):
    path = tmp_path / "labels.parquet"
    write_table(frame, path, metadata=METADATA)
    assert read_metadata(path) == METADATA
    stored = pq.ParquetFile(path)
    assert json.loads(stored.schema_arrow.metadata[b"predictnas"]) == METADATA
    assert stored.metadata.row_group(0).column(0).compression == "ZSTD"


def test_files_without_metadata_have_none(tmp_path, frame):
    frame.to_parquet(tmp_path / "foreign.parquet")
    write_table(frame, tmp_path / "labels.csv", metadata=METADATA)
    assert read_metadata(tmp_path / "foreign.parquet") == {}
    assert read_metadata(tmp_path / "labels.csv") == {}


@pytest.mark.parametrize(("stored", "message"), [(b"{", "is not JSON"), (b"[1]", "a JSON object")])
def test_metadata_of_another_form_is_refused(tmp_path, stored, message):
    table = pa.table({"arch": ["a"]}).replace_schema_metadata({b"predictnas": stored})
    pq.write_table(table, tmp_path / "labels.parquet")
    with pytest.raises(InputError, match=message):
        read_metadata(tmp_path / "labels.parquet")


def test_architectures_in_csv_stay_text(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("\ufeffarch,accuracy\n007,1.5\n1e3,2\n10,\n", encoding="utf-8")
    table = read_table(path)
    assert table["arch"].tolist() == ["007", "1e3", "10"]
    np.testing.assert_array_equal(table["accuracy"], [1.5, 2.0, np.nan])


@pytest.mark.parametrize("read", [read_table, read_metadata])
def test_files_that_are_not_there_are_named(tmp_path, read):
    with pytest.raises(InputError, match=r"cannot read .*missing\.parquet: No such file"):
        read(tmp_path / "missing.parquet")
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(InputError, match=r"folder\.csv is a directory; name a table file"):
        read(folder)
    with pytest.raises(InputError, match=r"must end in \.parquet, \.csv, \.csv\.gz, found .*xlsx"):
        read(tmp_path / "labels.xlsx")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"labels{suffix}"
    path.touch()
    with pytest.raises(InputError, match="is empty; expected a table with a column 'arch'"):
        read_table(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tables_without_rows_or_architectures_are_refused(tmp_path, frame, suffix):
    path = tmp_path / f"labels{suffix}"
    write_table(frame.iloc[:0], path, metadata={})
    with pytest.raises(InputError, match="has no rows"):
        read_table(path)
    write_table(frame.drop(columns="arch"), path, metadata={})
    columns = "valid_accuracy, epochs, proxy_snip"
    with pytest.raises(InputError, match=f"no column 'arch' .*its columns are: {columns}"):
        read_table(path)


def test_truncated_files_are_refused(tmp_path, frame):
    whole = tmp_path / "whole.parquet"
    write_table(frame, whole, metadata=METADATA)
    content = whole.read_bytes()
    cut = tmp_path / "cut.parquet"
    for length in (4, len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:length])
        for read in (read_table, read_metadata):
            with pytest.raises(
                InputError, match=r"cut\.parquet is not a complete Parquet file"
            ) as e:
                read(cut)
            assert "\n" not in str(e.value)


def test_damaged_pages_are_refused(tmp_path, frame):
    path = tmp_path / "labels.parquet"
    write_table(frame, path, metadata=METADATA)
    content = bytearray(path.read_bytes())
    content[40:400] = bytes(360)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.parquet.*(damaged|not a complete)") as error:
        read_table(path)
    assert "\n" not in str(error.value)


def test_csv_of_other_kinds_is_refused(tmp_path):
    zipped = tmp_path / "cut.csv.gz"
    zipped.write_bytes(gzip.compress(b"arch,accuracy\n" + b"a,1\n" * 1000)[:-12])
    with pytest.raises(InputError, match="not a complete CSV file"):
        read_table(zipped)
    zipped.write_bytes(b"arch,accuracy\na,1\n")
    with pytest.raises(InputError, match="is not a gzip file"):
        read_table(zipped)
    ragged = tmp_path / "labels.csv"
    ragged.write_text("arch,accuracy\na,1\nb,2,3,4\n")
    with pytest.raises(InputError, match=r"not a complete CSV file.*line 3"):
        read_table(ragged)
    ragged.write_text("arch,accuracy\na,1\n", encoding="utf-16")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_table(ragged)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_write_leaves_the_earlier_file(tmp_path, frame, suffix, monkeypatch):
    path = tmp_path / f"labels{suffix}"
    write_table(frame, path, metadata={})
    before = path.read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match=r"cannot write .*: No space left on device"):
        write_table(frame.iloc[:3], path, metadata={})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_directories_that_cannot_be_written_are_refused(tmp_path, frame, suffix):
    message = r"cannot write .*{}\.{}: .*{} is not a directory; create it"
    with pytest.raises(InputError, match=message.format("labels", suffix[1:], "missing")):
        write_table(frame, tmp_path / "missing" / f"labels{suffix}", metadata={})
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=message.format("labels", suffix[1:], "file")):
        write_table(frame, tmp_path / "file" / f"labels{suffix}", metadata={})
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(InputError, match="it is a directory; name a file in it"):
        write_table(frame, tmp_path / f"folder{suffix}", metadata={})
    with pytest.raises(InputError, match=r"must end in \.parquet"):
        write_table(frame, tmp_path / "labels.json", metadata={})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_read_only_directories_are_refused(tmp_path, frame, suffix):
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(InputError, match=r"cannot write .*: Permission denied; choose a writ"):
            write_table(frame, tmp_path / f"labels{suffix}", metadata={})
    finally:
        tmp_path.chmod(0o700)


def test_columns_that_parquet_cannot_hold_are_refused(tmp_path, frame):
    with pytest.raises(InputError, match=r"as Parquet: .*object"):
        write_table(
            frame.assign(graph=[object()] * len(frame)), tmp_path / "labels.parquet", metadata={}
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_architectures_may_be_spelt_like_what_is_unknown(tmp_path, suffix):
    path = tmp_path / f"labels{suffix}"
    frame = pd.DataFrame({"arch": ["None", "NA", "x"], "valid_accuracy": [1.0, np.nan, 3.0]})
    write_table(frame, path, metadata={})
    pd.testing.assert_frame_equal(read_table(path), frame)


@pytest.mark.parametrize("index", ["arch", "seed", ["seed", "arch"]])
def test_what_pandas_wrote_as_an_index_is_a_column(tmp_path, index):
    frame = pd.DataFrame(
        {"arch": ["a", "b", "c"], "seed": [3, 1, 2], "valid_accuracy": [1.5, 20.0, 30.0]}
    )
    path = tmp_path / "labels.parquet"
    frame.set_index(index).to_parquet(path)
    pd.testing.assert_frame_equal(read_table(path, list(frame)), frame)


def test_row_numbers_of_pandas_are_no_column(tmp_path):
    frame = pd.DataFrame({"arch": ["a", "b", "c"], "valid_accuracy": [1.5, 20.0, 30.0]})
    path = tmp_path / "labels.parquet"
    frame.sort_values("arch").iloc[[0, 2, 1]].to_parquet(path)
    assert "__index_level_0__" in pq.read_schema(path).names
    assert list(read_table(path)) == list(frame)
    assert read_schema(path) == tuple(frame)

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from predictnas.errors import InputError
from predictnas.tables import TableFile, write_table

METADATA = {"space": "nasbench201", "seeds": [0, 1], "units": {"valid_accuracy": "percent"}}


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "arch": np.repeat([f"cell {row}" for row in range(50)], 2),
            "seed": np.tile([0, 1], 50),
            "valid_accuracy": rng.uniform(10, 90, 100),
            "proxy_snip": rng.normal(size=100),
            "curve_valid_accuracy": list(rng.uniform(10, 90, (100, 30))),
        }
    )


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_opening_gives_names_and_metadata(tmp_path, frame, suffix):
    path = tmp_path / f"labels{suffix}"
    curves = ("curve_valid_accuracy",) if suffix == ".parquet" else ()
    frame = frame if curves else frame.drop(columns="curve_valid_accuracy")
    write_table(frame, path, metadata=METADATA)
    table = TableFile.open(path)
    assert table.columns == tuple(frame)
    assert table.curves == curves
    assert table.metadata == (METADATA if suffix == ".parquet" else {})


def test_only_what_is_asked_for_is_read(tmp_path, frame, monkeypatch):
    path = tmp_path / "labels.parquet"
    write_table(frame, path, metadata=METADATA)
    asked = []
    read = pq.read_table

    def watched(source, columns=None, **options):
        asked.append(columns)
        return read(source, columns=columns, **options)

    monkeypatch.setattr(pq, "read_table", watched)
    table = TableFile.open(path)
    assert asked == []
    pd.testing.assert_frame_equal(table.read(["proxy_snip"]), frame[["arch", "seed", "proxy_snip"]])
    pd.testing.assert_frame_equal(table.read(), frame.drop(columns="curve_valid_accuracy"))
    pd.testing.assert_frame_equal(table.read(curves=True), frame)
    pd.testing.assert_frame_equal(table.read([]), frame[["arch", "seed"]])
    assert asked[0] == ["arch", "seed", "proxy_snip"]
    assert "curve_valid_accuracy" not in asked[1]


def test_columns_that_are_not_read_may_be_damaged(tmp_path, frame):
    path = tmp_path / "labels.parquet"
    write_table(frame, path, metadata=METADATA)
    column = pq.ParquetFile(path).metadata.row_group(0).column(4)
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)
    table = TableFile.open(path)
    pd.testing.assert_frame_equal(table.read(), frame.drop(columns="curve_valid_accuracy"))
    with pytest.raises(InputError, match=r"labels\.parquet.*(damaged|not a complete)"):
        table.read(curves=True)


def test_what_is_not_there_is_named(tmp_path, frame):
    write_table(frame, tmp_path / "labels.parquet", metadata={})
    names = "arch, seed, valid_accuracy, proxy_snip, curve_valid_accuracy"
    with pytest.raises(InputError, match=f"no column 'test_accuracy'; its columns are: {names}"):
        TableFile.open(tmp_path / "labels.parquet").read(["test_accuracy"])
    write_table(frame.drop(columns="arch"), tmp_path / "none.parquet", metadata={})
    with pytest.raises(InputError, match="has no column 'arch'"):
        TableFile.open(tmp_path / "none.parquet").read()
    with pytest.raises(InputError, match=r"cannot read .*missing\.csv: No such file"):
        TableFile.open(tmp_path / "missing.csv")


def test_truncated_files_cannot_be_opened(tmp_path, frame):
    path = tmp_path / "labels.parquet"
    write_table(frame, path, metadata=METADATA)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is not a complete Parquet file") as error:
        TableFile.open(path)
    assert "\n" not in str(error.value)

from importlib import resources
from pathlib import Path

import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.sources import read_architectures, read_label_source
from predictnas.spaces import SPACES, get_space
from predictnas.tables import SHIPPED_TABLES, TableFile, shipped, shipped_table, write_table


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A table of four rows in the place of the package's data."""
    (tmp_path / "data").mkdir()
    archs = ["8:8:8:8:8", "8:16:8:8:8", "64:8:8:8:8", "8:8:8:8:64"]
    frame = pd.DataFrame({"arch": archs, "valid_accuracy": [60.0, 61.0, 62.0, 63.0]})
    write_table(frame, tmp_path / "data" / "tiny-1.parquet", metadata={"space": "nats-size"})
    monkeypatch.setattr(shipped.resources, "files", lambda package: tmp_path)
    monkeypatch.setitem(SHIPPED_TABLES, "tiny", "tiny-1.parquet")
    monkeypatch.setitem(SHIPPED_TABLES, "lost", "lost.parquet")
    return frame


def test_tables_are_called_by_name(tiny):
    assert TableFile.open(shipped_table("tiny")).metadata == {"space": "nats-size"}
    assert read_label_source("tiny")["arch"].tolist() == tiny["arch"].tolist()
    space = get_space("nats-size")
    assert space.format_all(read_architectures("tiny", space)) == tiny["arch"].tolist()


def test_unknown_names_are_answered_with_the_choices(tiny):
    with pytest.raises(InputError, match="unknown table 'huge'; choose from: .*tiny, lost"):
        shipped_table("huge")
    message = "unknown table 'huge'; choose from: .*tiny, lost, a file that ends in .parquet"
    with pytest.raises(InputError, match=message):
        read_label_source("huge")
    with pytest.raises(InputError, match="the table 'lost' is missing from the installation"):
        read_label_source("lost")


def test_files_come_before_names(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="cannot read tiny.csv: No such file"):
        read_label_source("tiny.csv")
    with pytest.raises(InputError, match="must end in .parquet, .csv, .csv.gz, found 'labels.x"):
        read_label_source("labels.xlsx")


@pytest.mark.parametrize("name", SHIPPED_TABLES)
def test_every_table_of_the_package_is_there(name):
    table = TableFile.open(shipped_table(name))
    assert table.metadata["space"] in SPACES
    assert table.metadata["task"]
    assert table.metadata["units"]["valid_accuracy"] == "percent"
    assert "seed" in table.columns
    folder = Path(str(resources.files("predictnas.tables"))) / "data"
    assert shipped_table(name).parent == folder
    assert shipped_table(name).stat().st_size <= 8 * 2**20

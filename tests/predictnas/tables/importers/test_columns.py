from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predictnas.errors import InputError
from predictnas.spaces import get_space
from predictnas.tables import label_table, read_table, write_table
from predictnas.tables.importers import IMPORTERS, ImportOptions
from predictnas.tables.shipped import shipped_table

SPACE = get_space("nats-size")
DATA = Path(__file__).parents[4].parent / "shared" / "data"


@pytest.fixture
def frame():
    archs = SPACE.sample(6, np.random.default_rng(0), distinct=True)
    return pd.DataFrame(
        {
            "widths": np.repeat(SPACE.format_all(archs), 2),
            "run": np.tile([0, 1], 6),
            "acc": np.linspace(0.5, 0.75, 12),
            "hours": 2.0,
            "note": "fine",
        }
    )


def read(path, **options):
    (table,) = IMPORTERS["csv"](str(path), ImportOptions(space="nats-size", **options))
    return table


NAMED = {"valid_accuracy": "acc", "seed": "run"}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_named_columns_come_out_in_percent(tmp_path, frame, suffix):
    path = tmp_path / f"labels.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    table = read(path, arch_column="widths", columns=NAMED, units="fraction", dataset="mine")
    assert list(table.frame) == ["arch", "valid_accuracy", "seed"]
    np.testing.assert_allclose(table.frame["valid_accuracy"], 100 * frame["acc"])
    labels = label_table(table.frame, SPACE, "valid_accuracy")
    assert labels.num_labels.tolist() == [2] * 6
    assert table.metadata["units"] == {"valid_accuracy": "percent"}
    assert table.metadata["task"] == "mine"
    assert table.metadata["seeds"] == [0, 1]
    assert table.metadata["from_columns"] == {"arch": "widths", **NAMED}
    once = frame.drop_duplicates("widths")
    once.to_csv(path, index=False) if suffix == "csv" else once.to_parquet(path)
    whole = read(path, arch_column="widths")
    assert list(whole.frame) == ["arch", "run", "acc", "hours", "note"]


def test_the_column_that_was_named_holds_the_architectures(tmp_path, frame):
    frame.insert(0, "arch", frame["widths"].tolist()[::-1])
    frame["accuracy_source"] = "paper"
    frame = frame.rename(columns={"run": "seed"})
    frame.to_csv(tmp_path / "labels.csv", index=False)
    table = read(tmp_path / "labels.csv", arch_column="widths")
    assert table.frame["arch"].tolist() == frame["widths"].tolist()
    assert set(table.frame["accuracy_source"]) == {"paper"}


def test_curves_that_a_csv_file_cannot_hold_are_refused(tmp_path, frame):
    frame["curve_valid_accuracy"] = "[0.1 0.5]"
    frame.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(InputError, match="expected lists of numbers in the column 'curve_valid_ac"):
        read(tmp_path / "labels.csv", arch_column="widths")


def test_one_column_may_be_taken_twice(tmp_path, frame):
    frame.to_csv(tmp_path / "labels.csv", index=False)
    columns = {**NAMED, "share": "acc"}
    table = read(tmp_path / "labels.csv", arch_column="widths", columns=columns, units="fraction")
    np.testing.assert_allclose(table.frame["valid_accuracy"], 100 * table.frame["share"])


def test_curves_come_out_in_percent(tmp_path, frame):
    frame["curve"] = [np.array([0.1, 0.5])] * 11 + [None]
    frame.to_parquet(tmp_path / "labels.parquet")
    columns = {**NAMED, "curve_valid_accuracy": "curve"}
    options = {"arch_column": "widths", "columns": columns, "units": "fraction"}
    table = read(tmp_path / "labels.parquet", **options)
    assert table.frame["curve_valid_accuracy"][0].tolist() == [10.0, 50.0]
    assert table.frame["curve_valid_accuracy"][11] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "has no column 'arch'; its columns are: widths, run, acc, hours, note"),
        ({"arch_column": "note"}, "architecture 1: expected"),
        ({"columns": {"valid_accuracy": "accuracy"}}, "has no column 'accuracy'; its columns are"),
        ({"columns": {"valid_accuracy": "note"}}, "the column 'note' holds no numbers"),
        ({"columns": NAMED}, "'valid_accuracy' should be in percent, but no value is above 1"),
        (
            {"columns": {"valid_accuracy": "hours"}, "units": "fraction"},
            "'hours' should hold fractions, found 2",
        ),
        ({"columns": NAMED, "units": "points"}, "unknown unit 'points'; choose from: percent, fr"),
        ({"columns": {"seed": "acc"}}, "the column for seeds must hold whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, frame, options, message):
    frame.to_csv(tmp_path / "labels.csv", index=False)
    if options and "arch_column" not in options:
        options = {**options, "arch_column": "widths"}
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path / "labels.csv", **options)
    assert "\n" not in str(error.value)


def test_mixed_units_are_refused(tmp_path, frame):
    frame["acc"] *= 100
    frame.loc[4, "acc"] = 0.63
    frame.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(InputError, match="'valid_accuracy' mixes fractions and percent: 1 of 12"):
        read(tmp_path / "labels.csv", arch_column="widths", columns=NAMED)


def test_curves_in_mixed_units_are_refused(tmp_path, frame):
    frame["acc"] *= 100
    curves = [np.array([value / 2, value]) for value in frame["acc"]]
    frame["curve"] = [curve / 100 for curve in curves]
    frame.to_parquet(tmp_path / "fractions.parquet")
    options = {"arch_column": "widths", "columns": {**NAMED, "curve_valid_accuracy": "curve"}}
    with pytest.raises(InputError, match="'curve_valid_accuracy' should be in percent, but no"):
        read(tmp_path / "fractions.parquet", **options)
    frame["curve"] = [*curves[:8], *frame["curve"][8:]]
    frame.to_parquet(tmp_path / "mixed.parquet")
    with pytest.raises(InputError, match="'curve_valid_accuracy' mixes .*: 4 of 12 curves"):
        read(tmp_path / "mixed.parquet", **options)


def test_rows_that_disagree_are_refused(tmp_path, frame):
    frame["acc"] *= 100
    frame["run"] = 0
    path = tmp_path / "labels.csv"
    frame.to_csv(path, index=False)
    first = f"{frame['acc'][0]:g}"
    message = f"labels.csv: rows 1 and 2 .* of seed 0 in 'valid_accuracy', {first} and .*; 6 rows"
    with pytest.raises(InputError, match=message):
        read(path, arch_column="widths", columns=NAMED)
    with pytest.raises(InputError, match="rows 1 and 2 give '.*' different labels in 'valid_acc"):
        read(path, arch_column="widths", columns={"valid_accuracy": "acc"})
    hours = {"train_hours": "hours"}
    frame["hours"] = np.arange(12)
    frame.to_csv(path, index=False)
    assert len(read(path, arch_column="widths", columns=hours).frame) == 12


def test_a_space_must_be_named_and_the_file_be_there(tmp_path, frame):
    with pytest.raises(InputError, match="labels.csv: name the space of its architectures with"):
        IMPORTERS["csv"](str(tmp_path / "labels.csv"), ImportOptions())
    with pytest.raises(InputError, match="cannot read .*labels.csv: No such file"):
        read(tmp_path / "labels.csv")
    frame.iloc[:0].to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(InputError, match="has no rows"):
        read(tmp_path / "labels.csv", arch_column="widths")
    frame.to_parquet(tmp_path / "labels.parquet")
    content = (tmp_path / "labels.parquet").read_bytes()
    (tmp_path / "labels.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="is not a complete Parquet file"):
        read(tmp_path / "labels.parquet", arch_column="widths")


class TestChecks:
    """A wrong reading is refused by what holds at every scale of training."""

    @pytest.fixture
    def table(self, cells, parameters):
        """Cells with two seeds each, whose constant answers are another class in each."""
        space, archs, labels = cells
        seeds = np.tile([0, 1], len(archs))
        repeated = np.repeat(labels, 2)
        return pd.DataFrame(
            {
                "arch": np.repeat(space.format_all(archs), 2),
                "seed": seeds,
                "valid_accuracy": np.where(repeated == 10, 10 + 0.3 * seeds, repeated),
                "proxy_params": np.repeat(parameters(archs) // 7, 2),
                "proxy_noise": 1.0,
            }
        )

    def checks(self, path, frame, space="nasbench201", **options):
        frame.to_csv(path / "labels.csv", index=False)
        (found,) = IMPORTERS["csv"](str(path / "labels.csv"), ImportOptions(space=space, **options))
        return found.metadata["checks"]

    def test_are_noted(self, tmp_path, table):
        checks = self.checks(tmp_path, table)
        assert checks["unreachable"] == 60
        assert checks["isomorphic_agreement"] > 0.99
        assert checks["parameter_order"] == 24
        assert set(self.checks(tmp_path, table.drop(columns="valid_accuracy"))) == {
            "parameter_order"
        }
        assert self.checks(tmp_path, table[["arch", "proxy_noise"]]) == "none"

    @pytest.mark.parametrize(
        ("one", "other", "reason"),
        [
            ("none", "skip_connect", "cells without a path from input to output"),
            ("none", "nor_conv_3x3", "cells without a path from input to output"),
            (
                "nor_conv_3x3",
                "nor_conv_1x1",
                "the numbers of parameters there are not in the order",
            ),
            (
                "avg_pool_3x3",
                "nor_conv_1x1",
                "the numbers of parameters there are not in the order",
            ),
        ],
    )
    def test_exchanged_operations_are_refused(self, tmp_path, table, one, other, reason):
        names = {one: other, other: one}
        table["arch"] = table["arch"].str.replace(
            f"({one}|{other})", lambda match: names[match[0]], regex=True
        )
        with pytest.raises(
            InputError, match=f"labels.csv: the order of the edges.*{reason}"
        ) as error:
            self.checks(tmp_path, table)
        assert "\n" not in str(error.value)

    def test_architectures_without_labels_are_left_out(self, tmp_path, table):
        table.loc[:, "valid_accuracy"] = table["valid_accuracy"].where(table.index >= 40)
        assert self.checks(tmp_path, table)["unreachable"] == 40
        table["valid_accuracy"] = np.nan
        assert set(self.checks(tmp_path, table)) == {"parameter_order"}

    def test_of_other_accuracies_the_first_counts(self, tmp_path, table):
        table["test_accuracy"] = table.pop("valid_accuracy")
        assert self.checks(tmp_path, table)["unreachable"] == 60

    def test_own_spaces_have_none(self, tmp_path):
        archs = get_space("transformer").sample(20, np.random.default_rng(0))
        texts = get_space("transformer").format_all(archs)
        frame = pd.DataFrame({"arch": texts, "valid_accuracy": 50.0, "params": range(20)})
        assert self.checks(tmp_path, frame, "transformer") == "none"

    def test_the_table_of_the_project_passes(self, tmp_path):
        frame = read_table(shipped_table("digits201"))
        flat = frame.drop(columns=[name for name in frame if name.startswith("curve_")])
        checks = self.checks(tmp_path, flat)
        assert checks["unreachable"] >= 5
        assert checks["parameter_order"] == 24

    @pytest.mark.skipif(not DATA.exists(), reason="the development data is not here")
    @pytest.mark.parametrize(
        ("file", "space", "columns", "names"),
        [
            ("nasbench201_cifar10", "nasbench201", {}, {"unreachable", "parameter_order"}),
            ("nasbench101_10k", "nasbench101", {}, {"parameter_order"}),
            ("darts_nasbench301_surrogate", "darts", {}, {"parameter_order"}),
            *(
                (
                    "transnas101_micro",
                    "transnas101-micro",
                    {"valid_accuracy": task},
                    {"unreachable"},
                )
                for task in ("class_scene", "jigsaw")
            ),
        ],
    )
    def test_published_tables_pass(self, file, space, columns, names):
        options = ImportOptions(space=space, columns=columns)
        (table,) = IMPORTERS["parquet"](str(DATA / f"{file}.parquet"), options)
        assert names <= set(table.metadata["checks"])


def test_a_table_of_ours_is_checked_and_keeps_what_it_notes(tmp_path):
    path = tmp_path / "labels.parquet"
    frame = pd.DataFrame({"arch": ["8:8:8:8:8", "8:8:8:8:16"], "valid_accuracy": [61.0, 74.0]})
    write_table(frame, path, metadata={"task": "digits", "licence": "MIT", "space": "nats-size"})
    (table,) = IMPORTERS["parquet"](str(path), ImportOptions(space="nats-size"))
    assert table.metadata["task"] == table.dataset == "digits"
    assert table.metadata["licence"] == "MIT"
    stored = pq.read_table(path)
    edited = stored.set_column(1, "valid_accuracy", pa.array([61.0, 99.0]))
    pq.write_table(edited.replace_schema_metadata(stored.schema.metadata), path)
    with pytest.raises(InputError, match="valid_accuracy"):
        IMPORTERS["parquet"](str(path), ImportOptions(space="nats-size"))


def test_an_index_of_pandas_holds_architectures_too(tmp_path):
    path = tmp_path / "labels.parquet"
    frame = pd.DataFrame({"arch": ["8:8:8:8:8", "8:8:8:8:16"], "valid_accuracy": [61.0, 74.0]})
    frame.set_index("arch").to_parquet(path)
    (table,) = IMPORTERS["parquet"](str(path), ImportOptions(space="nats-size"))
    pd.testing.assert_frame_equal(table.frame, frame)

"""Importing end to end: files and studies become label tables that the commands take."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from predictnas.cli import main
from predictnas.errors import InputError
from predictnas.importing import FORMATS, import_tables, read_columns
from predictnas.labels import load_study
from predictnas.spaces import Space
from predictnas.storages import StudyAddress
from predictnas.tables import TableFile, label_table, write_table
from predictnas.tables.importers import ImportOptions

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SUITE_ZERO = DATA / "nas_bench_suite_zero_nasbench201.json"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run_and_read(*arguments: object) -> str:
        assert run(*arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1, captured.err
        assert captured.err.startswith("predictnas: ")
        return captured.err

    return run_and_read


@pytest.fixture
def trainings(space: Space) -> pd.DataFrame:
    """Forty cells with three seeds each."""
    archs = space.sample(40, np.random.default_rng(0), distinct=True)
    rng = np.random.default_rng(1)
    level = 60 + 4.0 * (archs == 3).sum(axis=1)
    frame = pd.DataFrame(
        {
            "arch": np.repeat(space.format_all(archs), 3),
            "seed": np.tile([0, 1, 2], 40),
            "valid_accuracy": np.repeat(level, 3) + rng.normal(0, 1, 120),
            "proxy_params": np.repeat((archs == 3).sum(axis=1), 3),
        }
    )
    frame["curve_valid_accuracy"] = [np.array([20.0, 40.0, v]) for v in frame["valid_accuracy"]]
    return frame


class TestFiles:
    def test_csv_with_named_columns(self, work: Path, trainings: pd.DataFrame) -> None:
        foreign = trainings.rename(columns={"arch": "cell", "seed": "run"})
        foreign["accuracy"] = foreign.pop("valid_accuracy") / 100
        foreign.drop(columns="curve_valid_accuracy").to_csv(work / "theirs.csv", index=False)
        command = ["import", "csv", "theirs.csv", "--out", "ours.parquet", "--units", "fraction"]
        columns = ["valid_accuracy=accuracy", "seed=run", "proxy_params=proxy_params"]
        options = [word for column in columns for word in ("--columns", column)]
        named = ["--space", "nasbench201", "--arch-column", "cell", "--dataset", "mine"]
        assert run(*command, *options, *named, "--json", "import.json") == 0
        table = TableFile.open(work / "ours.parquet")
        assert table.metadata["space"] == "nasbench201"
        assert table.metadata["task"] == "mine"
        assert table.metadata["format"] == "csv"
        frame = table.read()
        pd.testing.assert_series_equal(frame["valid_accuracy"], trainings["valid_accuracy"])
        (written,) = json.loads((work / "import.json").read_text())["tables"]
        assert written["path"] == "ours.parquet"
        assert (written["rows"], written["architectures"], written["seeds"]) == (120, 40, 3)
        assert written["checks"]["unreachable"] >= 0

    def test_what_cannot_be_checked_is_said(
        self, work: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (work / "sizes.csv").write_text("arch,valid_accuracy\n8:8:8:8:8,50\n8:8:8:8:16,60\n")
        command = ["import", "csv", "sizes.csv", "--space", "nats-size", "--out", "t.parquet"]
        assert run(*command, "--dataset", "mine", "--json", "import.json") == 0
        assert "mine: nothing to check its architectures by" in capsys.readouterr().out
        (written,) = json.loads((work / "import.json").read_text())["tables"]
        assert written["checks"] == TableFile.open(work / "t.parquet").metadata["checks"] == "none"

    def test_several_data_sets_have_a_file_each(self, work: Path, space: Space) -> None:
        entries = {"(1, 1, 1, 1, 1, 1)": {"val_accuracy": 10.0}}
        entries["(2, 2, 2, 2, 2, 2)"] = {"val_accuracy": 90.0}
        content = {"nasbench201": {"svhn": entries, "ninapro": entries}}
        (work / "zc.json").write_text(json.dumps(content))
        command = ["import", "nas-bench-suite-zero", "zc.json", "--out"]
        assert run(*command, "zero.csv.gz") == 0
        assert {path.name for path in work.iterdir()} == {
            *("zc.json", "zero_svhn.csv.gz", "zero_ninapro.csv.gz")
        }
        assert run(*command, "one.parquet", "--dataset", "svhn") == 0
        frame = TableFile.open(work / "one.parquet").read()
        assert frame["arch"].tolist() == space.format_all([[0] * 6, [3] * 6])

    @pytest.mark.skipif(not SUITE_ZERO.exists(), reason="the development data is not here")
    def test_published_file(self, work: Path, space: Space) -> None:
        command = ["import", "nas-bench-suite-zero", SUITE_ZERO, "--out", "zero.parquet"]
        assert run(*command) == 0
        for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
            table = TableFile.open(work / f"zero_{dataset}.parquet")
            assert table.metadata["checks"]["unreachable"] == 7
            assert len(label_table(table.read(), space, "valid_accuracy")) == 491

    def test_errors_are_one_line(self, work: Path, fails: Callable[..., str]) -> None:
        message = fails("import", "excel", "a.xls", "--out", "t.parquet")
        assert f"unknown format 'excel'; choose from: {', '.join(FORMATS)}" in message
        assert "No such file" in fails("import", "nasbench101", "no.json", "--out", "t.parquet")
        assert "must end in .parquet" in fails("import", "csv", "a.csv", "--out", "t.txt")
        options = ["--out", "t.parquet", "--columns", "acc"]
        assert "expected NAME=COLUMN" in fails("import", "csv", "a.csv", *options)
        assert not list(work.iterdir())


def test_columns_are_named_once() -> None:
    assert read_columns(None) == {}
    assert read_columns(["a=b", "c=b=d"]) == {"a": "b", "c": "b=d"}
    for texts in (["a=b", "a=c"], ["arch=b"]):
        with pytest.raises(InputError, match="is taken already; give another"):
            read_columns(texts)


class TestStudies:
    @pytest.fixture
    def study(self, work: Path, make_study_file: Callable[[Path], None]) -> str:
        make_study_file(work / "labels.db")
        return "sqlite:///labels.db#cells"

    def test_labels_become_a_table(self, work: Path, study: str, space: Space) -> None:
        licence = ["--licence", "CC0-1.0"]
        assert run("import", "study", study, "--out", "labels.parquet", *licence) == 0
        table = TableFile.open(work / "labels.parquet")
        metadata = table.metadata
        assert metadata["space"] == "nasbench201"
        assert metadata["task"] == "digits"
        assert metadata["licence"] == "CC0-1.0"
        assert metadata["recipe"] == {"epochs": 3}
        assert metadata["seeds"] == [0, 1]
        assert metadata["units"]["test_accuracy"] == "percent"
        assert metadata["units"]["curve_valid_accuracy"] == "percent"
        assert metadata["units"]["seconds"] == metadata["units"]["cpu_seconds"] == "seconds"
        assert metadata["split"] == {
            "valid_accuracy": "validation",
            "test_accuracy": "test",
            "curve_valid_accuracy": "validation",
            "curve_train_accuracy": "training",
            "curve_train_loss": "training",
        }
        assert metadata["device"] == "cpu"
        assert metadata["versions"] == [{"torch": "2.13"}, {"torch": "2.14"}]
        frame = table.read(curves=True)
        assert frame["seed"].tolist() == [0, 1, 0]
        assert frame["valid_accuracy"].tolist() == [80.0, 82.0, 60.0]
        assert frame["test_accuracy"].tolist() == [79.0, 81.0, 59.0]
        assert frame["seconds"].tolist() == [1.5] * 3
        assert frame["cpu_seconds"].tolist() == [1.25] * 3
        assert frame["proxy_params"].tolist() == [7.0] * 3
        assert frame["curve_valid_accuracy"][1].tolist() == [41.0, 61.5, 82.0]
        assert frame["curve_train_accuracy"][0].tolist() == [50.0, 70.0, 90.0]
        assert frame["curve_train_loss"][0].tolist() == [2.0, 1.0, 0.5]
        assert "key" not in frame
        labels = label_table(frame, space, "valid_accuracy")
        assert labels.targets.tolist() == [81.0, 60.0]
        np.testing.assert_allclose(labels.curves["curve_valid_accuracy"][0], [40.5, 60.75, 81.0])

    def test_the_study_itself_is_read_alike(self, work: Path, study: str, space: Space) -> None:
        from predictnas.sources import read_architectures, read_label_source

        labels = label_table(read_label_source(study), space, "valid_accuracy")
        assert labels.num_labels.tolist() == [2, 1]
        assert len(read_architectures(study, space)) == 2

    def test_csv_has_no_place_for_curves(
        self, work: Path, study: str, fails: Callable[..., str]
    ) -> None:
        message = "CSV has no place for the lists in 'curve_valid_accuracy'; write Parquet"
        assert message in fails("import", "study", study, "--out", "labels.csv")
        assert not list(work.glob("*.csv"))

    def test_studies_without_labels_are_refused(self, work: Path, study: str) -> None:
        storage = "sqlite:///empty.db"
        empty = optuna.create_study(storage=storage, study_name="none")
        empty.set_user_attr("fingerprint", "f")
        with pytest.raises(InputError, match="holds no finished training yet"):
            import_tables("study", f"{storage}#none", work / "t.parquet", ImportOptions())
        with pytest.raises(InputError, match="no such study file"):
            import_tables("study", "sqlite:///no.db#x", work / "t.parquet", ImportOptions())
        assert load_study(StudyAddress.parse(study)).study_name == "cells"


@pytest.fixture
def make_study_file(space: Space) -> Callable[[Path], None]:
    """A study with two cells, one of them with two seeds, as labelling leaves it behind."""

    def make(path: Path) -> None:
        study = optuna.create_study(
            storage=f"sqlite:///{path}", study_name="cells", direction="maximize"
        )
        attributes = {"space": "nasbench201", "task": "digits", "recipe": {"epochs": 3}}
        for name, value in {**attributes, "fingerprint": "f"}.items():
            study.set_user_attr(name, value)
        for arch, seed, valid, torch in (
            ((3,) * 6, 0, 80.0, "2.13"),
            ((3,) * 6, 1, 82.0, "2.14"),
            ((1,) * 6, 0, 60.0, "2.13"),
        ):
            attrs = {
                "arch": space.format(arch),
                "key": space.key(arch),
                "origin": "random",
                "test_accuracy": valid - 1,
                "seconds": 1.5,
                "cpu_seconds": 1.25,
                "proxies": {"params": 7.0},
                "train_loss": [2.0, 1.0, 0.5],
                "train_accuracy": [50.0, 70.0, 90.0],
                "provenance": {"seed": seed, "device": "cpu", "versions": {"torch": torch}},
            }
            trial = optuna.trial.create_trial(
                params=space.params(arch),
                distributions=space.distributions(),
                user_attrs=attrs,
                value=valid,
                intermediate_values={1: valid / 2, 2: 0.75 * valid, 3: valid},
            )
            study.add_trial(trial)

    return make


class TestTablesWithSeeds:
    @pytest.fixture
    def source(self, work: Path, trainings: pd.DataFrame) -> list[str]:
        write_table(trainings, work / "labels.parquet", metadata={"space": "nasbench201"})
        return ["--space", "nasbench201", "--labels", "labels.parquet"]

    def test_fit_prints_the_noise_ceiling(
        self, work: Path, source: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        fit = ["fit", *source, "--predictor", "forest", "--out", "p.npz", "--json", "fit.json"]
        assert run(*fit) == 0
        result = json.loads((work / "fit.json").read_text())
        assert result["labels"] == 40
        ceiling = result["noise_ceiling"]
        assert (ceiling["n"], ceiling["num_seeds"]) == (40, 3)
        assert 0.5 < ceiling["between_seeds"] < ceiling["one_against_others"] < 1
        out = capsys.readouterr().out
        against, between = ceiling["one_against_others"], ceiling["between_seeds"]
        assert "noise ceiling: one seed against the mean of the other 2: Kendall τ" in out
        assert f"{against:.3f}, two seeds: {between:.3f}, the mean of all 3 against" in out
        assert f"expected: {ceiling['of_mean']:.3f} (40 architectures with 3)" in out

    def test_without_seeds_there_is_no_ceiling(
        self, work: Path, trainings: pd.DataFrame, capsys: pytest.CaptureFixture[str]
    ) -> None:
        single = trainings[trainings["seed"] == 0].drop(columns=["seed", "curve_valid_accuracy"])
        write_table(single, work / "single.csv", metadata={})
        fit = ["fit", "--space", "nasbench201", "--labels", "single.csv", "--out", "p.npz"]
        assert run(*fit, "--predictor", "forest", "--json", "fit.json") == 0
        assert json.loads((work / "fit.json").read_text())["noise_ceiling"] is None
        assert "ceiling" not in capsys.readouterr().out

    def test_correlate_counts_architectures(
        self, work: Path, source: list[str], trainings: pd.DataFrame
    ) -> None:
        extra = ["--scores", "labels.parquet", "--json", "correlate.json"]
        assert run("correlate", *source, *extra) == 0
        columns = json.loads((work / "correlate.json").read_text())["columns"]
        column = columns[0]
        assert [each["column"] for each in columns] == [
            *("proxy_params", "valid_accuracy", "proxy_params@labels.parquet")
        ]
        assert (column["column"], column["n"]) == ("proxy_params", 40)
        means = trainings.groupby("arch")["valid_accuracy"].mean()
        proxies = trainings.groupby("arch")["proxy_params"].first()
        assert column["spearman"] == pytest.approx(means.corr(proxies, method="spearman"))

    def test_architectures_are_scored_and_ranked_once(
        self, work: Path, source: list[str], write_npz: Callable[..., Path]
    ) -> None:
        options = ["--space", "nasbench201", "--task", write_npz(), "--archs", "labels.parquet"]
        options += ["--scale", "channels=4,cells=1", "--device", "cpu", "--proxies", "params"]
        assert run("score", *options, "--out", "scores.parquet", "--workers", 1) == 0
        assert len(pd.read_parquet(work / "scores.parquet")) == 40
        known = ["--scores", "labels.parquet", "--json", "rank.json"]
        assert run("rank", *options, *known) == 0
        assert json.loads((work / "rank.json").read_text())["candidates"] == 40

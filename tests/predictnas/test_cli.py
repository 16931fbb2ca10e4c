"""The command line end to end on tiny tasks, and its one-line errors."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from predictnas.cli import main
from predictnas.spaces import Space
from predictnas.tables import read_metadata
from proxies import AGGREGATES

Write = Callable[..., Path]


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
        assert "Traceback" not in captured.err + captured.out
        return captured.err

    return run_and_read


def tiny(npz: Path) -> list[object]:
    """Options that make a training take a moment."""
    return [
        *("--space", "nasbench201", "--task", npz, "--scale", "channels=4,cells=1"),
        *("--device", "cpu"),
    ]


@pytest.fixture
def labels(space: Space) -> pd.DataFrame:
    archs = space.sample(40, np.random.default_rng(0), distinct=True)
    noise = np.random.default_rng(1)
    convolutions = (archs == 3).sum(1)
    return pd.DataFrame(
        {
            "arch": space.format_all(archs),
            "valid_accuracy": 60 + 4.0 * convolutions + noise.normal(0, 1, 40),
            "proxy_params": convolutions.astype(float),
            "proxy_noise": noise.normal(size=40),
        }
    )


class TestSpaces:
    def test_lists_them(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("spaces") == 0
        assert "nasbench201" in capsys.readouterr().out

    def test_shows_one(self, capsys: pytest.CaptureFixture[str], work: Path) -> None:
        assert run("spaces", "nasbench201", "--json", "space.json") == 0
        out = capsys.readouterr().out
        assert "15,625" in out
        assert "nor_conv_3x3" in out
        shown = json.loads((work / "space.json").read_text())
        assert shown["size"] == 15625
        assert list(shown["choices"])[2] == "1->2"


class TestJourney:
    """The jobs in the order in which a user meets them, on one tiny study."""

    def test_search_goes_on_then_reports(
        self, work: Path, write_npz: Write, capsys: pytest.CaptureFixture[str]
    ) -> None:
        npz = write_npz()
        search = ["search", *tiny(npz), "--epochs", 1, "--warm-start", 3, "--study"]
        search += ["sqlite:///labels.db", "--json", "search.json"]
        assert run(*search, "--trials", 3) == 0
        first = json.loads((work / "search.json").read_text())
        assert run(*search, "--trials", 5) == 0
        second = json.loads((work / "search.json").read_text())
        assert [t["number"] for t in second["trials"]] == [0, 1, 2, 3, 4]
        assert second["trials"][:3] == first["trials"]
        assert second["best"]["valid_accuracy"] == max(
            t["valid_accuracy"] for t in second["trials"]
        )
        origins = [trial["origin"] for trial in second["trials"]]
        assert origins[:3] == [
            "warm start, by proxies",
            "warm start, random",
            "warm start, by proxies",
        ]
        assert set(origins[3:]) == {"acquisition"}
        capsys.readouterr()
        assert run(*search, "--trials", 5) == 0
        assert "5 of 5 trials finished" in capsys.readouterr().out
        assert json.loads((work / "search.json").read_text()) == second

        assert run("report", "--study", "sqlite:///labels.db", "--out", "report.html") == 0
        page = (work / "report.html").read_text()
        assert second["best"]["arch"] in page

        # The labels of the study are a label source.
        fit = ["fit", "--space", "nasbench201", "--labels", "sqlite:///labels.db"]
        assert run(*fit, "--out", "predictor.npz", "--predictor", "forest") == 0
        assert "forest fitted to 5 labels" in capsys.readouterr().out

    def test_label_given_architectures(self, work: Path, write_npz: Write, space: Space) -> None:
        archs = [space.format((3, 1, 0, 0, 2, 1)), space.format((0, 0, 0, 3, 0, 0))]
        (work / "archs.txt").write_text("\n".join([*archs, archs[0], ""]))
        label = ["label", *tiny(write_npz()), "--epochs", 1, "--archs", "archs.txt"]
        assert run(*label, "--json", "out.json") == 0
        result = json.loads((work / "out.json").read_text())
        assert [trial["arch"] for trial in result["trials"]] == archs
        assert {trial["origin"] for trial in result["trials"]} == {"given"}

    def test_label_draws_what_given_architectures_leave(
        self, work: Path, write_npz: Write, space: Space
    ) -> None:
        (work / "archs.txt").write_text(space.format((0, 0, 0, 3, 0, 0)) + "\n")
        label = ["label", *tiny(write_npz()), "--epochs", 1, "--archs", "archs.txt"]
        assert run(*label, "--trials", 3, "--json", "out.json") == 0
        trials = json.loads((work / "out.json").read_text())["trials"]
        assert [trial["origin"] for trial in trials] == ["given", "random", "random"]

    def test_label_random_architectures_is_the_same_however_resumed(
        self, work: Path, write_npz: Write
    ) -> None:
        label = ["label", *tiny(write_npz()), "--epochs", 1, "--json", "out.json"]

        def archs(study: str, *totals: int) -> list[str]:
            for total in totals:
                assert run(*label, "--study", f"sqlite:///{study}.db", "--trials", total) == 0
            trials = json.loads((work / "out.json").read_text())["trials"]
            return [trial["arch"] for trial in trials]

        whole = archs("whole", 4)
        assert len(set(whole)) == 4
        assert archs("parts", 4) == whole

    def test_label_by_design_goes_on_and_takes_given_ones_first(
        self, work: Path, write_npz: Write, space: Space, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (work / "archs.txt").write_text(space.format((0, 0, 0, 3, 0, 0)) + "\n")
        label = ["label", *tiny(write_npz()), "--epochs", 1, "--seeds", 2, "--json", "out.json"]
        label += ["--workers", 1, "--archs", "archs.txt"]
        for design, batch in (("diverse", []), ("uncertain", ["--batch", 2])):
            study = ["--study", f"sqlite:///{design}.db", "--design", design, *batch]
            assert run(*label, *study, "--trials", 5) == 0
            first = json.loads((work / "out.json").read_text())["trials"]
            assert [trial["origin"] for trial in first] == ["given"] * 2 + [design] * 3
            assert run(*label, *study, "--trials", 8) == 0
            second = json.loads((work / "out.json").read_text())["trials"]
            assert second[:5] == first
            assert [trial["seed"] for trial in second] == [0, 1] * 4
            assert len({trial["arch"] for trial in second}) == 4
        assert "architectures chosen" in capsys.readouterr().out

    def test_baselines_run_in_the_same_loop(self, work: Path, write_npz: Write) -> None:
        for searcher in ("random", "tpe"):
            study = f"sqlite:///{searcher}.db"
            options = ["--searcher", searcher, "--trials", 2, "--epochs", 1, "--study", study]
            assert run("search", *tiny(write_npz()), *options) == 0
            assert run("search", *tiny(write_npz()), *options, "--trials", 3) == 0

    def test_score_rank_and_correlate(
        self, work: Path, write_npz: Write, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = [*tiny(write_npz()), "--sample", 12, "--proxy-batch", 16]
        assert run("score", *options, "--out", "scores.parquet", "--json", "score.json") == 0
        table = pd.read_parquet(work / "scores.parquet")
        assert {"arch", "proxy_params", "proxy_macs", "status_zen"} <= set(table.columns)
        assert read_metadata(work / "scores.parquet")["batch_size"] == 16
        assert json.loads((work / "score.json").read_text())["architectures"] == 12

        assert run("rank", *options, "--top", 3, "--json", "rank.json") == 0
        best = json.loads((work / "rank.json").read_text())["best"]
        assert [row["rank"] for row in best] == [1, 2, 3]
        assert run("rank", *options, "--scores", "scores.parquet", "--json", "again.json") == 0
        again = json.loads((work / "again.json").read_text())["best"]
        assert [row["arch"] for row in again[:3]] == [row["arch"] for row in best]

        labels = table[["arch"]].assign(valid_accuracy=table["proxy_params"] % 977)
        labels.to_csv(work / "labels.csv", index=False)
        correlate = ["correlate", "--space", "nasbench201", "--labels", "labels.csv"]
        assert run(*correlate, "--scores", "scores.parquet", "--json", "tau.json") == 0
        assert "proxy_synflow" in capsys.readouterr().out
        for column in json.loads((work / "tau.json").read_text())["columns"]:
            values = table[column["column"]]
            kept = values.notna()
            tau = stats.kendalltau(values[kept], labels["valid_accuracy"][kept]).statistic
            assert column["kendall"] == pytest.approx(tau, abs=1e-12)

    def test_score_goes_on_with_what_is_new(
        self, work: Path, write_npz: Write, space: Space, capsys: pytest.CaptureFixture[str]
    ) -> None:
        score = ["score", *tiny(write_npz()), "--proxies", "params", "--out", "scores.csv"]
        assert run(*score, "--sample", 3) == 0
        first = pd.read_csv(work / "scores.csv")
        capsys.readouterr()
        assert run(*score, "--sample", 5) == 0
        assert "scores.csv holds 3 of 5 architectures already" in capsys.readouterr().out
        pd.testing.assert_frame_equal(pd.read_csv(work / "scores.csv").iloc[:3], first)
        twins = [space.format((0, 0, 0, 3, 0, 0)), space.format((1, 0, 0, 0, 3, 0))]
        (work / "twins.txt").write_text("\n".join(twins))
        twin = [*score[:-1], "twins.csv", "--json", "twins.json"]
        assert run(*twin, "--archs", "twins.txt") == 0
        assert "1 distinct of 2 given architectures scored" in capsys.readouterr().out
        result = json.loads((work / "twins.json").read_text())
        assert (result["given"], result["architectures"]) == (2, 1)

        # What was scored in one spelling ranks in every other one.
        (work / "second.txt").write_text(twins[1])
        known = ["--archs", "second.txt", "--scores", "twins.csv", "--json", "rank.json"]
        assert run("rank", *tiny(write_npz()), "--proxies", "params", *known) == 0
        best = json.loads((work / "rank.json").read_text())["best"]
        assert [row["arch"] for row in best] == [twins[1]]

    def test_aggregates_stand_for_their_proxies(self, work: Path, write_npz: Write) -> None:
        options = [*tiny(write_npz()), "--sample", 3, "--proxies", "default"]
        assert run("rank", *options, "--json", "rank.json") == 0
        columns = {f"proxy_{name}" for name in AGGREGATES["default"]}
        assert columns < set(json.loads((work / "rank.json").read_text())["best"][0])
        assert run("score", *options, "--out", "scores.parquet") == 0
        assert columns < set(pd.read_parquet(work / "scores.parquet"))

    def test_fit_then_rank(self, work: Path, labels: pd.DataFrame, write_npz: Write) -> None:
        labels.to_parquet(work / "labels.parquet")
        fit = ["fit", "--space", "nasbench201", "--labels", "labels.parquet", "--out", "p.npz"]
        assert run(*fit, "--features", "graph,proxy_params", "--json", "fit.json") == 0
        result = json.loads((work / "fit.json").read_text())
        assert result["columns"] == ["proxy_params"]
        assert result["cross_validation"]["correlation"]["kendall"] > 0.6
        rank = ["rank", *tiny(write_npz()), "--sample", 20, "--predictor", "p.npz"]
        assert run(*rank, "--top", 20, "--json", "rank.json", "--out", "rank.csv") == 0
        best = json.loads((work / "rank.json").read_text())["best"]
        means = [row["predicted_mean"] for row in best]
        assert means == sorted(means, reverse=True)
        assert all(row["predicted_std"] > 0 for row in best)
        assert len(pd.read_csv(work / "rank.csv")) == 20


_SCORE_ONE = ["score", "--space", "nasbench201", "--sample", "1", "--out", "x.parquet"]


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["spaces", "nb201"], "unknown space 'nb201'; choose from: nasbench201"),
            (["spacs"], "No such command 'spacs'"),
            (["label", "--space", "nasbench201"], "expected --trials N, --archs FILE or both"),
            (
                ["label", "--space", "nasbench201", "--trials", "3", "--design", "best"],
                "unknown design 'best'; choose from: random, diverse, uncertain",
            ),
            (
                ["label", "--space", "nasbench201", "--archs", "a.txt", "--design", "diverse"],
                "--design diverse chooses what --archs leaves of --trials N, found --archs alone",
            ),
            (
                ["label", "--space", "nasbench201", "--trials", "3", "--batch", "2"],
                "--design random chooses everything at once and takes no --batch",
            ),
            (["search", "--space", "nasbench201", "--task", "mnist"], "unknown task 'mnist'"),
            (["search", "--space", "nasbench201", "--trials", "0"], "Invalid value for '--trials'"),
            (
                ["search", "--space", "nasbench201", "--searcher", "evolve"],
                "unknown searcher 'evolve'; choose from: bananas, random, tpe",
            ),
            (
                ["search", "--space", "nasbench201", "--predictor", "svm"],
                "unknown predictor 'svm'; choose from: gp, gp-wl, gp-deep",
            ),
            (
                ["search", "--space", "nasbench201", "--proxies", "snip,magic"],
                "unknown proxy 'magic'; choose from: params",
            ),
            (
                ["search", "--space", "nasbench201", "--searcher", "tpe", "--predictor", "gp"],
                "searcher 'tpe' takes no --predictor",
            ),
            (
                ["search", "--space", "nasbench201", "--scale", "channels:8"],
                "expected name=number such as channels=16, found 'channels:8'",
            ),
            (
                ["search", "--space", "nasbench201", "--study", "labels.db"],
                "expected the URL of a study",
            ),
            (
                ["search", "--space", "nasbench201", "--study", "sqlite:////proc/x/y.db"],
                "cannot be written",
            ),
            (["score", "--space", "nasbench201", "--out", "x.parquet"], "exactly one of --archs"),
            (
                [
                    *("score", "--space", "nasbench201", "--sample", "1", "--out"),
                    "/proc/x/y.parquet",
                    "--proxies",
                    "params",
                ],
                "cannot be written|cannot write",
            ),
            (["score", "--space", "nasbench201", "--sample", "1"], "Missing option"),
            (
                [*_SCORE_ONE, "--workers", "none"],
                "--workers: expected auto or a whole number from 1, found 'none'",
            ),
            ([*_SCORE_ONE, "--dtype", "int8"], "unknown dtype 'int8'; choose from: float32"),
            ([*_SCORE_ONE, "--proxies", "magic"], "unknown proxy 'magic'; choose from: params"),
            (
                ["score", "--space", "nasbench201", "--all", "--out", "x.txt"],
                "must end in .parquet, .csv",
            ),
            (["search", "--space", "nasbench201", "--device", "meta"], "cannot be used"),
            (["search", "--space", "nasbench201", "--study", "sqlite://"], "three slashes"),
            (["search", "--space", "nasbench201", "--time-limit", "-1"], "--time-limit"),
            (["search", "--space", "nasbench201", "--seed", "99999999999"], "--seed"),
            (["report", "--study", "sqlite:///none.db"], "none.db: no such study file"),
            (
                ["rank", "--space", "nasbench201", "--sample", "2", "--predictor", "none.npz"],
                "none.npz",
            ),
            (["fit", "--space", "nasbench201", "--labels", "no.csv", "--out", "p"], "no.csv"),
        ],
    )
    def test_arguments(
        self, work: Path, fails: Callable[..., str], arguments: list[str], message: str
    ) -> None:
        assert any(part in fails(*arguments) for part in message.split("|"))
        assert not list(work.glob("*.db"))

    def test_scores_of_another_seed(
        self, work: Path, write_npz: Write, fails: Callable[..., str]
    ) -> None:
        score = ["score", *tiny(write_npz()), "--proxies", "params", "--out", "scores.parquet"]
        assert run(*score, "--sample", 2) == 0
        before = (work / "scores.parquet").read_bytes()
        error = fails(*score, "--sample", 2, "--seed", 1)
        assert "holds other scores: seed 0 where this command has 1; choose another" in error
        assert (work / "scores.parquet").read_bytes() == before

    def test_malformed_architecture_with_its_position(
        self, work: Path, fails: Callable[..., str], space: Space
    ) -> None:
        good = space.format((3,) * 6)
        (work / "archs.txt").write_text(f"{good}\n{good.replace('nor_conv_3x3~2', 'conv~2')}\n")
        error = fails("label", "--space", "nasbench201", "--archs", "archs.txt")
        assert "architecture 2" in error
        assert str(good.index("nor_conv_3x3~2") + 1) in error

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda f: f.rename(columns={"arch": "cell"}), "column 'arch'|no 'arch'"),
            (lambda f: f.assign(valid_accuracy=[np.nan, *f.valid_accuracy[1:]]), "NaN"),
            (lambda f: f.assign(arch="64-41414-3_33_333"), "another space"),
            (lambda f: f.drop(columns="valid_accuracy"), "no numeric column 'valid_accuracy'"),
        ],
    )
    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_label_files(
        self,
        work: Path,
        fails: Callable[..., str],
        labels: pd.DataFrame,
        change: Callable[[pd.DataFrame], pd.DataFrame],
        message: str,
        suffix: str,
    ) -> None:
        frame = change(labels)
        if suffix == "csv":
            frame.to_csv(work / "labels.csv", index=False)
        else:
            frame.to_parquet(work / "labels.parquet")
        source = ["--space", "nasbench201", "--labels", f"labels.{suffix}"]
        for command in (["correlate", *source], ["fit", *source, "--out", "p.npz"]):
            error = fails(*command)
            assert any(part in error for part in message.split("|")), error
        assert not (work / "p.npz").exists()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda f: f.assign(arch=[f.arch[1], *f.arch[1:]]),
                "rows 1 and 2 give '.*' different labels in 'valid_accuracy', .*; 1 rows repeat",
            ),
            (
                lambda f: pd.concat([f, f[:1].assign(test_accuracy=3.5)], ignore_index=True).assign(
                    seed=0
                ),
                "rows 1 and 41 give '.*' different labels of seed 0 in 'test_accuracy', .* and 3.5",
            ),
            (
                lambda f: f.assign(valid_accuracy=[0.63, *f.valid_accuracy[1:]]),
                "'valid_accuracy' mixes fractions and percent: 1 of 40 values .* such as 0.63",
            ),
            (
                lambda f: f.assign(test_accuracy=f.test_accuracy / 100),
                "'test_accuracy' holds fractions, .*'valid_accuracy' percent|"
                "'test_accuracy' should be in percent, but no value is above 1",
            ),
        ],
    )
    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_labels_that_disagree(
        self,
        work: Path,
        fails: Callable[..., str],
        labels: pd.DataFrame,
        change: Callable[[pd.DataFrame], pd.DataFrame],
        message: str,
        suffix: str,
    ) -> None:
        frame = change(labels.assign(test_accuracy=labels["valid_accuracy"] - 1))
        path = work / f"labels.{suffix}"
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
        source = ["--space", "nasbench201", "--labels", path.name]
        for command in (
            ["correlate", *source],
            ["fit", *source, "--out", "p.npz"],
            ["benchmark", "predictors", *source],
            ["import", suffix, path.name, *source[:2], "--out", "imported.parquet"],
        ):
            assert re.search(message, fails(*command))
        assert [entry.name for entry in work.iterdir()] == [path.name]

    def test_targets_and_curves_in_mixed_units(
        self, work: Path, fails: Callable[..., str], labels: pd.DataFrame
    ) -> None:
        scales = np.repeat([1, 100], 20)
        labels["val_acc"] = labels["valid_accuracy"] / scales
        labels["curve_valid_accuracy"] = [[v / 2, v] for v in labels["val_acc"]]
        labels.to_parquet(work / "labels.parquet")
        source = ["--space", "nasbench201", "--labels", "labels.parquet"]
        fit = ["fit", *source, "--out", "p.npz"]
        mixed = "mixes fractions and percent: .* of 40"
        assert re.search(f"'val_acc' {mixed} values", fails(*fit, "--target", "val_acc"))
        curves = f"labels.parquet: 'curve_valid_accuracy' {mixed} curves"
        assert re.search(curves, fails(*fit, "--features", "graph,curve:1"))
        command = ["import", "parquet", "labels.parquet", "--space", "nasbench201"]
        assert re.search(curves, fails(*command, "--out", "imported.parquet"))
        assert [path.name for path in work.iterdir()] == ["labels.parquet"]

    def test_truncated_parquet(
        self, work: Path, fails: Callable[..., str], labels: pd.DataFrame
    ) -> None:
        labels.to_parquet(work / "labels.parquet")
        whole = (work / "labels.parquet").read_bytes()
        (work / "labels.parquet").write_bytes(whole[: len(whole) // 2])
        space = ["--space", "nasbench201"]
        for command in (
            ["correlate", *space, "--labels", "labels.parquet"],
            ["fit", *space, "--labels", "labels.parquet", "--out", "p.npz"],
            ["score", *space, "--archs", "labels.parquet", "--out", "scores.parquet"],
            ["import", "parquet", "labels.parquet", *space, "--out", "imported.parquet"],
        ):
            assert "labels.parquet is not a complete Parquet file" in fails(*command)
        assert [path.name for path in work.iterdir()] == ["labels.parquet"]

    @pytest.mark.parametrize(
        ("matrix", "operation", "message"),
        [
            ([[0, 1, 0], [0, 0, 1], [0, 1, 0]], "conv3x3-bn-relu", "no edge to a vertex up to 2"),
            ([[0, 1, 0], [0, 0, 0], [0, 0, 0]], "conv3x3-bn-relu", "connect|path"),
            ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], "conv7x7", "for vertex 1 .*, found .conv7x7"),
        ],
    )
    def test_nasbench101_cells(
        self,
        work: Path,
        fails: Callable[..., str],
        matrix: list[list[int]],
        operation: str,
        message: str,
    ) -> None:
        cells = [
            json.dumps({"matrix": m, "ops": ["input", o, "output"]})
            for m, o in (([[0, 1, 0], [0, 0, 1], [0, 0, 0]], "maxpool3x3"), (matrix, operation))
        ]
        (work / "archs.txt").write_text("\n".join(cells))
        frame = pd.DataFrame({"arch": cells, "valid_accuracy": [90.0, 91.0]})
        frame.to_csv(work / "labels.csv", index=False)
        space = ["--space", "nasbench101"]
        for where, command in (
            ("architecture 2", ["score", "--archs", "archs.txt", "--out", "s.parquet"]),
            ("row 2", ["fit", "--labels", "labels.csv", "--out", "p.npz"]),
        ):
            error = fails(*command[:1], *space, *command[1:])
            assert where in error
            assert re.search(message, error), error
        assert {path.name for path in work.iterdir()} == {"archs.txt", "labels.csv"}

    def test_study_of_another_recipe(
        self, work: Path, write_npz: Write, fails: Callable[..., str]
    ) -> None:
        label = ["label", *tiny(write_npz()), "--trials", 1, "--study", "sqlite:///l.db#mine"]
        assert run(*label, "--epochs", 1) == 0
        error = fails(*label, "--epochs", 2)
        assert "study 'mine' holds other labels: epochs 1 where this command has 2" in error

    def test_truncated_study(self, work: Path, write_npz: Write, fails: Callable[..., str]) -> None:
        label = ["label", *tiny(write_npz()), "--trials", 1, "--epochs", 1]
        study = ["--study", "sqlite:///l.db"]
        assert run(*label, *study) == 0
        (work / "l.db").write_bytes((work / "l.db").read_bytes()[:30_000])
        for command in (label, ["report"], ["export"]):
            assert "the SQLite file is damaged" in fails(*command, *study)

    def test_task_of_one_class(
        self, work: Path, write_npz: Write, fails: Callable[..., str]
    ) -> None:
        npz = write_npz(y_train=np.zeros(120, int), y_test=np.zeros(40, int))
        error = fails("search", "--space", "nasbench201", "--task", npz)
        assert "at least two classes, found only 0" in error

    def test_export_with_other_images(
        self, work: Path, write_npz: Write, fails: Callable[..., str]
    ) -> None:
        assert run("label", *tiny(write_npz()), "--trials", 1, "--epochs", 1) == 0
        write_npz(y_test=np.arange(40) % 3)
        assert "holds other images than the study was trained on" in fails("export")

    def test_proxies_that_cannot_be_computed(
        self, work: Path, labels: pd.DataFrame, write_npz: Write, fails: Callable[..., Any]
    ) -> None:
        labels.to_csv(work / "labels.csv", index=False)
        fit = ["fit", "--space", "nasbench201", "--labels", "labels.csv", "--out", "p.npz"]
        assert run(*fit, "--predictor", "forest") == 0
        error = fails("rank", *tiny(write_npz()), "--sample", 3, "--predictor", "p.npz")
        assert "reads the columns proxy_noise" in error
        assert "--scores" in error


class TestInterrupts:
    @pytest.fixture
    def stopped(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], list[str]]:
        def stop(raised: BaseException) -> list[str]:
            def read(*arguments: object) -> None:
                raise raised

            monkeypatch.setattr("predictnas.importing.import_tables", read)
            return ["import", "csv", "a.csv", "--out", "t.parquet"]

        return stop

    def test_are_told_in_one_line(
        self,
        work: Path,
        stopped: Callable[[BaseException], list[str]],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert run(*stopped(KeyboardInterrupt())) == 130
        assert capsys.readouterr().err.endswith(
            "interrupted; run the same command again to go on\n"
        )

    def test_the_end_of_a_file_is_none(
        self, work: Path, stopped: Callable[[BaseException], list[str]]
    ) -> None:
        """Typer aborts at an EOFError as at the end of what a terminal gives."""
        with pytest.raises(EOFError, match="ended before") as error:
            main(stopped(EOFError("ended before the end-of-stream marker")))
        assert error.value.__suppress_context__

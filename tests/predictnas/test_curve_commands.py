"""Predictors on the beginning of learning curves, from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictnas.cli import main
from predictnas.predictors import load_predictor
from predictnas.spaces import Space

EPOCHS = np.arange(1, 13)


@pytest.fixture
def archs(space: Space) -> np.ndarray:
    return space.sample(44, np.random.default_rng(0), distinct=True)


@pytest.fixture
def table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: Space, archs: np.ndarray
) -> pd.DataFrame:
    """Two seeds of forty cells whose curves saturate at the label, which graphs do not tell."""
    monkeypatch.chdir(tmp_path)
    parts = []
    final = 70 + 20 * np.random.default_rng(1).random(40)
    for seed in range(2):
        rng = np.random.default_rng(2 + seed)
        curves = final[:, None] * (1 - np.exp(-0.3 * EPOCHS)) + 0.2 * rng.normal(size=(40, 12))
        parts.append(
            pd.DataFrame(
                {
                    "arch": space.format_all(archs[:40]),
                    "seed": seed,
                    "valid_accuracy": curves[:, -1],
                    "curve_valid_accuracy": list(curves),
                }
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    frame.at[3, "curve_valid_accuracy"] = None
    frame.to_parquet("labels.parquet")
    return frame


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


FIT = ["fit", "--space", "nasbench201", "--labels", "labels.parquet", "--out", "p.npz"]


def test_fit_then_rank(
    table: pd.DataFrame, space: Space, archs: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = [*FIT, "--predictor", "lcsvr", "--features", "graph,curve:25%", "--json", "fit.json"]
    assert run(*fit) == 0
    result = json.loads(Path("fit.json").read_text())
    assert result["columns"] == [f"curve_valid_accuracy_{epoch}" for epoch in (1, 2, 3)]
    assert (result["labels"], result["rows_left_out"]) == (39, 1)
    assert result["cross_validation"]["correlation"]["kendall"] > 0.7
    assert "1 rows without all proxy scores and epochs are left out" in capsys.readouterr().out

    # Candidates bring curves of three epochs: as lists, or as columns.
    lists = np.stack(table["curve_valid_accuracy"][40:44].to_list())[:, :3]
    graphs = pd.Series(space.graphs(archs[40:]), dtype=object, name="graph")
    columns = pd.DataFrame(lists, columns=result["columns"])
    mean = load_predictor(Path("p.npz"))[0].predict(pd.concat([graphs, columns], axis=1))
    candidates = pd.DataFrame({"arch": space.format_all(archs[40:])})
    candidates.to_csv("archs.csv", index=False)
    candidates.assign(curve_valid_accuracy=list(lists)).to_parquet("lists.parquet")
    pd.concat([candidates, columns], axis=1).to_csv("columns.csv", index=False)
    rank = ["rank", "--space", "nasbench201", "--archs", "archs.csv", "--predictor", "p.npz"]
    for scores in ("lists.parquet", "columns.csv"):
        assert run(*rank, "--scores", scores, "--json", "rank.json") == 0
        best = json.loads(Path("rank.json").read_text())["best"]
        found = {row["arch"]: row["predicted_mean"] for row in best}
        assert [found[arch] for arch in candidates["arch"]] == pytest.approx(list(mean))


def test_other_predictors_read_them_too_and_benchmarks_do(table: pd.DataFrame) -> None:
    assert run(*FIT, "--predictor", "ridge", "--features", "curve_valid_accuracy:2") == 0
    benchmark = ["benchmark", "predictors", *FIT[1:5], "--predictors", "lcsvr,ridge", "--json"]
    sizes = ["--sizes", "10,20", "--repeats", 1, "--workers", 1]
    tau, number = {}, {}
    for features in ("graph", "graph,curve:3"):
        predictors = [] if "curve" in features else ["--predictors", "ridge"]
        file = f"{len(features)}.json"
        assert run(*benchmark, file, *sizes, *predictors, "--features", features) == 0
        content = json.loads(Path(file).read_text())
        tau[features] = {
            (record["predictor"], record["size"]): record["kendall"]
            for record in content["records"]
        }
        number[features] = content["conditions"]["architectures"]
    assert number["graph,curve:3"] == number["graph"] - 1  # the one without a curve
    assert content["conditions"]["features"][1:] == [f"curve_valid_accuracy_{k}" for k in (1, 2, 3)]
    assert tau["graph,curve:3"]["ridge", 20] > tau["graph"]["ridge", 20] + 0.3
    assert tau["graph,curve:3"]["lcsvr", 20] > 0.5


def test_curves_of_a_study(
    table: pd.DataFrame, write_npz: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--space", "nasbench201", "--task", write_npz(), "--scale", "channels=4,cells=1"]
    label = ["label", *options, "--device", "cpu", "--epochs", 3, "--study", "sqlite:///s.db"]
    assert run(*label, "--trials", 6, "--workers", 1) == 0
    fit = ["fit", "--space", "nasbench201", "--labels", "sqlite:///s.db", "--out", "p.npz"]
    assert run(*fit, "--predictor", "lcsvr", "--features", "curve:2", "--json", "fit.json") == 0
    columns = json.loads(Path("fit.json").read_text())["columns"]
    names = ("valid_accuracy", "train_accuracy", "train_loss", "valid_loss")
    assert columns == [f"curve_{name}_{epoch}" for name in names for epoch in (1, 2)]
    capsys.readouterr()
    assert run(*fit, "--features", "curve:3") == 2
    assert "epoch 3 of 'curve_valid_accuracy' gives the target" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "curve:12"], "epoch 12 of 'curve_valid_accuracy' gives the target"),
        (["--features", "curve:13"], "'curve_valid_accuracy' has 12 epochs, found 'curve:13'"),
        (["--features", "curve:some"], "such as curve:5, curve:25% or curve_valid_accuracy:5"),
        (["--features", "graph"], "expected columns curve_* with a learning curve, found no"),
        (["--labels", "flat.csv", "--features", "curve:3"], "curve:3 needs learning curves"),
        (["--labels", "none.parquet", "--features", "curve:3"], "every row lacks a proxy score or"),
    ],
)
def test_mistakes_are_one_line(
    table: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    table.drop(columns="curve_valid_accuracy").to_csv("flat.csv", index=False)
    holed = [[1.0, np.nan, 2.0, 3.0]] * len(table)
    table.assign(curve_valid_accuracy=holed).to_parquet("none.parquet")
    assert run(*FIT, "--predictor", "lcsvr", *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error

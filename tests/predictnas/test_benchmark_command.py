"""``predictnas benchmark predictors`` end to end, and its one-line errors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictnas.cli import main
from predictnas.spaces import Space


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: Space) -> list[str]:
    monkeypatch.chdir(tmp_path)
    archs = np.unique(space.sample(120, np.random.default_rng(0)), axis=0)
    convolutions = (archs == 3).sum(1)
    frame = pd.DataFrame({"arch": space.format_all(archs), "proxy_a": convolutions})
    noise = np.random.default_rng(1).normal(size=len(archs))
    frame.assign(valid_accuracy=60 + 4.0 * convolutions + noise).to_csv("labels.csv", index=False)
    return [
        *("benchmark", "predictors", "--space", "nasbench201", "--labels", "labels.csv"),
        *("--target", "valid_accuracy", "--sizes", "6,12", "--repeats", "2", "--workers", "1"),
        *("--predictors", "forest,gp", "--features", "graph,proxies", "--json", "out.json"),
    ]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_records_and_figure(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--plot", "out.svg") == 0
    content = json.loads(Path("out.json").read_text())
    assert len(content["records"]) == 8
    assert {"predictor", "size", "repeat", "kendall", "spearman", "seconds_fit"} <= set(
        content["records"][0]
    )
    assert Path("out.svg").read_text().startswith("<svg")
    out = capsys.readouterr().out
    assert "Kendall τ" in out
    assert "drawn to out.svg" in out
    assert run(*command) == 0
    assert "out.json holds 8 of 8 records already" in capsys.readouterr().out
    assert json.loads(Path("out.json").read_text()) == content


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--predictors", "svm"], "unknown predictor 'svm'; choose from: gp"),
        (["--sizes", "6,many"], "--sizes: expected whole numbers such as 23,46, found 'many'"),
        (["--sizes", "600"], "expected from 1 to"),
        (["--design", "best"], "unknown design 'best'; choose from: random, diverse"),
        (["--target", "accuracy"], "no numeric column 'accuracy'"),
        (["--plot", "."], "is a directory"),
    ],
)
def test_mistakes_are_one_line(
    changed: list[str],
    message: str,
    command: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*command, *changed) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not Path("out.json").exists()


def test_table_of_the_package_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["benchmark", "predictors", "--sizes", "40", "--repeats", "2", "--workers", "1"]
    assert run(*command, "--predictors", "ridge", "--features", "graph", "--json", "out.json") == 0
    content = json.loads(Path("out.json").read_text())
    # Digits tell cells apart: what 40 labels say about the others is far from chance.
    assert min(record["kendall"] for record in content["records"]) > 0.3
    ceiling = content["noise_ceiling"]
    assert ceiling["num_seeds"] == 3
    assert ceiling["between_seeds"] < ceiling["one_against_others"] < ceiling["of_mean"]
    # What the table is for: the means of its seeds rank well enough to compare predictors.
    assert ceiling["of_mean"] > 0.75
    assert "noise ceiling, what is expected against the mean of 3 seeds" in capsys.readouterr().out
    assert run("benchmark", "predictors", "--space", "darts", "--sizes", "40") == 2
    assert "rows are not architectures of darts" in capsys.readouterr().err

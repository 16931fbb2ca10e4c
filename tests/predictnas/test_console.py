import json
from pathlib import Path

import numpy as np
import optuna
import pytest

from predictnas.console import TrialDisplay, progress, show_table, write_json
from predictnas.errors import InputError


def test_progress_prints_every_tenth_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("scoring", 40) as advance:
        for _ in range(40):
            advance()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"scoring: {done} of 40" for done in range(4, 41, 4)]


def test_tables_are_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "|nor_conv_3x3~0|" * 20
    show_table("cells", ("arch", "value"), [(long, 1.5), ("b", float("nan"))])
    out = capsys.readouterr().out
    assert long in out
    assert "1.5000" in out
    assert "–" in out


def test_json_has_null_for_what_is_undefined(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "out.json", {"a": np.float64("nan"), "b": (1, 2)})
    assert json.loads((tmp_path / "deep" / "out.json").read_text()) == {"a": None, "b": [1, 2]}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out.json"]


def test_json_that_cannot_be_written() -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_json(Path("/proc/nowhere/out.json"), {})


def test_trial_lines(capsys: pytest.CaptureFixture[str]) -> None:
    study = optuna.create_study(direction="maximize")
    display = TrialDisplay(total=2, finished=0, epochs=3)
    with display:
        for value, attrs in (
            (90.0, {"arch": "A", "origin": "warm start, random"}),
            (91.5, {"arch": "B", "predicted_mean": 91.0, "predicted_std": 0.5}),
        ):
            trial = study.ask()
            for name, attr in attrs.items():
                trial.set_user_attr(name, attr)
            display.on_trial(study, study.tell(trial, value))
        failed = study.ask()
        failed.set_user_attr("failure", "out of memory on cpu")
        display.on_trial(study, study.tell(failed, state=optuna.trial.TrialState.FAIL))
    lines = capsys.readouterr().out.splitlines()
    assert "90.00 % best" in lines[0]
    assert "warm start, random" in lines[0]
    assert "forecast  91.00 ±  0.50" in lines[1]
    assert "fail" in lines[2]
    assert "out of memory on cpu" in lines[2]

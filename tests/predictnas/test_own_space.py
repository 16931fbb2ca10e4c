"""A space of a user's own through every command, trained for real."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from predictnas.cli import main
from predictnas.errors import InputError
from predictnas.exporting import export_winner
from predictnas.labels import load_study, open_study
from predictnas.spaces import load_space
from predictnas.storages import StudyAddress
from predictnas.training import default_recipe, load_task, study_fingerprint

FILE = Path(__file__).parent / "spaces" / "own_space.py"
SPACE = f"{FILE}:Perceptrons"
STUDY = "sqlite:///own.db"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Search the space once, the surrogate included, and return the folder with the study."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert not run(
            *("search", "--space", SPACE, "--task", "digits", "--trials", 4, "--epochs", 1),
            *("--warm-start", 3, "--proxies", "params", "--study", STUDY, "--device", "cpu"),
        )
    return folder


@pytest.fixture
def work(searched: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(searched)
    return searched


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run_and_read(*arguments: object) -> str:
        assert run(*arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1, captured.err
        assert captured.err.startswith("predictnas: ")
        return captured.err

    return run_and_read


def test_searching_trains_architectures_of_the_space(work: Path) -> None:
    study = load_study(StudyAddress.parse(STUDY))
    space = load_space(SPACE)
    assert study.study_name.startswith("perceptrons-digits-")
    keys = [space.key(space.from_params(trial.params)) for trial in study.trials]
    assert len(set(keys)) == len(keys) == 4
    assert all(0.0 < trial.value <= 100.0 for trial in study.trials)
    assert study.trials[3].user_attrs["origin"] == "acquisition"
    assert set(study.trials[0].params.values()) <= {
        option for options in space.choices.values() for option in options
    }


def test_fitting_and_ranking(work: Path) -> None:
    assert not run("fit", "--space", SPACE, "--labels", STUDY, "--out", "p.npz")
    assert not run(
        *("rank", "--space", SPACE, "--sample", 5, "--predictor", "p.npz", "--out", "ranks.csv"),
        *("--device", "cpu", "--workers", 1),
    )
    ranks = pd.read_csv("ranks.csv")
    space = load_space(SPACE)
    assert len(set(space.keys(space.parse_all(ranks["arch"])))) == 5
    assert np.isfinite(ranks["predicted_mean"]).all()


def test_scoring(work: Path) -> None:
    assert not run(
        *("score", "--space", SPACE, "--sample", 4, "--proxies", "params,naswot"),
        *("--out", "scores.parquet", "--workers", 1, "--device", "cpu"),
    )
    scores = pd.read_parquet("scores.parquet")
    space = load_space(SPACE)
    for row in scores.itertuples():
        network = space.build(space.parse(row.arch), load_task("digits").input_shape, 10)
        assert row.proxy_params == sum(parameter.numel() for parameter in network.parameters())


def test_showing_and_reporting(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not run("spaces", SPACE, "--json", "space.json")
    assert "perceptrons: 32 architectures" in capsys.readouterr().out
    assert json.loads(Path("space.json").read_text())["choices"]["dropout"] == ["0.0", "0.25"]
    assert not run("report", "--space", SPACE, "--study", STUDY, "--out", "report.html")
    assert "perceptrons" in Path("report.html").read_text(encoding="utf-8")


def test_exporting_writes_all_forms_but_source(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = work / "winner"
    folder.mkdir()
    (folder / "winner.py").write_text("# of another space\n")
    assert not run("export", "--space", SPACE, "--study", STUDY, "--out", folder)
    assert "without winner.py: perceptrons has no Python source" in capsys.readouterr().out
    names = {"winner.pt2", "winner.onnx", "winner.state.pt", "winner.json"}
    assert {path.name for path in folder.iterdir()} == names
    facts = json.loads((folder / "winner.json").read_text(encoding="utf-8"))
    assert set(facts["files"].values()) == names
    space = load_space(SPACE)
    state = torch.load(folder / "winner.state.pt", weights_only=True)
    shape = facts["input"]["shape"][1:]
    network = space.build(space.parse(facts["arch"]), shape, 10).eval()
    weights = {
        name.removeprefix("network."): value
        for name, value in state.items()
        if name.startswith("network.")
    }
    network.load_state_dict(weights)
    program = torch.export.load(folder / "winner.pt2").module()
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)) * 16
    mean, std = (torch.tensor(facts["input"][name])[:, None, None] for name in ("mean", "std"))
    expected = network((images - mean) / std)
    torch.testing.assert_close(program(images), expected, rtol=1e-4, atol=1e-4)


def test_where_the_class_is_only_the_user_says(work: Path, fails: Callable[..., str]) -> None:
    for command in ("report", "export"):
        message = fails(command, "--study", STUDY)
        assert "holds labels of 'perceptrons', no space of PredictNAS" in message
        assert "--space FILE.py:CLASS" in message
    message = fails("report", "--study", STUDY, "--space", "darts")
    assert "holds labels of 'perceptrons', not of 'darts'" in message


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("missing.py:Own", "missing.py: no such file"),
        (f"{FILE}:Missing", "found nothing; choose from: SmallNets, Perceptrons"),
        (f"{FILE}:nn", "found module; choose from: SmallNets, Perceptrons"),
    ],
)
def test_what_is_no_space_is_one_line(
    work: Path, fails: Callable[..., str], space: str, message: str
) -> None:
    for command in (["spaces", space], ["search", "--space", space]):
        assert message in fails(*command)


def test_other_choices_are_other_labels(work: Path) -> None:
    task = load_task("digits")
    text = FILE.read_text(encoding="utf-8")
    Path("edited.py").write_text(text.replace('"width": (8, 16)', '"width": (8, 16, 32)'))
    spaces = load_space(SPACE), load_space("edited.py:Perceptrons")
    recipes = [default_recipe(space, task, epochs=1) for space in spaces]
    one, other = (
        study_fingerprint(space, task, recipe)
        for space, recipe in zip(spaces, recipes, strict=True)
    )
    assert one != other
    study = load_study(StudyAddress.parse(STUDY))
    address = StudyAddress(StudyAddress.parse(STUDY).storage, study.study_name)
    with (
        pytest.raises(
            InputError, match=r"holds other labels: space_identity .*width=8\|16; .*8\|16\|32"
        ),
        open_study(address, spaces[1], task, recipes[1]),
    ):
        pass
    with pytest.raises(InputError, match="another space, task or recipe"):
        export_winner(study, spaces[1], task, recipes[1], "elsewhere")


def test_a_candidate_whose_network_fails_does_not_end_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fragile.py").write_text(
        """
from torch import nn
from predictnas.spaces import DeclaredSpace

class Fragile(DeclaredSpace):
    choices = {"pools": (0, 1, 2, 9)}

    def build(self, arch, input_shape, num_classes):
        pools = [nn.MaxPool2d(2) for _ in range(self.options(arch)["pools"])]
        return nn.Sequential(*pools, nn.Flatten(), nn.LazyLinear(num_classes))
"""
    )
    fragile = ("--space", "fragile.py:Fragile", "--trials", 4, "--epochs", 1)
    assert not run("label", *fragile, "--workers", 1)
    study = load_study(StudyAddress.parse("sqlite:///predictnas.db"))
    failed = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert [trial.params["pools"] for trial in failed] == ["9"]
    assert failed[0].user_attrs["failure"].startswith("Fragile: 9 failed with RuntimeError: ")
    assert "best of 3 trained (1 failed)" in capsys.readouterr().out

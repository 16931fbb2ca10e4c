"""``--transfer`` and ``--pretrain``: what predictors make of them, end to end."""

import json
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictnas import transferring
from predictnas.cli import main
from predictnas.errors import InputError
from predictnas.knowledge import Knowledge
from predictnas.predictors import (
    GNNPredictor,
    RidgePredictor,
    TransferPredictor,
    get_predictor,
    load_predictor,
)
from predictnas.spaces import Space

FIT = ("fit", "--space", "nasbench201", "--labels", "labels.csv", "--features", "graph")
OTHER = ("--transfer", "labels.csv", "--transfer-target", "other")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GNNPredictor, "pretrain", partialmethod(GNNPredictor.pretrain, steps=2))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: Space) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transferring, "LEARNER", "ridge")  # quick
    archs = space.sample(50, np.random.default_rng(0), distinct=True)
    quality = (archs == 3).sum(axis=1) + 0.3 * np.random.default_rng(1).normal(size=len(archs))
    frame = pd.DataFrame({"arch": space.format_all(archs), "valid_accuracy": 60 + quality})
    other = -quality + 0.1 * np.random.default_rng(2).normal(size=50)
    frame.assign(other=other, proxy_a=1.0).to_csv("labels.csv", index=False)
    return tmp_path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def ignore(line: str) -> None:
    """Do nothing with a line."""


def test_fit_transfers_then_rank_uses_it(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*FIT, *OTHER, "--predictor", "ridge", "--limit", 20, "--out", "p.npz") == 0
    out = capsys.readouterr().out
    assert "46 labelled architectures of another task (other)" in out
    assert "cross-validation" in out
    predictor, metadata = load_predictor("p.npz")
    assert isinstance(predictor, TransferPredictor)
    assert isinstance(predictor.predictor, RidgePredictor)
    assert metadata["columns"] == []
    assert predictor.slope_ < 0  # what is good there is bad here
    rank = ("rank", "--space", "nasbench201", "--archs", "labels.csv", "--predictor", "p.npz")
    assert run(*rank, "--out", "ranked.csv") == 0
    ranked = pd.read_csv("ranked.csv").merge(pd.read_csv("labels.csv"), on="arch")
    assert ranked["predicted_mean"].corr(ranked["valid_accuracy"], method="kendall") > 0.4
    # What was fitted is another task's predictor in its turn.
    again = (*FIT, "--target", "other", "--predictor", "gp", "--transfer", "p.npz", "--limit", 4)
    assert run(*again, "--out", "q.npz") == 0
    assert "p.npz: a predictor of another task" in capsys.readouterr().out


def test_search_takes_another_task(
    work: Path, write_npz: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    search = ["search", "--space", "nasbench201", "--task", write_npz(), "--epochs", 1]
    search += ["--scale", "channels=4,cells=1", "--device", "cpu", "--proxies", "none"]
    search += ["--warm-start", 2, "--trials", 3, "--predictor", "ridge"]
    search += ["--study", "sqlite:///s.db", "--json", "s.json"]
    assert run(*search, "--transfer", "labels.csv") == 0
    assert "another task (valid_accuracy)" in capsys.readouterr().out
    origins = [trial["origin"] for trial in json.loads(Path("s.json").read_text())["trials"]]
    assert origins[2] == "acquisition"


def test_fit_pretrains(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = (*FIT, "--predictor", "gnn", "--limit", 4, "--out", "p.npz")
    assert run(*fit, "--pretrain", "labels.csv") == 0
    assert "50 architectures to pretrain on: graphs, proxy_a" in capsys.readouterr().out
    predictor, _ = load_predictor("p.npz")
    assert predictor.get_params()["pretrained"].members == 10


def test_benchmark_measures_variants_beside(work: Path) -> None:
    benchmark = ["benchmark", "predictors", "--space", "nasbench201", "--labels", "labels.csv"]
    benchmark += ["--features", "graph", "--sizes", 8, "--repeats", 2, "--workers", 1, *OTHER]
    assert run(*benchmark, "--predictors", "ridge", "--json", "b.json") == 0
    content = json.loads(Path("b.json").read_text())
    names = ["ridge", "ridge+transfer"]
    assert sorted(content["predictors"]) == sorted(names)
    assert [r["predictor"] for r in content["records"] if r["repeat"] == 0] == sorted(names)
    assert content["predictors"]["ridge+transfer"]["predictor"]["predictor"] == "ridge"
    taus = {r["predictor"]: r["kendall"] for r in content["records"] if r["repeat"] == 1}
    assert taus["ridge+transfer"] != taus["ridge"]
    before = Path("b.json").read_text()
    assert run(*benchmark, "--predictors", "ridge", "--json", "b.json") == 0
    assert Path("b.json").read_text() == before


def test_variants_of_predictors_that_can_be_pretrained(space: Space, work: Path) -> None:
    knowledge = Knowledge.read(space, pretrain="20", on_step=ignore)
    named = {"forest": get_predictor("forest"), "gnn": get_predictor("gnn", width=4, folds=2)}
    variants = knowledge.variants(named)
    assert list(variants) == ["forest", "gnn", "gnn+pretrain"]
    assert variants["gnn"].get_params()["pretrained"] is None
    first = variants["gnn+pretrain"]
    assert isinstance(first, GNNPredictor)
    assert first.pretrained is not None
    assert first.pretrained.operations == first.operations or first.operations == space.operations
    with pytest.raises(InputError, match="can be pretrained, gp, gnn, ridge, auto, found Forest"):
        knowledge.variants({"forest": named["forest"]})


def test_both_can_be_used_together(space: Space, work: Path) -> None:
    knowledge = Knowledge.read(
        space, transfer="labels.csv", transfer_target="other", pretrain="20", on_step=ignore
    )
    both = knowledge.used_by(get_predictor("gnn", width=4, folds=2))
    assert isinstance(both, TransferPredictor)
    assert isinstance(both.predictor, GNNPredictor)
    assert both.predictor.pretrained is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--transfer", "labels.csv"], "found those to predict in column 'valid_accuracy'"),
        (["--transfer-target", "other"], "expected --transfer with labels that have such a column"),
        (["--transfer", "p.npz", "--transfer-target", "other"], "expected --transfer with labels"),
        (["--transfer", "none.csv"], "none.csv"),
        (["--transfer", "p.npz"], "expected a saved predictor at p.npz"),
        (["--transfer", "nasbench"], "unknown table 'nasbench'"),
        (
            ["--pretrain", "20", "--predictor", "forest"],
            "can be pretrained, gp, gnn, ridge, auto, found ForestPredictor",
        ),
        (["--pretrain", "none.csv", "--predictor", "gnn"], "none.csv"),
        ([*OTHER, "--features", "proxies"], "other task reads, found graph missing"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*FIT, "--predictor", "gp", "--out", "out.npz", *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not Path("out.npz").exists()


def test_only_bananas_takes_another_task(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = ("search", "--space", "nasbench201", "--searcher", "random", "--trials", 1)
    assert run(*search, "--transfer", "labels.csv") == 2
    assert "--warm-start or --transfer; leave them out" in capsys.readouterr().err


def test_pretraining_needs_graphs_and_takes_the_seed(
    work: Path, space: Space, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fit", "--space", "nasbench201", "--labels", "labels.csv", "--out", "p.npz"]
    assert run(*command, "--features", "proxies", "--pretrain", 20) == 2
    message = "learns from graphs, found --features proxies; add graph to the features"
    assert message in " ".join(capsys.readouterr().err.split())
    knowledge = Knowledge.read(space, pretrain="20", seed=5, on_step=ignore)
    assert knowledge.used_by(get_predictor("gnn", steps=2)).get_params()["random_state"] == 5

"""Architectures to pretrain on, and predictors that can be."""

from functools import partialmethod
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.predictors import GNNPredictor, get_predictor
from predictnas.pretraining import can_be_pretrained, pretrained, pretraining_table
from predictnas.spaces import Space


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GNNPredictor, "pretrain", partialmethod(GNNPredictor.pretrain, steps=2))


def test_architectures_are_drawn(space: Space) -> None:
    table = pretraining_table("30", space, seed=2)
    assert list(table.columns) == ["graph"]
    drawn = space.sample(30, np.random.default_rng(2), distinct=True)
    assert table["graph"].tolist() == space.graphs(drawn)
    assert len(set(space.keys(drawn))) == 30


def test_scores_come_along_and_gaps_are_filled(space: Space, tmp_path: Path) -> None:
    archs = space.sample(5, np.random.default_rng(0), distinct=True)
    scores = pd.DataFrame(
        {
            "arch": space.format_all(archs),
            "proxy_snip": [1.0, np.nan, 3.0, 4.0, 5.0],
            "status_snip": "ok",
            "valid_accuracy": 50.0,
        }
    )
    path = tmp_path / "scores.csv"
    pd.concat([scores, scores]).to_csv(path, index=False)
    table = pretraining_table(str(path), space)
    assert list(table.columns) == ["graph", "proxy_snip"]
    assert table["proxy_snip"].tolist() == [1.0, 1.0, 3.0, 4.0, 5.0]
    assert table["graph"].tolist() == space.graphs(archs)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("arch,proxy_a\n|none~0|,1\n", "--pretrain .*architecture 1: expected"),
        ("cell,proxy_a\nx,1\n", "has no column 'arch'"),
        ("arch,proxy_a\n{cell},many\n", "must be numbers, column 'proxy_a' holds text"),
    ],
)
def test_tables_of_no_use_are_refused(
    content: str, message: str, space: Space, tmp_path: Path
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(content.replace("{cell}", space.format((0, 1, 2, 3, 0, 1))))
    with pytest.raises(InputError, match=message):
        pretraining_table(str(path), space)


def test_one_architecture_is_too_few(space: Space) -> None:
    with pytest.raises(InputError, match="2 architectures or more to pretrain on, found 1"):
        pretraining_table("1", space)


def test_who_can_be_pretrained(space: Space) -> None:
    table = pretraining_table("20", space)
    gnn = get_predictor("gnn", width=4)
    assert can_be_pretrained(gnn)
    assert pretrained(gnn, table).get_params()["pretrained"].width == 4
    assert not can_be_pretrained(get_predictor("forest"))
    with pytest.raises(InputError, match="can be pretrained, gp, gnn, ridge, auto, found Forest"):
        pretrained(get_predictor("forest"), table)


def test_target_is_nothing_to_pretrain_on(space: Space, tmp_path: Path) -> None:
    archs = space.sample(5, np.random.default_rng(0), distinct=True)
    frame = pd.DataFrame({"arch": space.format_all(archs), "proxy_a": 1.0, "proxy_b": 2.0})
    frame.to_csv(tmp_path / "scores.csv", index=False)
    table = pretraining_table(str(tmp_path / "scores.csv"), space, target="proxy_b")
    assert list(table.columns) == ["graph", "proxy_a"]

"""Where another task comes from, and what is none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictnas import transferring
from predictnas.errors import InputError
from predictnas.predictors import PREDICTORS, get_predictor, save_predictor
from predictnas.spaces import Space, get_space
from predictnas.tables import label_table

Write = Callable[..., Path]


@pytest.fixture
def frame(space: Space) -> pd.DataFrame:
    archs = space.sample(40, np.random.default_rng(0), distinct=True)
    quality = (archs == 3).sum(axis=1) + np.random.default_rng(1).normal(size=len(archs))
    texts = space.format_all(archs)
    return pd.DataFrame({"arch": texts, "valid_accuracy": 60 + quality, "other": quality})


@pytest.fixture
def table(frame: pd.DataFrame, tmp_path: Path) -> str:
    frame.to_csv(tmp_path / "table.csv", index=False)
    return str(tmp_path / "table.csv")


def test_labels_are_learned_from_graphs(
    table: str, frame: pd.DataFrame, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transferring, "LEARNER", "ridge")
    source = transferring.read_source_task(table, "other", space)
    assert source.columns == ("graph",)
    labels = label_table(frame, space, "other")
    assert len(source.identities) == len({graph.key() for graph in labels.graphs})
    alone = get_predictor("ridge", operations=space.operations)
    alone.fit(labels.features(proxies=False), labels.targets)
    assert alone.fingerprint_ == source.predictor.fingerprint_


def test_the_seed_is_that_of_the_learner(
    table: str, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transferring.LEARNER in PREDICTORS
    monkeypatch.setattr(transferring, "LEARNER", "forest")
    source = transferring.read_source_task(table, "other", space, seed=4)
    assert source.predictor.get_params()["random_state"] == 4


def test_a_saved_predictor_is_taken_as_it_is(
    frame: pd.DataFrame, space: Space, tmp_path: Path
) -> None:
    labels = label_table(frame, space, "other")
    predictor = get_predictor("ridge", operations=space.operations)
    predictor.fit(labels.features(), labels.targets)
    path = tmp_path / "ridge.npz"
    save_predictor(predictor, path, metadata={"space": space.name, "columns": []})
    source = transferring.read_source_task(str(path), "anything", space)
    X = labels.features()
    np.testing.assert_array_equal(source.predict(X), predictor.predict(X))
    with pytest.raises(InputError, match=r"fitted to architectures of nasbench201, not of darts"):
        transferring.read_source_task(str(path), "anything", get_space("darts"))


def test_labels_to_predict_are_no_other_task(
    table: str, frame: pd.DataFrame, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transferring, "LEARNER", "ridge")
    own = label_table(frame.sample(20, random_state=0), space, "valid_accuracy")
    with pytest.raises(InputError, match="found those to predict in column 'valid_accuracy' of"):
        transferring.read_source_task(table, "valid_accuracy", space, own=own)
    transferring.read_source_task(table, "other", space, own=own)
    # Where all shared labels are one number, as those of dead cells, tables may be two tasks.
    constant = label_table(frame.iloc[:3].assign(valid_accuracy=10.0), space, "valid_accuracy")
    assert not transferring._same_labels(constant, constant)


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("nasbench101", "other", "--transfer .*: 40 of 40 rows .* seems to hold those of another"),
        ("nasbench201", "accuracy", "--transfer .*: the table has no numeric column 'accuracy'"),
    ],
)
def test_what_is_of_no_use_is_refused(name: str, target: str, message: str, table: str) -> None:
    with pytest.raises(InputError, match=message):
        transferring.read_source_task(table, target, get_space(name))

"""Where another task comes from, and what is none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from predictnas import transferring
from predictnas.errors import InputError
from predictnas.predictors import PREDICTORS, get_predictor, save_predictor
from predictnas.spaces import Space, get_space
from predictnas.tables import label_table

Write = Callable[..., Path]


@pytest.fixture
def frame(space: Space) -> pd.DataFrame:
    archs = space.sample(40, np.random.default_rng(0), distinct=True)
    rng = np.random.default_rng(1)
    quality = (archs == 3).sum(axis=1) + rng.normal(size=len(archs))
    other = quality + 0.3 * rng.normal(size=len(archs))
    columns = {"arch": space.format_all(archs), "valid_accuracy": 60 + quality, "other": other}
    early = 30 + quality + other
    return pd.DataFrame(columns).assign(test_accuracy=60 + other, valid_accuracy_epoch12=early)


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


def moved(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[frame.index[3], "valid_accuracy"] += 0.01
    return frame


def noisy(frame: pd.DataFrame) -> pd.DataFrame:
    labels = frame["valid_accuracy"].to_numpy(np.float32).astype(np.float64)
    return frame.assign(valid_accuracy=labels)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.sample(frac=1, random_state=3),
        lambda frame: frame.iloc[:6],
        moved,
        noisy,
        lambda frame: frame.assign(valid_accuracy=100 - frame["valid_accuracy"]),
        lambda frame: frame.filter(["arch", "seed"]).assign(
            valid_accuracy=frame["valid_accuracy"] / 100  # alone: beside percent it is refused
        ),
        lambda frame: frame.assign(valid_accuracy=np.exp(frame["valid_accuracy"] / 10)),
        lambda frame: frame.assign(valid_accuracy=frame["valid_accuracy"].round(2)),
    ],
)
def test_labels_to_predict_are_known_in_disguise(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    frame: pd.DataFrame,
    space: Space,
    tmp_path: Path,
) -> None:
    own = label_table(frame, space, "valid_accuracy")
    change(frame.copy()).to_csv(tmp_path / "changed.csv", index=False)
    path = str(tmp_path / "changed.csv")
    with pytest.raises(InputError, match="found those to predict"):
        transferring.read_source_task(path, "valid_accuracy", space, own=own)


def test_one_seed_of_the_labels_to_predict_is_known(frame: pd.DataFrame, space: Space) -> None:
    rng = np.random.default_rng(7)
    noise = 2 * rng.normal(size=(4, len(frame)))
    seeds = [
        frame.assign(valid_accuracy=frame["valid_accuracy"] + each, seed=seed)
        for seed, each in enumerate(noise)
    ]
    own = label_table(pd.concat(seeds[:3]), space, "valid_accuracy")
    one = label_table(seeds[1].drop(columns="seed"), space, "valid_accuracy")
    assert abs(transferring.agreement(one, own)[1]) < 0.95
    assert transferring._same_labels(one, own)
    assert transferring._same_labels(own, one)
    # Trainings of yet another seed are not those to predict.
    assert not transferring._same_labels(label_table(seeds[3], space, "valid_accuracy"), own)


def test_test_labels_of_the_same_trainings_are_refused(
    table: str, frame: pd.DataFrame, space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transferring, "LEARNER", "ridge")
    for target in ("valid_accuracy", "valid_accuracy_epoch12"):
        own = label_table(frame, space, target)
        with pytest.raises(InputError, match=f"same trainings as '{target}' in column 'test_acc"):
            transferring.read_source_task(table, "test_accuracy", space, own=own)
    own = label_table(frame, space, "valid_accuracy")
    # Other trainings, of another dataset perhaps, under the same names.
    shuffled = np.random.default_rng(2).permutation(frame["valid_accuracy"].to_numpy())
    frame.assign(valid_accuracy=shuffled).to_csv(tmp_path / "far.csv", index=False)
    transferring.read_source_task(str(tmp_path / "far.csv"), "test_accuracy", space, own=own)


def test_columns_of_one_table_may_be_two_tasks(
    frame: pd.DataFrame, space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transferring, "LEARNER", "ridge")
    tasks = frame.rename(columns={"valid_accuracy": "class_scene", "other": "jigsaw"})
    tasks.to_csv(tmp_path / "tasks.csv", index=False)
    own = label_table(tasks.iloc[:30], space, "class_scene")
    lines: list[str] = []
    path = str(tmp_path / "tasks.csv")
    transferring.read_source_task(path, "jigsaw", space, own=own, on_step=lines.append)
    means = tasks.iloc[:30].assign(key=own.keys).groupby("key")[["jigsaw", "class_scene"]].mean()
    tau = kendalltau(means["jigsaw"], means["class_scene"]).statistic
    assert 0.5 < tau < 0.99
    shared, found = transferring.agreement(label_table(tasks.iloc[:30], space, "jigsaw"), own)
    assert (shared, found) == (len(means), pytest.approx(tau))
    assert len(lines) == 1
    assert f"between the tasks on {shared} shared architectures" in lines[0]


@pytest.mark.parametrize("name", ["ridge", "forest"])
def test_a_predictor_of_the_labels_to_predict_is_refused(
    name: str, frame: pd.DataFrame, space: Space, tmp_path: Path
) -> None:
    own = label_table(frame, space, "valid_accuracy")
    far = frame.assign(valid_accuracy=20 + 2 * frame["other"])
    path = tmp_path / "p.npz"
    lines: list[str] = []

    def read(labels: pd.DataFrame, target: str) -> None:
        learned = label_table(labels, space, target)
        predictor = get_predictor(name, operations=space.operations)
        predictor.fit(learned.features(proxies=False), learned.targets)
        noted = {"space": space.name, "columns": [], "target": target}
        save_predictor(predictor, path, metadata=noted)
        transferring.read_source_task(str(path), "any", space, own=own, on_step=lines.append)

    for labels in (frame, frame.iloc[:20]):
        with pytest.raises(InputError, match=r"may have been fitted to the labels .*valid_acc"):
            read(labels, "valid_accuracy")
    assert not lines
    read(far, "valid_accuracy")  # of another dataset, under the same name
    assert lines == [f"{path}: not held out for architectures that this predictor was fitted to"]


def test_the_name_tells_where_a_predictor_reads_what_is_not_there(
    frame: pd.DataFrame, space: Space, tmp_path: Path
) -> None:
    own = label_table(frame, space, "valid_accuracy")
    inputs = label_table(frame.assign(proxy_a=frame["other"]), space, "valid_accuracy")
    predictor = get_predictor("ridge", operations=space.operations)
    predictor.fit(inputs.features(), inputs.targets)
    for target, same in (("valid_accuracy", True), ("class_scene", False)):
        assert transferring._predicts_as_its_own(predictor, own, target) is same


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

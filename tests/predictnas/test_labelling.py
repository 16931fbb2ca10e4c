"""Labelling with several seeds, in this process and in workers."""

import os
import signal
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from torch import nn

from predictnas import labelling
from predictnas.label_queue import LabelQueue
from predictnas.labelling import run_trials
from predictnas.labels import enqueue_architectures, labels_frame, load_study, open_study
from predictnas.scoring import ProxyScorer
from predictnas.spaces import Arch, Space
from predictnas.spaces.nasbench201 import NasBench201
from predictnas.storages import StudyAddress
from predictnas.training import Epoch, Recipe, Task, TrainingObjective

pytestmark = pytest.mark.usefixtures("quiet_and_single")

CELLS = [(3, 1, 2, 4, 1, 0), (0, 0, 0, 0, 0, 1)]
DEADLY = (1,) * 6
MEASURED = ("train_loss", "train_accuracy", "valid_loss", "test_loss", "test_accuracy")


class DeadlySpace(NasBench201):
    """Kills the process that builds one of its cells."""

    def build(self, arch: Arch, *args: object, **scale: int) -> nn.Module:  # type: ignore[override]
        if tuple(arch) == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().build(arch, *args, **scale)  # type: ignore[arg-type]


@pytest.fixture
def address(tmp_path: Path) -> StudyAddress:
    return StudyAddress.parse(f"sqlite:///{tmp_path}/labels.db")


def test_several_seeds_in_workers_and_here_give_the_same_labels(
    tmp_path: Path, space: Space, tiny_task: Task, tiny_recipe: Recipe
) -> None:
    found = {}
    for workers in (1, 2):
        address = StudyAddress.parse(f"sqlite:///{tmp_path}/{workers}.db")
        scorer = ProxyScorer(space, tiny_task, tiny_recipe, ["params", "snip"], device="cpu")
        objective = TrainingObjective(space, tiny_task, tiny_recipe, device="cpu", scorer=scorer)
        with open_study(address, space, tiny_task, tiny_recipe) as study:
            queue = LabelQueue(study, space, (0, 1))
            queue.add(CELLS, origin="given")
            # What waits for more than it gets stops short of the total.
            assert run_trials(study, objective, 9, queue=queue, workers=workers) == 4
        study = load_study(address)
        frame = labels_frame(study)
        assert sorted(zip(frame["arch"], frame["seed"], strict=True)) == sorted(
            (space.format(cell), seed) for cell in CELLS for seed in (0, 1)
        )
        # Scored once, with the first seed, and repeated with the other.
        assert [("proxies" in t.user_attrs) for t in study.trials] == [True, False] * 2
        assert (frame.groupby("arch")["proxy_params"].nunique() == 1).all()
        assert frame["proxy_snip"].notna().all()
        found[workers] = {
            (t.user_attrs["key"], t.user_attrs["provenance"]["seed"]): (
                t.value,
                t.intermediate_values,
                t.user_attrs.get("proxies"),
                *(t.user_attrs[name] for name in MEASURED),
            )
            for t in study.trials
        }
        assert all(len(t.user_attrs["valid_loss"]) == 2 for t in study.trials)
    assert found[1] == found[2]
    one, other = ((space.key(CELLS[0]), seed) for seed in (0, 1))
    assert found[1][one] != found[1][other]


def test_a_killed_worker_fails_its_trial_and_pruners_stop_theirs(
    address: StudyAddress, tiny_task: Task, tiny_recipe: Recipe
) -> None:
    space = DeadlySpace()
    objective = TrainingObjective(space, tiny_task, tiny_recipe, device="cpu")
    pruner = optuna.pruners.ThresholdPruner(lower=101.0)
    ended: list[int] = []
    with open_study(address, space, tiny_task, tiny_recipe, pruner=pruner) as study:
        enqueue_architectures(study, space, [DEADLY, CELLS[0]], origin="given", seeds=(3,))
        count = run_trials(
            study, objective, 2, [lambda _, trial: ended.append(trial.number)], workers=2
        )
        assert count == 2
        dead, pruned = study.trials
    assert sorted(ended) == [0, 1]
    assert dead.state == TrialState.FAIL
    assert "worker process was killed by signal 9" in dead.user_attrs["failure"]
    assert pruned.state == TrialState.PRUNED
    assert list(pruned.intermediate_values) == [1]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_label_is_redone_with_its_seed(
    address: StudyAddress, space: Space, tiny_task: Task, tiny_recipe: Recipe, workers: int
) -> None:
    def interrupt(trial: optuna.Trial, epoch: Epoch) -> None:
        raise KeyboardInterrupt

    broken = TrainingObjective(
        space, tiny_task, tiny_recipe, seed=5, device="cpu", on_epoch=interrupt
    )
    with open_study(address, space, tiny_task, tiny_recipe) as study:
        queue = LabelQueue(study, space, (5, 6))
        queue.add(CELLS[:1], origin="given")
        queue.fill(2)
        study.ask()  # seed 5 stays behind, as after a kill
        with pytest.raises(KeyboardInterrupt):
            run_trials(study, broken, 2, queue=queue, workers=workers)
    with open_study(address, space, tiny_task, tiny_recipe) as study:
        waiting = study.get_trials(states=(TrialState.WAITING,))
        assert [trial.user_attrs["seed"] for trial in waiting] == [5, 6]
        queue = LabelQueue(study, space, (5, 6))
        assert queue.add(CELLS[:1], origin="given") == 0
        objective = TrainingObjective(space, tiny_task, tiny_recipe, seed=5, device="cpu")
        assert run_trials(study, objective, 2, queue=queue) == 2
        assert labels_frame(study)["seed"].tolist() == [5, 6]


def test_workers_start_by_themselves_once_it_is_worth_it(
    address: StudyAddress,
    space: Space,
    tiny_task: Task,
    tiny_recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []

    def start(objective: TrainingObjective, count: int, threads: int) -> None:
        started.append(count)
        raise InterruptedError

    monkeypatch.setattr(labelling, "_workers", start)
    monkeypatch.setattr(labelling, "usable_cores", lambda: 2)
    objective = TrainingObjective(space, tiny_task, tiny_recipe, device="cpu")
    with open_study(address, space, tiny_task, tiny_recipe) as study:
        enqueue_architectures(study, space, CELLS, origin="given", seeds=(0, 1))
        run_trials(study, objective, 1, workers=None)
        assert started == []
        monkeypatch.setattr(labelling, "START_UP_SECONDS", 0.0)
        with pytest.raises(InterruptedError):
            run_trials(study, objective, 4, workers=None)
        assert started == [2]
        assert len(labels_frame(study)) == 2

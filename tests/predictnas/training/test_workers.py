"""Training in worker processes: the same labels, and what happens when one fails or dies."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from predictnas.errors import CandidateError, InputError
from predictnas.scoring import ProxyScorer
from predictnas.spaces import Arch, Space
from predictnas.spaces.nasbench201 import NasBench201
from predictnas.training import Epoch, Recipe, Task, Training, train_architecture
from predictnas.training.objective import score_architecture
from predictnas.training.processes import WorkerError, WorkerProcess
from predictnas.training.workers import Answer, TrainingWorkers

CELL, DEADLY, WRONG = (3, 1, 2, 4, 1, 0), (1,) * 6, (2,) * 6


class FailingSpace(NasBench201):
    """Fails in its own way at some cells, wherever it is."""

    def build(self, arch: Arch, *args: object, **scale: int) -> nn.Module:  # type: ignore[override]
        if tuple(arch) == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        if tuple(arch) == WRONG:
            raise InputError("expected another cell")
        return super().build(arch, *args, **scale)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def collect(pool: TrainingWorkers, ended: int) -> dict[int, list[Answer]]:
    """Wait until so many jobs have ended; return everything that came of each."""
    found: dict[int, list[Answer]] = {}
    while ended:
        for number, answer in pool.answers(60):
            found.setdefault(number, []).append(answer)
            ended -= isinstance(answer, Training | CandidateError)
    return found


def measured(training: Training) -> list[float]:
    values = [training.test_loss, training.test_accuracy]
    for epoch in training.epochs:
        values += [
            *(epoch.train_loss, epoch.train_accuracy),
            *(epoch.valid_loss, epoch.valid_accuracy),
        ]
    return values


def test_labels_are_those_of_this_process_bit_by_bit(
    space: Space, tiny_task: Task, tiny_recipe: Recipe
) -> None:
    scorer = ProxyScorer(space, tiny_task, tiny_recipe, ["params", "snip"], device="cpu")
    pool = TrainingWorkers(space, tiny_task, tiny_recipe, scorer=scorer, count=2)
    with contextlib.closing(pool):
        pool.submit(7, CELL, 0, scored=True)
        pool.submit(8, CELL, 1)
        assert not pool.idle
        found = collect(pool, 2)
        assert pool.idle
    for number, seed in ((7, 0), (8, 1)):
        *before, training = found[number]
        _, here = train_architecture(space, CELL, tiny_task, tiny_recipe, seed=seed)
        assert isinstance(training, Training)
        assert measured(training) == measured(here)
        assert [answer for answer in before if isinstance(answer, Epoch)] == list(training.epochs)
    assert found[7][0] == score_architecture(scorer, CELL)
    assert not any(isinstance(answer, dict) for answer in found[8])


def test_death_of_a_worker_is_its_candidates_failure(tiny_task: Task, tiny_recipe: Recipe) -> None:
    with contextlib.closing(TrainingWorkers(FailingSpace(), tiny_task, tiny_recipe)) as pool:
        pool.submit(0, DEADLY, 0)
        (error,) = collect(pool, 1)[0]
        assert isinstance(error, CandidateError)
        assert str(error) == "its worker process was killed by signal 9, perhaps for want of memory"
        # Another one stands in its place, and passes on what is nobody's fault but ours.
        pool.submit(1, CELL, 0)
        assert isinstance(collect(pool, 1)[1][-1], Training)
        pool.submit(2, WRONG, 0)
        with pytest.raises(InputError, match="expected another cell"):
            collect(pool, 1)


def test_a_stopped_training_is_not_heard_of_again(
    space: Space, tiny_task: Task, tiny_recipe: Recipe
) -> None:
    recipe = Recipe.from_dict({**tiny_recipe.to_dict(), "epochs": 10_000})
    with contextlib.closing(TrainingWorkers(space, tiny_task, recipe, time_limit=60)) as pool:
        pool.submit(0, CELL, 0)
        assert pool.answers(60) == []  # it is ready
        ((number, epoch),) = pool.answers(60)
        assert number == 0
        assert isinstance(epoch, Epoch)
        pool.stop(0)
        while not pool.idle:
            assert pool.answers(60) == []
        pool.submit(1, CELL, 0)
        ((number, again),) = pool.answers(60)
        assert number == 1
        assert isinstance(again, Epoch)
        assert again.train_loss == epoch.train_loss


def test_a_worker_that_cannot_start(
    space: Space, tiny_task: Task, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = WorkerProcess.start
    monkeypatch.setattr(WorkerProcess, "start", lambda work: real(_leave))
    message = "ended with exit code 3 while it started.*--workers 1"
    with contextlib.closing(TrainingWorkers(space, tiny_task, tiny_recipe)) as pool:
        pool.submit(0, CELL, 0)
        with pytest.raises(WorkerError, match=message):
            pool.answers(60)


def _leave(_: object) -> None:
    os._exit(3)

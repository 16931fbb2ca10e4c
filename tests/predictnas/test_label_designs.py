"""Designs that go on filling a study: resumed, with seeds, in rounds, in workers."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from predictnas import label_designs, labelling
from predictnas.errors import InputError
from predictnas.label_designs import DesignedQueue, check_design
from predictnas.label_queue import random_architectures
from predictnas.labelling import run_trials
from predictnas.labels import enqueue_architectures
from predictnas.search import DESIGNS, diverse_design
from predictnas.spaces import Arch, Space, get_space
from predictnas.training import Epoch, Recipe, Task, Training, TrainingObjective

GIVEN = [(1, 3, 0, 0, 0, 1), (3,) * 6]
POOL = 60


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    monkeypatch.setattr(label_designs, "POOL", POOL)
    yield
    optuna.logging.set_verbosity(before)


def label_of(key: str, seed: int) -> float:
    return 50 + int(key[:6], 16) / 2**20 + seed


def label(study: optuna.Study, count: int | None = None) -> None:
    """End waiting trials as trainings do."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    for _ in waiting[:count]:
        trial = study.ask()
        key, seed = trial.user_attrs["key"], trial.user_attrs["seed"]
        trial.set_user_attr("provenance", {"seed": seed})
        trial.set_user_attr("test_accuracy", 0.0)
        trial.set_user_attr("seconds", 1.0)
        study.tell(trial, label_of(key, seed))


def finish(make: Callable[[optuna.Study], DesignedQueue], study: optuna.Study, total: int) -> None:
    """Label until the study holds a number of labels, in one go."""
    queue = make(study)
    while len(study.trials) < total:
        queue.refill(total - len(study.trials))
        label(study)


def labelled(study: optuna.Study) -> list[tuple[str, int]]:
    return [(trial.user_attrs["key"], trial.user_attrs["seed"]) for trial in study.trials]


def maker(
    space: Space, design: str, seeds: int = 1, **options: Any
) -> Callable[[optuna.Study], DesignedQueue]:
    return lambda study: DesignedQueue(study, space, range(seeds), design, seed=7, **options)


def pool_of(space: Space, size: int) -> tuple[list[str], pd.DataFrame]:
    """The first distinct architectures of the random order, block by block."""
    found: dict[str, Arch] = {}
    source = random_architectures(space, 7)
    while len(found) < size:
        for arch in islice(source, label_designs.KEYS_AT_ONCE):
            found.setdefault(space.key(arch), arch)
    return list(found), pd.DataFrame({"graph": space.graphs(list(found.values()))})


def test_a_diverse_design_is_that_of_the_pool(space: Space) -> None:
    study = optuna.create_study()
    lines: list[str] = []
    finish(maker(space, "diverse", on_step=lines.append), study, 9)
    keys, pool = pool_of(space, POOL)
    expected = [keys[row] for row in diverse_design(pool, 9, seed=7)]
    assert labelled(study) == [(key, 0) for key in expected]
    assert lines == [f"diverse: 9 of {len(keys)} architectures chosen"]
    assert {trial.user_attrs["origin"] for trial in study.trials} == {"diverse"}


@pytest.mark.parametrize("done", [1, 5, 9])
@pytest.mark.parametrize("given", [[], GIVEN])
def test_a_diverse_design_is_the_same_however_killed(
    space: Space, done: int, given: list[Arch]
) -> None:
    make = maker(space, "diverse", seeds=3)
    whole, parts = (optuna.create_study() for _ in range(2))
    for study in (whole, parts):
        enqueue_architectures(study, space, given, origin="given", seeds=range(3))
        label(study)
    total = len(whole.trials) + 10
    finish(make, whole, total)
    # What the queue held in memory is lost; what waits in the study is not.
    make(parts).refill(10)
    label(parts, done)
    label(parts)
    finish(make, parts, total)
    assert labelled(parts) == labelled(whole)
    keys = [key for key, _ in labelled(whole)[-10:]]
    assert [keys.count(key) for key in dict.fromkeys(keys)] == [3, 3, 3, 1]


def test_a_larger_number_adds_to_a_design(space: Space) -> None:
    make, study = maker(space, "diverse", seeds=2), optuna.create_study()
    finish(make, study, 5)
    first = labelled(study)
    finish(make, study, 12)
    assert labelled(study)[:5] == first
    keys = [key for key, _ in labelled(study)]
    assert len(keys) == 12
    assert {keys.count(key) for key in keys} == {2}


def test_an_uncertain_design_looks_at_labels_round_by_round(space: Space) -> None:
    lines: list[str] = []
    make = maker(space, "uncertain", seeds=2, round_size=6, on_step=lines.append)
    study = optuna.create_study()
    queue = make(study)
    assert queue.refill(40) == 12  # a round, whole and with all seeds
    label(study, 11)
    assert queue.refill(28, running=1) == 0
    label(study)
    assert queue.refill(28) == 12
    keys, pool = pool_of(space, POOL)
    first = diverse_design(pool, 6, seed=7)
    held = np.isin(np.arange(len(keys)), first)
    means = np.array([(label_of(key, 0) + label_of(key, 1)) / 2 for key in keys])
    labels = np.where(held, means, np.nan)
    second = DESIGNS["uncertain"](pool, 6, seed=7, held=held, labels=labels)
    rows = [*first, *second]
    assert labelled(study) == [(keys[row], seed) for row in rows for seed in range(2)]
    assert lines[1] == f"uncertain: 6 of {len(keys)} architectures chosen, given 6 labelled ones"
    # The labels of an earlier study, whatever chose them, are looked at from the first round on.
    other = optuna.create_study()
    archs = list(islice(random_architectures(space, 99), 8))
    enqueue_architectures(other, space, archs, origin="given", seeds=(0,))
    label(other)
    make(other).refill(4)
    assert lines[-1].endswith(
        f"chosen, given {len({space.key(arch) for arch in archs})} labelled ones"
    )


def test_an_uncertain_design_that_was_killed_goes_on_with_its_round(space: Space) -> None:
    make = maker(space, "uncertain", seeds=2)
    whole, parts = (optuna.create_study() for _ in range(2))
    finish(make, whole, 25)
    for study_total in (10, 20):
        make(parts).refill(25 - len(parts.trials))
        label(parts, 7)
        label(parts)
        assert len(parts.trials) == study_total
    finish(make, parts, 25)
    assert labelled(parts) == labelled(whole)


def test_a_space_can_be_used_up_but_no_further(space: Space) -> None:
    class Few(type(space)):  # type: ignore[misc]
        def iterate(self) -> np.ndarray:
            return np.array([*GIVEN, (1, 0, 3, 0, 0, 1), (2,) * 6, (0,) * 6])  # two are twins

    for design in ("diverse", "uncertain"):
        study = optuna.create_study()
        finish(maker(Few(), design), study, 4)
        assert len({key for key, _ in labelled(study)}) == 4
        message = "too few distinct architectures: 1 more labels .* lower --trials"
        with pytest.raises(InputError, match=message):
            maker(Few(), design)(study).refill(1)


def test_large_spaces_are_sampled() -> None:
    space, study = get_space("darts"), optuna.create_study()
    finish(maker(space, "uncertain"), study, 7)
    assert len({key for key, _ in labelled(study)}) == 7


def test_more_labels_have_a_larger_pool(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_designs, "POOL", 1)
    lines: list[str] = []
    maker(space, "diverse", on_step=lines.append)(optuna.create_study()).refill(90)
    keys, _ = pool_of(space, 360)
    assert lines == [f"diverse: 90 of {len(keys)} architectures chosen"]


@pytest.mark.parametrize("name", DESIGNS)
def test_choices_that_cannot_be_are_refused(name: str) -> None:
    check_design(name, None, 20)
    if name != "random":
        with pytest.raises(InputError, match=f"--design {name} chooses what --archs leaves"):
            check_design(name, None, None)
    if name != "uncertain":
        with pytest.raises(InputError, match=f"--design {name} .* takes no --batch; .*: uncertain"):
            check_design(name, 5, 20)
    with pytest.raises(InputError, match="unknown design 'best'; choose from: random, diverse, un"):
        check_design("best", None, 20)


class Workers:
    """What stands for worker processes: the training begun last ends first."""

    def __init__(self, space: Space, count: int) -> None:
        self.space = space
        self.count = count
        self.jobs: list[tuple[int, Arch, int]] = []
        self.most = 0

    @property
    def idle(self) -> bool:
        return len(self.jobs) < self.count

    def submit(self, number: int, arch: Arch, seed: int, *, scored: bool) -> None:
        self.jobs.append((number, arch, seed))
        self.most = max(self.most, len(self.jobs))

    def answers(self) -> list[tuple[int, Training]]:
        number, arch, seed = self.jobs.pop()
        epoch = Epoch(1, 0.0, 0.0, 0.0, label_of(self.space.key(arch), seed), 1.0)
        return [(number, Training((epoch,), 0.0, 0.0, 1.0, 1.0))]

    def close(self) -> None:
        assert not self.jobs


@pytest.mark.parametrize("design", ["diverse", "uncertain"])
def test_what_is_chosen_does_not_depend_on_the_number_of_workers(
    space: Space,
    tiny_task: Task,
    tiny_recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    design: str,
) -> None:
    objective = TrainingObjective(space, tiny_task, tiny_recipe, device="cpu")
    alone = optuna.create_study(direction="maximize")
    finish(maker(space, design, seeds=2), alone, 25)
    for count in (2, 3, 20):
        workers = Workers(space, count)
        monkeypatch.setattr(labelling, "_workers", lambda *_, workers=workers: workers)
        study = optuna.create_study(direction="maximize")
        queue = maker(space, design, seeds=2)(study)
        assert run_trials(study, objective, 25, queue=queue, workers=count) == 25
        assert labelled(study) == labelled(alone)
        # A round of five architectures with two seeds is all there is to do at a time.
        assert workers.most == (min(count, 10) if design == "uncertain" else count)

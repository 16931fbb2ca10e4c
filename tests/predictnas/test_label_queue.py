from collections.abc import Iterator

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from predictnas import label_queue
from predictnas.errors import InputError
from predictnas.label_queue import LabelQueue
from predictnas.labels import enqueue_architectures
from predictnas.spaces import Arch, Space

ONE, TWIN, OTHER = (1, 3, 0, 0, 0, 1), (1, 0, 3, 0, 0, 1), (3,) * 6


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study()


def queued(study: optuna.Study, space: Space) -> list[tuple[Arch, int | None]]:
    return [
        (space.parse(trial.user_attrs["arch"]), trial.user_attrs.get("seed"))
        for trial in study.get_trials(states=(TrialState.WAITING,))
    ]


def test_all_seeds_of_an_architecture_before_the_next(study: optuna.Study, space: Space) -> None:
    queue = LabelQueue(study, space, (5, 6))
    assert queue.add([ONE, TWIN, OTHER], origin="given") == 4
    assert queue.fill(3) == 3
    assert len(queue) == 1
    assert queued(study, space) == [(ONE, 5), (ONE, 6), (OTHER, 5)]
    assert queue.fill(9) == 1
    assert queued(study, space)[-1] == (OTHER, 6)
    assert {trial.user_attrs["origin"] for trial in study.trials} == {"given"}


def test_what_the_study_holds_is_left_out_seed_by_seed(study: optuna.Study, space: Space) -> None:
    enqueue_architectures(study, space, [ONE, OTHER], origin="given", seeds=(0,))
    queue = LabelQueue(study, space, range(3))
    assert queue.add([TWIN], origin="given") == 2
    queue.fill(2)
    assert queued(study, space) == [(ONE, 0), (OTHER, 0), (TWIN, 1), (TWIN, 2)]
    assert enqueue_architectures(study, space, [ONE], origin="given") == 0


def test_what_names_no_seed_gets_the_first(study: optuna.Study, space: Space) -> None:
    study.enqueue_trial(space.params(ONE))
    queue = LabelQueue(study, space, (4, 5))
    assert queue.add([ONE], origin="given") == 1
    queue.fill(1)
    assert study.trials[1].user_attrs["seed"] == 5


def test_what_others_queued_meanwhile_is_left_out(study: optuna.Study, space: Space) -> None:
    queue = LabelQueue(study, space, (0, 1))
    queue.add([ONE, OTHER], origin="given")
    enqueue_architectures(study, space, [TWIN], origin="given", seeds=(1,))
    assert queue.fill(3) == 3
    assert queued(study, space) == [(TWIN, 1), (ONE, 0), (OTHER, 0), (OTHER, 1)]


class TestRandom:
    @pytest.mark.parametrize("small", [label_queue.SMALL_SPACE, 1])
    def test_is_the_same_however_resumed(
        self, space: Space, monkeypatch: pytest.MonkeyPatch, small: int
    ) -> None:
        monkeypatch.setattr(label_queue, "SMALL_SPACE", small)
        found = []
        for counts in ((10,), (2, 5, 3)):
            study = optuna.create_study()
            for count in counts:
                queue = LabelQueue(study, space, range(3))
                queue.add_random(count, seed=1)
                assert queue.fill(count) == count
                assert len(queue) == 0
            found.append(queued(study, space))
        assert found[0] == found[1]
        keys = [space.key(arch) for arch, _ in found[0]]
        assert [seed for _, seed in found[0]] == [0, 1, 2] * 3 + [0]
        assert len(set(keys)) == 4

    def test_a_space_can_be_used_up(self, study: optuna.Study, space: Space) -> None:
        class Few(type(space)):  # type: ignore[misc]
            def iterate(self) -> np.ndarray:
                return np.array([ONE, TWIN, OTHER])

        queue = LabelQueue(study, Few(), (0,))
        queue.add_random(2, seed=0)
        assert len(queue) == 2
        message = "too few distinct architectures: 2 more labels .* lower --trials"
        with pytest.raises(InputError, match=message):
            queue.add_random(2, seed=0)

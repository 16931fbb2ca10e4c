"""What every registered searcher must do, as an Optuna sampler over a space."""

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from predictnas.errors import InputError
from predictnas.search import SEARCHERS, get_searcher
from predictnas.spaces import Space

OPTIONS: dict[str, dict[str, Any]] = {"bananas": {"num_initial": 4, "predictor": "forest"}}

# Optuna's own samplers know nothing of isomorphism: they are baselines as they come.
REPEATS = {
    "random": "draws independently of what was drawn before",
    "tpe": "may propose its favourite again",
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)


def make(name: str, space: Space, seed: int = 0) -> optuna.samplers.BaseSampler:
    return get_searcher(name)(space, seed=seed, **OPTIONS.get(name, {}))


def convolutions(space: Space, arch: tuple[int, ...]) -> float:
    """A smooth objective: how many edges are 3 × 3 convolutions, a little of 1 × 1."""
    row = np.array(arch)
    return float((row == 3).sum() + 0.3 * (row == 2).sum())


def run(name: str, space: Space, trials: int, seed: int = 0) -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=make(name, space, seed))
    study.optimize(lambda trial: convolutions(space, space.suggest(trial)), n_trials=trials)
    return study


@pytest.mark.parametrize("name", SEARCHERS)
class TestEverySearcher:
    def test_proposes_valid_architectures(self, name: str, space: Space) -> None:
        archs = [space.from_params(trial.params) for trial in run(name, space, 8).trials]
        assert space.is_valid(np.array(archs)).all()

    def test_seed_decides(self, name: str, space: Space) -> None:
        def proposals(seed: int) -> list[dict[str, Any]]:
            return [trial.params for trial in run(name, space, 7, seed).trials]

        np.random.seed(1)  # noqa: NPY002 (the global stream must not matter)
        assert proposals(3) == proposals(3)
        assert proposals(3) != proposals(4)

    def test_queued_architectures_go_first(self, name: str, space: Space) -> None:
        study = optuna.create_study(direction="maximize", sampler=make(name, space))
        study.enqueue_trial(space.params((3, 3, 3, 3, 3, 3)))
        study.optimize(lambda trial: convolutions(space, space.suggest(trial)), n_trials=2)
        assert space.from_params(study.trials[0].params) == (3, 3, 3, 3, 3, 3)

    def test_goes_on_after_failures(self, name: str, space: Space) -> None:
        def objective(trial: optuna.Trial) -> float:
            arch = space.suggest(trial)
            if trial.number % 2:
                raise RuntimeError("out of memory")
            return convolutions(space, arch)

        study = optuna.create_study(direction="maximize", sampler=make(name, space))
        study.optimize(objective, n_trials=12, catch=(RuntimeError,))
        states = [trial.state for trial in study.trials]
        assert states == [TrialState.COMPLETE, TrialState.FAIL] * 6

    def test_repeats_nothing_up_to_isomorphism(self, name: str, space: Space) -> None:
        if name in REPEATS:
            pytest.skip(REPEATS[name])
        keys = [space.key(space.from_params(trial.params)) for trial in run(name, space, 25).trials]
        assert len(set(keys)) == 25

    def test_independent_parameters_can_be_asked_for_beside(self, name: str, space: Space) -> None:
        def objective(trial: optuna.Trial) -> float:
            return convolutions(space, space.suggest(trial)) + trial.suggest_float("x", 0, 1)

        study = optuna.create_study(direction="maximize", sampler=make(name, space))
        study.optimize(objective, n_trials=3)
        assert all(0 <= trial.params["x"] <= 1 for trial in study.trials)


def test_unknown_searcher() -> None:
    with pytest.raises(InputError, match="unknown searcher 'evolve'; choose from: bananas, random"):
        get_searcher("evolve")

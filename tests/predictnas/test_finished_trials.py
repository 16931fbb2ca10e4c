import math
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from predictnas.finished_trials import add_finished_trials
from predictnas.storages import StudyAddress, open_storage

CHOICES = {"operation": CategoricalDistribution(("a", "b")), "width": FloatDistribution(0.0, 2.0)}


def finished(number: int) -> FrozenTrial:
    """Return a trial with everything that a trial can hold."""
    failed = number % 5 == 4
    return create_trial(
        state=TrialState.FAIL if failed else TrialState.COMPLETE,
        value=None if failed else math.inf if number == 0 else number / 7,
        params={"operation": "ab"[number % 2], "width": number / 300},
        distributions=CHOICES,
        user_attrs={"key": f"k{number}", "curve": [0.1, number], "nothing": None},
        system_attrs={"note": {"n": number}},
        intermediate_values={1: math.nan, 2: -math.inf, 7: number / 3},
    )


def study_in(storage: str, name: str = "study") -> optuna.Study:
    return optuna.create_study(
        storage=open_storage(StudyAddress.parse(storage)), study_name=name, direction="maximize"
    )


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_trials_are_what_optuna_makes_of_them(tmp_path: Path, kind: str) -> None:
    """Over several insertions, beside another study, after trials and before others."""
    trials = [finished(number) for number in range(450)]
    study = study_in(f"{kind}:///{tmp_path}/labels")
    study_in(f"{kind}:///{tmp_path}/labels", "another").add_trial(trials[0])
    oracle = optuna.create_study(direction="maximize")
    study.add_trial(trials[3])
    assert len(study.get_trials()) == 1  # which Optuna remembers
    added: list[int] = []
    add_finished_trials(study, trials, lambda: added.append(len(added)))
    study.add_trial(trials[2])
    for trial in (trials[3], *trials, trials[2]):
        oracle.add_trial(trial)
    assert len(added) == 450
    for found, expected in zip(study.get_trials(), oracle.get_trials(), strict=True):
        assert contents(found) == contents(expected)


def contents(trial: FrozenTrial) -> dict[str, object]:
    """Return what a trial holds but the number by which its storage knows it; NaN equals NaN."""
    return {
        "number": trial.number,
        "state": trial.state,
        "values": trial.values,
        "params": trial.params,
        "distributions": trial.distributions,
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "steps": {step: repr(value) for step, value in trial.intermediate_values.items()},
        "times": (trial.datetime_start, trial.datetime_complete),
    }


def test_nothing_is_added_of_nothing(tmp_path: Path) -> None:
    study = study_in(f"sqlite:///{tmp_path}/labels.db")
    add_finished_trials(study, [], lambda: None)
    assert study.get_trials() == []

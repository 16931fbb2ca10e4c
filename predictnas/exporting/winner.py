"""Retraining the winner of a study and writing it out."""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import optuna
from optuna.trial import FrozenTrial, TrialState

from predictnas.errors import InputError
from predictnas.exporting.architecture import Export, export_architecture
from predictnas.spaces import Space
from predictnas.training import Epoch, Recipe, Task, study_fingerprint

__all__ = ["export_winner"]


def export_winner(
    study: optuna.Study,
    space: Space,
    task: Task,
    recipe: Recipe,
    directory: Path | str,
    *,
    trial: int | None = None,
    device: str = "auto",
    seed: int | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Export:
    """Retrain the best architecture of a study and write it in all forms.

    Parameters
    ----------
    study
        Where it was labelled.
    space, task, recipe
        What the study's labels mean.
    directory, device, on_epoch, on_step
        As for :func:`~predictnas.exporting.architecture.export_architecture`, which says what is
        written.
    trial
        Number of the trial to export instead of the best one.
    seed
        Seed of the training; None: that of the label.

    Raises
    ------
    InputError
        If the study holds labels of something else or no such label, or the directory cannot be
        written.
    CandidateError
        If the training fails.
    """
    _check_fingerprint(study, space, task, recipe)
    chosen = _best(study) if trial is None else _numbered(study, trial)
    assert chosen.value is not None  # a complete trial has one
    if seed is None:
        seed = int(chosen.user_attrs.get("provenance", {}).get("seed", 0))
    label = {
        "study": study.study_name,
        "trial": chosen.number,
        "valid_accuracy": chosen.value,
        "test_accuracy": chosen.user_attrs.get("test_accuracy"),
        "device": chosen.user_attrs.get("provenance", {}).get("device"),
    }
    return export_architecture(
        space,
        space.from_params(chosen.params),
        task,
        recipe,
        directory,
        seed=seed,
        device=device,
        on_epoch=on_epoch,
        on_step=on_step,
        label=label,
    )


def _check_fingerprint(study: optuna.Study, space: Space, task: Task, recipe: Recipe) -> None:
    expected = study_fingerprint(space, task, recipe)
    found = study.user_attrs.get("fingerprint")
    if found != expected:
        raise InputError(
            f"study {study.study_name!r} holds labels of another space, task or recipe: expected "
            f"the fingerprint {expected}, found {found}; give those that it was labelled with"
        )


def _best(study: optuna.Study) -> FrozenTrial:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    measured = [trial for trial in complete if "copied_from" not in trial.user_attrs]
    if not measured:
        raise InputError(
            f"study {study.study_name!r} holds no label yet: nothing to export; "
            "train candidates into it first"
        )
    by_key: dict[str, list[FrozenTrial]] = {}
    for trial in measured:
        by_key.setdefault(trial.user_attrs["key"], []).append(trial)
    # Of several seeds the mean counts; the best of many draws would flatter.
    best = max(
        by_key.values(), key=lambda group: (fmean(t.value or 0.0 for t in group), -group[0].number)
    )
    return best[0]


def _numbered(study: optuna.Study, number: int) -> FrozenTrial:
    for trial in study.get_trials(deepcopy=False):
        if trial.number == number and trial.state == TrialState.COMPLETE:
            return trial
    raise InputError(
        f"study {study.study_name!r} has no label in trial {number}; choose a trial with one"
    )

"""Labels live in Optuna studies: opening, naming, resuming and reading them.

A study holds the labels of one space on one task under one recipe; its fingerprint says which.
Every strategy, from labelling at random to Bayesian optimisation, adds trials to it.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from predictnas.errors import InputError
from predictnas.label_queue import LabelQueue, trial_choices
from predictnas.spaces import Arch, Space
from predictnas.storages import (
    StudyAddress,
    check_holds_studies,
    hold_lock,
    open_storage,
    storage_errors,
    storage_for_writing,
)
from predictnas.training import Recipe, Task, study_fingerprint

__all__ = [
    "completed_trials",
    "enqueue_architectures",
    "is_finished",
    "labels_frame",
    "load_study",
    "num_finished",
    "open_study",
]

NOTED_CURVES = ("train_accuracy", "train_loss", "valid_loss")
"""User attributes of a trial with a value for every epoch."""


@contextlib.contextmanager
def open_study(
    address: StudyAddress,
    space: Space,
    task: Task,
    recipe: Recipe,
    *,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> Iterator[optuna.Study]:
    """Open a study for writing, making it where it does not exist, and take up what broke off.

    Trials that were being trained when a process died stand in the queue again. A study in a
    file has one writer at a time: this context holds a lock beside the file, which the
    operating system drops with the process, so whatever is marked as running in a file just
    opened did break off. In a database server, heartbeats tell.

    Parameters
    ----------
    address
        Where. Without a name, ``SPACE-TASK-FINGERPRINT``.
    space, task, recipe
        What the labels mean.
    sampler, pruner
        Optuna's, for the trials to come.

    Raises
    ------
    InputError
        If the storage cannot be opened or written, another process writes to it, or the named
        study holds labels of another space, task or recipe.
    """
    meaning = {
        "space": space.name,
        "space_identity": space.identity,
        "task": task.name,
        "task_source": task.source,
        "task_fingerprint": task.fingerprint,
        "recipe": recipe.to_dict(),
        "fingerprint": study_fingerprint(space, task, recipe),
    }
    name = address.name or f"{space.name}-{task.name}-{meaning['fingerprint']}"
    address = StudyAddress(address.storage, name)

    def redo(study: optuna.Study, trial: FrozenTrial) -> None:
        _requeue(study, trial, space)

    with (
        hold_lock(address),
        storage_errors(address),
        storage_for_writing(address, on_stale=redo) as storage,
    ):
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=sampler,
            # Optuna's default prunes; whether to stop candidates early is the caller's choice.
            pruner=pruner or optuna.pruners.NopPruner(),
        )
        _check_meaning(study, meaning)
        requeue_interrupted(study, space, sole_writer=address.file is not None)
        yield study


def load_study(address: StudyAddress) -> optuna.Study:
    """Load an existing study for reading.

    Raises
    ------
    InputError
        If the storage or the study does not exist or is damaged, or no name was given and the
        storage holds several studies.
    """
    if address.file is not None and not address.file.is_file():
        raise InputError(f"{address.file}: no such study file; label or search makes one")
    check_holds_studies(address)
    with storage_errors(address):
        storage = open_storage(address)
        names = optuna.get_all_study_names(storage)
        name = address.name or (names[0] if len(names) == 1 else None)
        if name is None or name not in names:
            found = ", ".join(names) or "none"
            wanted = f"no study {name!r}" if name else "name the study, as STORAGE#NAME"
            raise InputError(f"{address.storage}: {wanted}; it holds: {found}")
        study = optuna.load_study(study_name=name, storage=storage)
        if "fingerprint" not in study.user_attrs:
            raise InputError(f"{address.storage}: study {name!r} was not made by PredictNAS")
        return study


def requeue_interrupted(study: optuna.Study, space: Space, *, sole_writer: bool) -> int:
    """Put trials that broke off into the queue again; return how many.

    A trial broke off if it runs although no process does, or failed without a reason of its
    own (a killed process, a keyboard interrupt). The order of the two writes matters: queue
    first, then close, and look for the successor, so that dying in between loses nothing and
    queues nothing twice. Where there may be other writers, running trials are left to their
    heartbeats.
    """
    trials = study.get_trials(deepcopy=False)
    successors = {trial.user_attrs.get("retry_of") for trial in trials}
    count = 0
    for trial in trials:
        interrupted = trial.state == TrialState.FAIL and "failure" not in trial.user_attrs
        abandoned = trial.state == TrialState.RUNNING and sole_writer
        if not (abandoned or interrupted):
            continue
        if trial.number not in successors:
            count += _requeue(study, trial, space)
        if abandoned:
            study.tell(trial.number, state=TrialState.FAIL)
    return count


def num_finished(study: optuna.Study) -> int:
    """Return how many trials count against a total: trained, pruned, or failed with a reason."""
    return sum(is_finished(trial) for trial in study.get_trials(deepcopy=False))


def is_finished(trial: FrozenTrial) -> bool:
    """Return whether a trial counts against a total, see :func:`num_finished`."""
    if trial.state == TrialState.FAIL:
        return "failure" in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def completed_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials with a label, in the order of their numbers."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def enqueue_architectures(
    study: optuna.Study,
    space: Space,
    archs: Sequence[Arch],
    *,
    origin: str,
    seeds: Sequence[int] | None = None,
) -> int:
    """Queue architectures at once; return how many labels the study did not hold yet.

    Parameters
    ----------
    study, space
        Where the labels go and what they are labels of.
    archs
        Architectures; those isomorphic to one that is labelled, failed or queued are skipped.
    origin
        What chose them, for the report: ``"random"``, ``"given"``.
    seeds
        As for :class:`~predictnas.label_queue.LabelQueue`.
    """
    queue = LabelQueue(study, space, seeds)
    queue.add(archs, origin=origin)
    return queue.fill(len(queue))


def labels_frame(study: optuna.Study, *, curves: bool = False) -> pd.DataFrame:
    """Return the labels of a study as a table, one row a label: an architecture and a seed.

    Columns are ``arch`` (native string), ``key``, ``seed`` (of the training), ``number`` (of the
    trial), ``origin``, ``valid_accuracy`` and ``test_accuracy`` (percent), ``seconds`` (of
    training) and ``proxy_*`` where proxies were computed, once an architecture, repeated with
    every seed. Copied labels are left out.

    Parameters
    ----------
    study
        The study.
    curves
        Whether to add ``curve_valid_accuracy`` and, where every training noted them,
        ``curve_train_accuracy``, ``curve_train_loss`` and ``curve_valid_loss``: arrays with an
        entry for every epoch, in single precision, to halve files of them.
    """
    rows: list[dict[str, Any]] = []
    scores: dict[str, dict[str, float]] = {}
    trials = [t for t in completed_trials(study) if "copied_from" not in t.user_attrs]
    for trial in trials:
        attrs = trial.user_attrs
        key = attrs["key"]
        rows.append(
            {
                "arch": attrs["arch"],
                "key": key,
                "seed": attrs["provenance"]["seed"],
                "number": trial.number,
                "origin": attrs.get("origin"),
                "valid_accuracy": trial.value,
                "test_accuracy": attrs["test_accuracy"],
                "seconds": attrs["seconds"],
            }
        )
        if "proxies" in attrs:
            scores[key] = {
                f"proxy_{name}": math.nan if value is None else value
                for name, value in attrs["proxies"].items()
            }
    frame = pd.DataFrame([{**row, **scores.get(row["key"], {})} for row in rows])
    return frame.assign(**_curves(trials)) if curves else frame


def _curves(trials: Sequence[FrozenTrial]) -> dict[str, pd.Series]:
    found = {
        "valid_accuracy": [
            [value for _, value in sorted(trial.intermediate_values.items())] for trial in trials
        ]
    }
    for name in NOTED_CURVES:
        if all(name in trial.user_attrs for trial in trials):
            found[name] = [trial.user_attrs[name] for trial in trials]
    return {
        f"curve_{name}": pd.Series(
            [np.array(curve, dtype=np.float32) for curve in values], dtype=object
        )
        for name, values in found.items()
    }


def _requeue(study: optuna.Study, trial: FrozenTrial, space: Space) -> bool:
    params = trial_choices(trial, space)
    if params is None:  # it died while choosing: there is nothing to redo
        return False
    kept = (
        *("arch", "key", "seed", "origin", "predicted_mean", "predicted_std"),
        *("proxies", "proxies_identity"),
    )
    attrs = {name: trial.user_attrs[name] for name in kept if name in trial.user_attrs}
    study.enqueue_trial(params, user_attrs={**attrs, "retry_of": trial.number})
    return True


def _check_meaning(study: optuna.Study, meaning: dict[str, Any]) -> None:
    found = study.user_attrs
    if "fingerprint" not in found:
        if study.get_trials(deepcopy=False):
            raise InputError(
                f"study {study.study_name!r} was not made by PredictNAS; name another one"
            )
        # The fingerprint goes last: a process that dies before it leaves an unnamed, empty study.
        for name, value in meaning.items():
            study.set_user_attr(name, value)
        return
    if found["fingerprint"] == meaning["fingerprint"]:
        return
    ours = {**meaning, **meaning["recipe"]}
    theirs = {**found, **found["recipe"]}
    differing = [
        f"{name} {theirs.get(name)!r} where this command has {ours[name]!r}"
        for name in ours
        if name not in ("recipe", "fingerprint", "task_source")
        and theirs.get(name, ours[name]) != ours[name]
    ]
    raise InputError(
        f"study {study.study_name!r} holds other labels: {'; '.join(differing)}; "
        "name another study, or none to have one made"
    )

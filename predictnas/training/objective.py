"""The objective that labels an architecture by training it."""

import math
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import optuna
import pandas as pd
import torch
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from predictnas import __version__
from predictnas.errors import CandidateError
from predictnas.spaces import Arch, Space
from predictnas.training.recipe import Recipe, study_fingerprint
from predictnas.training.tasks import Task
from predictnas.training.trainer import (
    Epoch,
    Training,
    out_of_memory_fails,
    resolve_device,
    seeded,
    train,
)

__all__ = [
    "Candidate",
    "Scorer",
    "TrainingObjective",
    "copy_label",
    "score_architecture",
    "train_architecture",
]


class Scorer(Protocol):
    """Computes proxy scores of architectures; :class:`~predictnas.scoring.ProxyScorer` is one."""

    @property
    def identity(self) -> str:
        """Text that is equal for scorers whose scores mean the same."""

    def __call__(self, archs: NDArray[np.int64]) -> pd.DataFrame:
        """Return ``proxy_*`` columns for archs ``(n, choices)``, NaN where undefined."""


def train_architecture(
    space: Space,
    arch: Arch,
    task: Task,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[Epoch], None] | None = None,
    time_limit: float = math.inf,
) -> tuple[torch.nn.Module, Training]:
    """Build ``arch``, initialise it from ``seed``, train it and return network and training.

    Raises
    ------
    CandidateError
        As :func:`~predictnas.training.trainer.train`.
    """
    with out_of_memory_fails(device), seeded(seed):
        network = space.build(arch, task.input_shape, task.num_classes, **recipe.scale)
    training = train(
        network, task, recipe, seed=seed, device=device, on_epoch=on_epoch, time_limit=time_limit
    )
    return network, training


def score_architecture(scorer: Scorer, arch: Arch) -> dict[str, float | None]:
    """Return the scores of one architecture as trials keep them, None where undefined."""
    row = scorer(np.array([arch], dtype=np.int64)).iloc[0]
    return {
        str(name).removeprefix("proxy_"): float(score) if np.isfinite(score) else None
        for name, score in row.items()
    }


@dataclass(frozen=True, eq=False)
class Candidate:
    """What a trial asks for.

    Parameters
    ----------
    arch, key
        The architecture and its key.
    seed
        Seed of its training.
    scored
        Whether its proxies are to be computed first.
    twin
        The trial that holds this label already, or None.
    """

    arch: Arch
    key: str
    seed: int
    scored: bool
    twin: FrozenTrial | None


class TrainingObjective:
    """An Optuna objective: the validation accuracy of the suggested architecture, in percent.

    Every epoch's validation accuracy is reported to the trial, so that any Optuna pruner can
    stop it. An architecture that the study has labelled with the same seed already is not
    trained again: its label is copied. Where the training happens elsewhere, the steps of a
    call are there one by one: :meth:`begin`, :meth:`note_scores`, :meth:`report`,
    :meth:`finish` or :meth:`fail`.

    Parameters
    ----------
    space, task, recipe
        What is searched, on what, and how candidates are trained.
    seed
        Seed of initial weights and of the order of images, the same for every candidate but
        those whose trial names another in its user attribute ``seed``.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, …
    time_limit
        Seconds a candidate may train.
    origin
        What proposes the candidates, noted on trials whose sampler did not note it.
    on_epoch
        Called with the trial and the epoch, for progress displays.
    scorer
        Computes proxy scores at initialisation, kept with the label; once an architecture,
        with the first seed. None: no scores.

    Raises
    ------
    CandidateError
        From a call, if the candidate runs out of memory, diverges or times out. The reason is
        in the trial's user attribute ``failure``; with ``optimize(..., catch=CandidateError)``
        the search goes on.
    """

    def __init__(
        self,
        space: Space,
        task: Task,
        recipe: Recipe,
        *,
        seed: int = 0,
        device: str = "auto",
        time_limit: float = math.inf,
        origin: str | None = None,
        on_epoch: Callable[[optuna.Trial, Epoch], None] | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        self.space = space
        self.task = task
        self.recipe = recipe
        self.seed = seed
        self.device = resolve_device(device)
        self.time_limit = time_limit
        self.origin = origin
        self.on_epoch = on_epoch
        self.scorer = scorer

    def __call__(self, trial: optuna.Trial) -> float:
        """Label the architecture that ``trial`` suggests."""
        candidate = self.begin(trial)
        if candidate.twin is not None:
            return copy_label(trial, candidate.twin)
        try:
            if candidate.scored:
                assert self.scorer is not None
                self.note_scores(trial, score_architecture(self.scorer, candidate.arch))
            _, training = train_architecture(
                self.space,
                candidate.arch,
                self.task,
                self.recipe,
                seed=candidate.seed,
                device=self.device,
                on_epoch=lambda epoch: self.report(trial, epoch),
                time_limit=self.time_limit,
            )
        except CandidateError as error:
            self.fail(trial, error)
            raise
        return self.finish(trial, candidate, training)

    def begin(self, trial: optuna.Trial) -> Candidate:
        """Note on ``trial`` what it trains, and return that."""
        arch = self.space.suggest(trial)
        key = self.space.key(arch)
        # What was noted when the trial was queued is not written again: writing takes a while.
        noted = dict(trial.user_attrs)
        seed = int(noted.get("seed", self.seed))
        for name, value in {"arch": self.space.format(arch), "key": key, "seed": seed}.items():
            if noted.get(name) != value:
                trial.set_user_attr(name, value)
        if self.origin is not None and "origin" not in noted:
            # From the storage: the trial at hand does not know what its sampler noted there.
            stored = trial.study.get_trials(deepcopy=False)[trial.number].user_attrs
            if "origin" not in stored:
                trial.set_user_attr("origin", self.origin)
        # What was queued by key and seed has no twin; looking for one reads the whole study.
        queued = {"key", "seed"} <= set(noted) and "retry_of" not in noted
        twin = None if queued else _labelled(trial.study, key, seed)
        scored = self.scorer is not None and seed == self.seed
        return Candidate(arch, key, seed, scored, twin)

    def note_scores(self, trial: optuna.Trial, scores: dict[str, float | None]) -> None:
        """Keep proxy scores on ``trial``."""
        assert self.scorer is not None
        trial.set_user_attr("proxies", scores)
        trial.set_user_attr("proxies_identity", self.scorer.identity)

    def report(self, trial: optuna.Trial, epoch: Epoch) -> None:
        """Report an epoch.

        Raises
        ------
        optuna.TrialPruned
            If the study's pruner stops the trial.
        """
        trial.report(epoch.valid_accuracy, epoch.number)
        if self.on_epoch is not None:
            self.on_epoch(trial, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    def fail(self, trial: optuna.Trial, error: CandidateError) -> None:
        """Note why a candidate could not be trained."""
        trial.set_user_attr("failure", str(error))

    def finish(self, trial: optuna.Trial, candidate: Candidate, training: Training) -> float:
        """Keep the label on ``trial`` and return the value that the study maximises."""
        epochs = training.epochs
        trial.set_user_attr("train_loss", [epoch.train_loss for epoch in epochs])
        trial.set_user_attr("train_accuracy", [epoch.train_accuracy for epoch in epochs])
        trial.set_user_attr("valid_loss", [epoch.valid_loss for epoch in epochs])
        trial.set_user_attr("test_loss", training.test_loss)
        trial.set_user_attr("test_accuracy", training.test_accuracy)
        trial.set_user_attr("seconds", training.seconds)
        trial.set_user_attr("cpu_seconds", training.cpu_seconds)
        trial.set_user_attr("provenance", self.provenance(candidate.seed))
        return training.valid_accuracy

    def provenance(self, seed: int) -> dict[str, Any]:
        """Return what a label needs to be told apart from other labels, as JSON values."""
        return {
            "seed": seed,
            "fingerprint": study_fingerprint(self.space, self.task, self.recipe),
            "task_fingerprint": self.task.fingerprint,
            "splits": {
                "train": len(self.task.train),
                "valid": len(self.task.valid),
                "test": len(self.task.test),
            },
            "device": self._device_name(),
            "dtype": str(self.task.train.images.dtype).removeprefix("torch."),
            "versions": {
                "predictnas": __version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }

    def _device_name(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{self.device} ({platform.machine()})"


def copy_label(trial: optuna.Trial, labelled: FrozenTrial) -> float:
    """Give ``trial`` the label of another one; return its value."""
    for step, value in sorted(labelled.intermediate_values.items()):
        trial.report(value, step)
    for name in _LABEL:
        if name in labelled.user_attrs:
            trial.set_user_attr(name, labelled.user_attrs[name])
    trial.set_user_attr("copied_from", labelled.number)
    assert labelled.value is not None  # a complete trial has one
    return labelled.value


_LABEL = (
    *("train_loss", "train_accuracy", "valid_loss"),
    *("test_loss", "test_accuracy", "seconds", "cpu_seconds", "provenance"),
)


def _labelled(study: optuna.Study, key: str, seed: int) -> FrozenTrial | None:
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        attrs = trial.user_attrs
        if attrs.get("key") == key and attrs.get("provenance", {}).get("seed") == seed:
            return trial
    return None

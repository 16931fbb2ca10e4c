"""The objective that labels an architecture by training it."""

import math
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import torch

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

__all__ = ["TrainingObjective", "train_architecture"]


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


class TrainingObjective:
    """An Optuna objective: the validation accuracy of the suggested architecture, in percent.

    Every epoch's validation accuracy is reported to the trial, so that any Optuna pruner can
    stop it. An architecture that the study has labelled with the same seed already is not
    trained again: its label is copied.

    Parameters
    ----------
    space, task, recipe
        What is searched, on what, and how candidates are trained.
    seed
        Seed of initial weights and of the order of images, the same for every candidate.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, …
    time_limit
        Seconds a candidate may train.
    origin
        What proposes the candidates, noted on trials whose sampler did not note it.
    on_epoch
        Called with the trial and the epoch, for progress displays.

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
    ) -> None:
        self.space = space
        self.task = task
        self.recipe = recipe
        self.seed = seed
        self.device = resolve_device(device)
        self.time_limit = time_limit
        self.origin = origin
        self.on_epoch = on_epoch

    def __call__(self, trial: optuna.Trial) -> float:
        """Label the architecture that ``trial`` suggests."""
        arch = self.space.suggest(trial)
        key = self.space.key(arch)
        trial.set_user_attr("arch", self.space.format(arch))
        trial.set_user_attr("key", key)
        # From the storage: the trial at hand does not know what its sampler noted there.
        noted = trial.study.get_trials(deepcopy=False)[trial.number].user_attrs
        if self.origin is not None and "origin" not in noted:
            trial.set_user_attr("origin", self.origin)
        twin = self._labelled(trial.study, key)
        if twin is not None:
            return _copy_label(trial, twin)

        def report(epoch: Epoch) -> None:
            trial.report(epoch.valid_accuracy, epoch.number)
            if self.on_epoch is not None:
                self.on_epoch(trial, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            _, training = train_architecture(
                self.space,
                arch,
                self.task,
                self.recipe,
                seed=self.seed,
                device=self.device,
                on_epoch=report,
                time_limit=self.time_limit,
            )
        except CandidateError as error:
            trial.set_user_attr("failure", str(error))
            raise
        trial.set_user_attr("train_loss", [epoch.train_loss for epoch in training.epochs])
        trial.set_user_attr("train_accuracy", [epoch.train_accuracy for epoch in training.epochs])
        trial.set_user_attr("test_accuracy", training.test_accuracy)
        trial.set_user_attr("seconds", training.seconds)
        trial.set_user_attr("provenance", self.provenance())
        return training.valid_accuracy

    def provenance(self) -> dict[str, Any]:
        """Return what a label needs to be told apart from other labels, as JSON values."""
        return {
            "seed": self.seed,
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

    def _labelled(self, study: optuna.Study, key: str) -> optuna.trial.FrozenTrial | None:
        complete = (optuna.trial.TrialState.COMPLETE,)
        for trial in study.get_trials(deepcopy=False, states=complete):
            seed = trial.user_attrs.get("provenance", {}).get("seed")
            if trial.user_attrs.get("key") == key and seed == self.seed:
                return trial
        return None


def _copy_label(trial: optuna.Trial, labelled: optuna.trial.FrozenTrial) -> float:
    for step, value in sorted(labelled.intermediate_values.items()):
        trial.report(value, step)
    for name in ("train_loss", "train_accuracy", "test_accuracy", "seconds", "provenance"):
        trial.set_user_attr(name, labelled.user_attrs[name])
    trial.set_user_attr("copied_from", labelled.number)
    assert labelled.value is not None  # a complete trial has one
    return labelled.value

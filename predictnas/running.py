"""The jobs that train: labelling, searching, reporting and exporting, as commands run them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from predictnas.arguments import parse_scale, proxy_names, read_recipe, set_threads
from predictnas.console import TrialDisplay, check_outputs, progress, say, write_json
from predictnas.errors import InputError
from predictnas.label_designs import DesignedQueue, check_design
from predictnas.label_queue import LabelQueue
from predictnas.labelling import run_trials
from predictnas.labels import labels_frame, load_study, num_finished, open_study
from predictnas.restoring import restore_labels
from predictnas.scoring import ProxyScorer
from predictnas.search import get_searcher
from predictnas.sources import read_architectures
from predictnas.spaces import SPACES, Space, get_space, load_space
from predictnas.storages import StudyAddress
from predictnas.training import (
    Recipe,
    Task,
    TrainingObjective,
    default_recipe,
    load_task,
    resolve_device,
    study_fingerprint,
)

__all__ = ["Run", "export", "report"]

LARGE_POOL = 50
"""Architectures from which on scoring them is worth a line."""


@dataclass(frozen=True, eq=False)
class Run:
    """A space, a task and a recipe, the study that holds their labels, and the machine.

    Parameters
    ----------
    space, task, recipe
        What is labelled, on what, how.
    address
        Where the labels are.
    seed
        Seed of everything random.
    device
        Where networks are trained and scored.
    """

    space: Space
    task: Task
    recipe: Recipe
    address: StudyAddress
    seed: int
    device: str

    @classmethod
    def load(
        cls,
        space: str,
        task: str,
        recipe: Path | None,
        epochs: int | None,
        scale: str | None,
        study: str,
        seed: int,
        device: str,
        threads: int | None,
    ) -> "Run":
        """Look everything up by the names and texts of the command line.

        Raises
        ------
        InputError
            If a name is unknown, a file unusable or a text malformed.
        """
        found_space = load_space(space)
        resolve_device(device)
        found_task = load_task(task)
        overrides = read_recipe(recipe)
        if epochs is not None:
            overrides["epochs"] = epochs
        asked = overrides.get("scale", {})
        if isinstance(asked, dict):  # what else it may be is told where recipes are checked
            overrides["scale"] = {**asked, **parse_scale(scale)}
        set_threads(threads, found_task)
        return cls(
            found_space,
            found_task,
            default_recipe(found_space, found_task, **overrides),
            StudyAddress.parse(study),
            seed,
            device,
        )

    def scorer(
        self, wanted: Sequence[str] | None, batch_size: int = 64, **options: Any
    ) -> ProxyScorer:
        """Return the scorer for these networks on this task; None: all proxies.

        Parameters
        ----------
        wanted, batch_size
            Proxies, and the images that they see.
        **options
            How to compute; see :class:`~predictnas.scoring.ProxyScorer`.
        """
        return ProxyScorer(
            self.space,
            self.task,
            self.recipe,
            wanted,
            seed=self.seed,
            batch_size=batch_size,
            device=self.device,
            **options,
        )

    def label(
        self,
        trials: int | None,
        archs: str | None,
        *,
        known: str | None = None,
        design: str = "random",
        round_size: int | None = None,
        seeds: int = 1,
        proxies: Sequence[str] | None = None,
        workers: int | None = 1,
        threads: int | None = None,
        time_limit: float | None = None,
        json: Path | None = None,
    ) -> None:
        """Train given or chosen architectures until the study holds ``trials`` labels.

        Parameters
        ----------
        trials
            Finished trainings, those of all seeds counted; None: those of the given architectures.
        archs
            File or study with architectures. What they leave of ``trials`` is chosen.
        known
            Labels to go on with, see :func:`~predictnas.restoring.restore_labels`.
        design
            What chooses: one of :data:`~predictnas.search.DESIGNS`.
        round_size
            Architectures that a design which looks at labels chooses at a time; None: its default.
        seeds
            Trainings an architecture: with the run's seed and the ones that follow it. All of
            one architecture come before the next.
        proxies
            Proxies to compute of every architecture and keep with its label; None: none.
        workers, threads
            As for :func:`~predictnas.labelling.run_trials`.
        time_limit
            Seconds that a candidate may train.
        json
            Where to write the summary.

        Raises
        ------
        InputError
            If neither a number nor a file says what to label, or the design cannot be used.
        """
        if trials is None and archs is None:
            raise InputError("expected --trials N, --archs FILE or both, found neither")
        check_design(design, round_size, trials)
        check_outputs(json)
        given = None if archs is None else read_architectures(archs, self.space)
        with open_study(self.address, self.space, self.task, self.recipe) as study:
            if known is not None:
                say(f"taking up the labels of {known}")
                say(f"{restore_labels(study, self.space, known)} labels taken up")
            labels = range(self.seed, self.seed + seeds)
            queue = LabelQueue(study, self.space, labels)
            if design != "random":
                queue = DesignedQueue(
                    study,
                    self.space,
                    labels,
                    design,
                    seed=self.seed,
                    round_size=round_size,
                    on_step=say,
                )
            if given is not None:
                queue.add([tuple(int(i) for i in row) for row in given], origin="given")
            waiting = len(study.get_trials(deepcopy=False, states=(_WAITING,)))
            planned = num_finished(study) + waiting + len(queue)
            total = trials if trials is not None else planned
            if design == "random" and total > planned:
                queue.add_random(total - planned, self.seed)
            self._train(
                study,
                total,
                time_limit,
                json,
                scorer=self.scorer(proxies) if proxies else None,
                queue=queue,
                workers=workers,
                threads=threads,
            )

    def search(
        self,
        trials: int,
        searcher: str,
        options: dict[str, Any],
        *,
        time_limit: float | None = None,
        json: Path | None = None,
    ) -> None:
        """Search until the study holds ``trials`` finished trials."""
        make = get_searcher(searcher)
        options = dict(options)
        if searcher == "bananas":
            wanted = proxy_names(options.pop("proxies", None))
            if wanted:
                options["scorer"] = self._announcing_scorer(wanted)
        # A bad option is told before a study is made.
        make(self.space, self.seed, **options)
        check_outputs(json)
        with open_study(self.address, self.space, self.task, self.recipe) as study:
            # Samplers of Optuna draw from the seed on: one that goes on must not begin again.
            seed = self.seed
            if searcher != "bananas":
                seed = _mixed(self.seed, len(study.get_trials(deepcopy=False)))
            study.sampler = make(self.space, seed, **options)
            self._train(study, trials, time_limit, json, origin=searcher)

    def _announcing_scorer(self, wanted: Sequence[str]) -> ProxyScorer:
        """Return a scorer that tells of large pools before it scores them: that takes seconds."""

        def announce(count: int) -> None:
            if count >= LARGE_POOL:
                say(f"scoring a pool of {count} architectures: {', '.join(wanted)}")

        scorer = self.scorer(wanted)
        scorer.on_batch = announce
        return scorer

    def _train(
        self,
        study: optuna.Study,
        total: int,
        time_limit: float | None,
        json: Path | None,
        origin: str = "random",
        scorer: ProxyScorer | None = None,
        **options: Any,
    ) -> None:
        finished = num_finished(study)
        say(
            f"study {study.study_name}: {finished} of {total} trials finished, "
            f"{len(self.task.train)} training images, {self.recipe.epochs} epochs each"
        )
        display = TrialDisplay(total, finished, self.recipe.epochs)
        objective = TrainingObjective(
            self.space,
            self.task,
            self.recipe,
            seed=self.seed,
            device=self.device,
            time_limit=math.inf if time_limit is None else time_limit,
            origin=origin,
            on_epoch=display.on_epoch,
            scorer=scorer,
        )
        with display:
            run_trials(
                study, objective, total, callbacks=[display.on_trial], on_step=say, **options
            )
        self._summarise(study, json)

    def _summarise(self, study: optuna.Study, json: Path | None) -> None:
        labels = labels_frame(study)
        address = StudyAddress(self.address.storage, study.study_name)
        if labels.empty:
            raise InputError(f"{address}: no candidate could be trained; see the reasons above")
        failed = num_finished(study) - len(study.get_trials(deepcopy=False, states=(_COMPLETE,)))
        # Of several seeds the mean counts; the best of many draws would flatter.
        groups = labels.groupby("key", sort=False)
        means = groups["valid_accuracy"].mean()
        best = groups.get_group(means.idxmax())
        seeds = f", mean of {len(best)} seeds" if len(best) > 1 else ""
        say(
            f"best of {len(means)} trained ({failed} failed): trial {best['number'].iloc[0]}, "
            f"validation accuracy {means.max():.2f} %{seeds}, {best['arch'].iloc[0]}"
        )
        say(f"labels are in {address}")
        columns = ["number", "arch", "seed", "origin", "valid_accuracy", "seconds"]
        write_json(
            json,
            {
                "study": str(address),
                "space": self.space.name,
                "task": self.task.name,
                "recipe": self.recipe.to_dict(),
                "fingerprint": study_fingerprint(self.space, self.task, self.recipe),
                "seed": self.seed,
                "failed": failed,
                "best": {"arch": best["arch"].iloc[0], "valid_accuracy": means.max()},
                "trials": labels[columns].to_dict(orient="records"),
            },
        )


def report(study_url: str, out: Path, space: str | None = None) -> None:
    """Write the HTML report of a study; ``space`` says where the class of its space is."""
    from predictnas.reports import write_report

    address = StudyAddress.parse(study_url)
    study = load_study(address)
    write_report(
        study,
        _space_of(study, space),
        out,
        task=_task_if_there(study),
        address=str(StudyAddress(address.storage, study.study_name)),
        on_step=say,
    )
    say(f"report written to {out}")


def export(
    study_url: str,
    out: Path,
    task_source: str | None,
    device: str,
    threads: int | None,
    json: Path | None,
    space_name: str | None = None,
) -> None:
    """Retrain the winner of a study and write it in every form.

    Raises
    ------
    InputError
        If the task's data or the space are not those that the study was trained on.
    """
    from predictnas.exporting import export_winner

    study = load_study(StudyAddress.parse(study_url))
    attrs = study.user_attrs
    space = _space_of(study, space_name)
    source = task_source or attrs["task_source"]
    task = load_task(source)
    if task.fingerprint != attrs["task_fingerprint"]:
        raise InputError(
            f"task {source} holds other images than the study was trained on; give the right "
            "file with --task"
        )
    recipe = Recipe.from_dict(attrs["recipe"])
    set_threads(threads, task)
    say(f"retraining the winner of {study.study_name} for {recipe.epochs} epochs")
    with progress("epochs", recipe.epochs) as advance:
        exported = export_winner(
            study,
            space,
            task,
            recipe,
            out,
            device=device,
            on_epoch=lambda _: advance(),
            on_step=say,
        )
    repeated = "as labelled" if exported.reproduced else "the label differs: other versions?"
    say(
        f"{exported.arch}: validation accuracy {exported.valid_accuracy:.2f} % ({repeated}), "
        f"test accuracy {exported.test_accuracy:.2f} %"
    )
    for path in exported.files.values():
        say(f"wrote {path}")
    write_json(
        json,
        {
            "arch": exported.arch,
            "valid_accuracy": exported.valid_accuracy,
            "test_accuracy": exported.test_accuracy,
            "label": dict(exported.label),
            "files": {form: str(path) for form, path in exported.files.items()},
        },
    )


def _space_of(study: optuna.Study, named: str | None) -> Space:
    """Return the space of a study: registered, or the user's own, which only they may name."""
    name = study.user_attrs["space"]
    if named is None and name not in SPACES:
        raise InputError(
            f"study {study.study_name!r} holds labels of {name!r}, no space of PredictNAS; say "
            "where its class is with --space FILE.py:CLASS"
        )
    space = get_space(name) if named is None else load_space(named)
    if space.name != name:
        raise InputError(
            f"study {study.study_name!r} holds labels of {name!r}, not of {space.name!r}; give "
            "that space with --space, or none for a registered one"
        )
    return space


def _task_if_there(study: optuna.Study) -> Task | None:
    """Return the study's task, or None where its file has moved or changed since."""
    try:
        task = load_task(study.user_attrs["task_source"])
    except InputError:
        return None
    return task if task.fingerprint == study.user_attrs["task_fingerprint"] else None


_WAITING = optuna.trial.TrialState.WAITING
_COMPLETE = optuna.trial.TrialState.COMPLETE


def _mixed(seed: int, count: int) -> int:
    return int(np.random.SeedSequence([seed, count]).generate_state(1)[0])

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
from predictnas.labels import (
    completed_trials,
    enqueue_architectures,
    load_study,
    num_finished,
    open_study,
    run_trials,
)
from predictnas.scoring import ProxyScorer
from predictnas.search import get_searcher
from predictnas.sources import read_architectures
from predictnas.spaces import Space, get_space
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
        found_space = get_space(space)
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
        time_limit: float | None = None,
        json: Path | None = None,
    ) -> None:
        """Train given or random architectures until the study holds ``trials`` labels.

        Raises
        ------
        InputError
            If neither a number nor a file says what to label.
        """
        if trials is None and archs is None:
            raise InputError("expected --trials N, --archs FILE or both, found neither")
        check_outputs(json)
        given = None if archs is None else read_architectures(archs, self.space)
        with open_study(self.address, self.space, self.task, self.recipe) as study:
            if given is not None:
                rows = [tuple(int(i) for i in row) for row in given]
                enqueue_architectures(study, self.space, rows, origin="given")
            waiting = len(study.get_trials(deepcopy=False, states=(_WAITING,)))
            total = trials if trials is not None else num_finished(study) + waiting
            # What the given ones leave of the number is drawn.
            self._enqueue_random(study, total - num_finished(study) - waiting)
            self._train(study, total, time_limit, json)

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

    def _enqueue_random(self, study: optuna.Study, count: int) -> None:
        """Queue ``count`` more random architectures, the same ones however often it is resumed."""
        rng = np.random.default_rng(self.seed)
        for _ in range(_MAX_FRUITLESS):
            if count <= 0:
                return
            rows = self.space.sample(count, rng)
            archs = [tuple(int(i) for i in row) for row in rows]
            count -= enqueue_architectures(study, self.space, archs, origin="random")
        raise InputError(
            f"space {self.space.name} has too few distinct architectures: {count} more were asked "
            "for than could be drawn; lower --trials"
        )

    def _train(
        self,
        study: optuna.Study,
        total: int,
        time_limit: float | None,
        json: Path | None,
        origin: str = "random",
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
        )
        with display:
            run_trials(study, objective, total, callbacks=[display.on_trial])
        self._summarise(study, json)

    def _summarise(self, study: optuna.Study, json: Path | None) -> None:
        complete = completed_trials(study)
        failed = num_finished(study) - len(complete)
        address = StudyAddress(self.address.storage, study.study_name)
        if not complete:
            raise InputError(f"{address}: no candidate could be trained; see the reasons above")
        best = max(complete, key=lambda trial: trial.value or -math.inf)
        say(
            f"best of {len(complete)} trained ({failed} failed): trial {best.number}, validation "
            f"accuracy {best.value:.2f} %, {best.user_attrs['arch']}"
        )
        say(f"labels are in {address}")
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
                "best": {"arch": best.user_attrs["arch"], "valid_accuracy": best.value},
                "trials": [
                    {
                        "number": trial.number,
                        "arch": trial.user_attrs["arch"],
                        "origin": trial.user_attrs.get("origin"),
                        "valid_accuracy": trial.value,
                        "seconds": trial.user_attrs["seconds"],
                    }
                    for trial in complete
                ],
            },
        )


def report(study_url: str, out: Path) -> None:
    """Write the HTML report of a study."""
    from predictnas.reports import write_report

    address = StudyAddress.parse(study_url)
    study = load_study(address)
    write_report(
        study,
        get_space(study.user_attrs["space"]),
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
) -> None:
    """Retrain the winner of a study and write it in every form.

    Raises
    ------
    InputError
        If the task's data are not those that the study was trained on.
    """
    from predictnas.exporting import export_winner

    study = load_study(StudyAddress.parse(study_url))
    attrs = study.user_attrs
    space = get_space(attrs["space"])
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


def _task_if_there(study: optuna.Study) -> Task | None:
    """Return the study's task, or None where its file has moved or changed since."""
    try:
        task = load_task(study.user_attrs["task_source"])
    except InputError:
        return None
    return task if task.fingerprint == study.user_attrs["task_fingerprint"] else None


_WAITING = optuna.trial.TrialState.WAITING
_MAX_FRUITLESS = 1000


def _mixed(seed: int, count: int) -> int:
    return int(np.random.SeedSequence([seed, count]).generate_state(1)[0])

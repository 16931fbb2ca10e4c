"""Training the trials of a study, in this process or in several."""

import contextlib
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import optuna
import torch
from optuna.storages._heartbeat import get_heartbeat_thread
from optuna.trial import FrozenTrial, TrialState

from predictnas.errors import CandidateError
from predictnas.label_queue import LabelQueue
from predictnas.labels import is_finished
from predictnas.training import Candidate, Epoch, Training, TrainingObjective, copy_label
from predictnas.training.processes import usable_cores
from predictnas.training.workers import TrainingWorkers

__all__ = ["run_trials"]

Callbacks: TypeAlias = Sequence[Callable[[optuna.Study, FrozenTrial], None]]

START_UP_SECONDS = 10.0
"""What worker processes take until they train: shorter jobs are done without any."""


def run_trials(
    study: optuna.Study,
    objective: TrainingObjective,
    total: int,
    callbacks: Callbacks = (),
    *,
    queue: LabelQueue | None = None,
    workers: int | None = 1,
    threads: int | None = None,
    on_step: Callable[[str], None] | None = None,
) -> int:
    """Run trials until the study holds ``total`` finished ones; return how many were run.

    Candidates that cannot be trained are failed trials with their reason and count too. The
    study is written by this process alone.

    Parameters
    ----------
    study
        Opened for writing.
    objective
        Labels the trial's architecture.
    total
        Finished trials to reach.
    callbacks
        Called with the study and each trial that has ended.
    queue
        What to train: where it and the study's own queue are empty, this stops short of
        ``total``. None: what the study's sampler proposes.
    workers
        Processes that train. 1: this one. None: this one for as long as others would take to
        start, then one for every usable core; on a GPU this one alone, because candidates that
        share its memory may not fit.
    threads
        CPU threads a worker process; None: one.
    on_step
        Called with a line when worker processes start.

    Raises
    ------
    WorkerError
        If worker processes cannot start.
    """
    threads = threads or 1
    start = time.monotonic()
    count = 0
    # One at a time, because other processes may add trials to a study on a server.
    while True:
        finished, waiting = _survey(study)
        left = total - finished
        if left <= 0:
            break
        processes = min(_most(objective, threads) if workers is None else workers, left)
        saved = (time.monotonic() - start) / max(count, 1) * left * (1 - 1 / processes)
        if processes > 1 and (workers is not None or (count and saved > START_UP_SECONDS)):
            if on_step is not None:
                on_step(f"training with {processes} worker processes")
            with contextlib.closing(_workers(objective, processes, threads)) as pool:
                return count + _run_in(pool, study, objective, total, callbacks, queue)
        if queue is not None and not waiting and not queue.refill(left):
            break
        study.optimize(objective, n_trials=1, catch=(CandidateError,), callbacks=list(callbacks))
        count += 1
    return count


def _most(objective: TrainingObjective, threads: int) -> int:
    return max(usable_cores() // threads, 1) if objective.device.type == "cpu" else 1


def _workers(objective: TrainingObjective, count: int, threads: int) -> TrainingWorkers:
    if objective.device.type == "cuda":
        torch.cuda.empty_cache()  # for the workers
    return TrainingWorkers(
        objective.space,
        objective.task,
        objective.recipe,
        device=objective.device,
        time_limit=objective.time_limit,
        scorer=objective.scorer,
        count=count,
        threads=threads,
    )


def _survey(study: optuna.Study) -> tuple[int, int]:
    """Return how many trials are finished and how many wait, in one reading."""
    trials = study.get_trials(deepcopy=False)
    waiting = sum(trial.state == TrialState.WAITING for trial in trials)
    return sum(is_finished(trial) for trial in trials), waiting


@dataclass(frozen=True, eq=False)
class _Running:
    """A trial whose candidate is being trained, and the heartbeats that say so."""

    trial: optuna.Trial
    candidate: Candidate
    heartbeats: contextlib.ExitStack


def _begin(study: optuna.Study, objective: TrainingObjective) -> _Running:
    """Ask for a trial as ``study.optimize`` does, which can run but one at a time."""
    with warnings.catch_warnings():
        # Told that heartbeats are marked experimental, and are the business of `optimize`.
        warnings.simplefilter("ignore")
        optuna.storages.fail_stale_trials(study)
        trial = study.ask()
    heartbeats = contextlib.ExitStack()
    heartbeat = get_heartbeat_thread(trial._trial_id, study._storage)
    heartbeats.enter_context(heartbeat)  # type: ignore[arg-type]
    return _Running(trial, objective.begin(trial), heartbeats)


def _run_in(
    pool: TrainingWorkers,
    study: optuna.Study,
    objective: TrainingObjective,
    total: int,
    callbacks: Callbacks,
    queue: LabelQueue | None,
) -> int:
    """Run trials in worker processes; the study is asked and told here."""
    running: dict[int, _Running] = {}
    count = 0

    def end(trial: optuna.Trial, value: float | None, state: TrialState) -> None:
        nonlocal count
        running.pop(trial.number).heartbeats.close()
        ended = study.tell(trial, value, state)
        count += 1
        for callback in callbacks:
            callback(study, ended)

    try:
        while True:
            left = waiting = 0
            if pool.idle:  # reading the study takes a while: not after every epoch
                finished, waiting = _survey(study)
                left = total - finished - len(running)
            while pool.idle and left > 0:
                if queue is not None and not waiting:
                    waiting = queue.refill(left, running=len(running))
                    if not waiting:
                        break
                begun = _begin(study, objective)
                trial, candidate = begun.trial, begun.candidate
                running[trial.number] = begun
                if candidate.twin is not None:
                    end(trial, copy_label(trial, candidate.twin), TrialState.COMPLETE)
                else:
                    pool.submit(
                        trial.number, candidate.arch, candidate.seed, scored=candidate.scored
                    )
                left, waiting = left - 1, max(waiting - 1, 0)
            if not running:
                return count
            for number, answer in pool.answers():
                trial, candidate = running[number].trial, running[number].candidate
                if isinstance(answer, Training):
                    value = objective.finish(trial, candidate, answer)
                    end(trial, value, TrialState.COMPLETE)
                elif isinstance(answer, CandidateError):
                    objective.fail(trial, answer)
                    end(trial, None, TrialState.FAIL)
                elif isinstance(answer, Epoch):
                    try:
                        objective.report(trial, answer)
                    except optuna.TrialPruned:
                        pool.stop(number)
                        end(trial, None, TrialState.PRUNED)
                else:
                    objective.note_scores(trial, dict(answer))
    finally:
        # Without a reason of their own: they are redone when the study is opened again.
        for begun in running.values():
            begun.heartbeats.close()
            study.tell(begun.trial, state=TrialState.FAIL)

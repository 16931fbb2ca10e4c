"""What a report says about a study, read from its trials."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from predictnas.errors import InputError
from predictnas.spaces import Space

__all__ = ["UNKNOWN_ORIGIN", "Failure", "Label", "StudyFacts", "study_facts"]

UNKNOWN_ORIGIN = "not recorded"


@dataclass(frozen=True, eq=False)
class Label:
    """One trained candidate.

    Attributes
    ----------
    number
        Of the trial.
    arch, key
        Native text and key.
    origin
        What chose it.
    valid_accuracy, test_accuracy
        In percent; the test accuracy is NaN where it was not measured.
    seconds
        Of training; NaN where unknown.
    curve
        Validation accuracy in percent by epoch.
    forecast
        Mean and standard deviation that the surrogate forecast before the training, or None.
    proxies
        Scores at initialisation by proxy name; empty where none were computed.
    provenance
        As the objective stored it.
    copied_from
        Number of the trial whose label this is, where it was not trained again.
    """

    number: int
    arch: str
    key: str
    origin: str
    valid_accuracy: float
    test_accuracy: float
    seconds: float
    curve: Mapping[int, float]
    forecast: tuple[float, float] | None
    proxies: Mapping[str, float]
    provenance: Mapping[str, Any]
    copied_from: int | None


@dataclass(frozen=True, eq=False)
class Failure:
    """One candidate that could not be trained: its trial's number, text, origin and the reason."""

    number: int
    arch: str
    origin: str
    reason: str


@dataclass(frozen=True, eq=False)
class StudyFacts:
    """A study as a report sees it.

    Attributes
    ----------
    name
        Of the study.
    attributes
        The study's user attributes.
    labels
        Finished trials with a label, in the order of their numbers; never empty.
    failures
        Trials that failed with a reason.
    pruned
        Learning curves of the trials that were stopped early, by number.
    interrupted, running, waiting
        Counts of trials: broken off and put back into the queue; being trained; queued.
    started, finished
        When the first trial started and the last label was done; None where not recorded.
    """

    name: str
    attributes: Mapping[str, Any]
    labels: tuple[Label, ...]
    failures: tuple[Failure, ...]
    pruned: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    interrupted: int = 0
    running: int = 0
    waiting: int = 0
    started: datetime | None = None
    finished: datetime | None = None

    @property
    def trained(self) -> tuple[Label, ...]:
        """The labels that were measured here, without copies of twins' labels."""
        return tuple(label for label in self.labels if label.copied_from is None)

    @property
    def ranking(self) -> tuple[Label, ...]:
        """The architectures, best validation accuracy first; of equals, the earlier one.

        One label each: of several seeds the mean, as the first trial's label.
        """
        by_key: dict[str, list[Label]] = {}
        for label in self.trained:
            by_key.setdefault(label.key, []).append(label)
        means = (_mean(labels) for labels in by_key.values())
        return tuple(sorted(means, key=lambda label: (-label.valid_accuracy, label.number)))

    @property
    def progress(self) -> tuple[Label, ...]:
        """The labels in the order of their numbers, one an architecture and copies; see ranking."""
        means = {label.key: label for label in self.ranking}
        return tuple(
            dataclasses.replace(label, valid_accuracy=mean.valid_accuracy)
            for label in self.labels
            if (mean := means.get(label.key, label)).number == label.number
            or label.copied_from is not None
        )

    @property
    def best(self) -> Label:
        """The winner."""
        return self.ranking[0]

    @property
    def seconds(self) -> float:
        """Time spent on training the labelled candidates."""
        return math.fsum(s for s in (label.seconds for label in self.trained) if math.isfinite(s))

    @property
    def states(self) -> dict[str, int]:
        """How many trials came to what, in words; what did not happen is left out."""
        counts = {
            "trained": len(self.trained),
            "copied from a twin": len(self.labels) - len(self.trained),
            "stopped early": len(self.pruned),
            "failed": len(self.failures),
            "interrupted": self.interrupted,
            "running": self.running,
            "waiting": self.waiting,
        }
        return {words: count for words, count in counts.items() if count}

    @property
    def recipe(self) -> Mapping[str, Any]:
        """How the candidates were trained, by entry."""
        recipe: Mapping[str, Any] = self.attributes.get("recipe", {})
        return recipe


def study_facts(study: optuna.Study, space: Space) -> StudyFacts:
    """Read what a report needs from a study.

    Raises
    ------
    InputError
        If the study is not one of `space`, or holds no label yet.
    """
    found = study.user_attrs.get("space")
    if found != space.name:
        raise InputError(
            f"expected a study of the space {space.name}, found {found!r} in "
            f"{study.study_name!r}; name the space that it was labelled in"
        )
    trials = study.get_trials(deepcopy=False)
    labels = tuple(_label(trial, space) for trial in trials if trial.state == TrialState.COMPLETE)
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    failures = tuple(_failure(trial) for trial in failed if "failure" in trial.user_attrs)
    if not any(label.copied_from is None for label in labels):
        reasons = sorted({failure.reason for failure in failures})
        because = f" ({len(failures)} failed: {reasons[0]})" if failures else ""
        raise InputError(
            f"study {study.study_name!r} holds no label yet{because}: nothing to report; "
            "train candidates into it first"
        )
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    return StudyFacts(
        name=study.study_name,
        attributes=study.user_attrs,
        labels=labels,
        failures=failures,
        pruned={t.number: _curve(t) for t in trials if t.state == TrialState.PRUNED},
        interrupted=len(failed) - len(failures),
        running=sum(trial.state == TrialState.RUNNING for trial in trials),
        waiting=sum(trial.state == TrialState.WAITING for trial in trials),
        started=min(starts, default=None),
        finished=max(ends, default=None),
    )


def _label(trial: FrozenTrial, space: Space) -> Label:
    attrs = trial.user_attrs
    assert trial.value is not None  # a complete trial has one
    mean, std = _number(attrs.get("predicted_mean")), _number(attrs.get("predicted_std"))
    return Label(
        number=trial.number,
        arch=attrs.get("arch") or space.format(space.from_params(trial.params)),
        key=attrs.get("key") or space.key(space.from_params(trial.params)),
        origin=attrs.get("origin", UNKNOWN_ORIGIN),
        valid_accuracy=trial.value,
        test_accuracy=_number(attrs.get("test_accuracy")),
        seconds=_number(attrs.get("seconds")),
        curve=_curve(trial),
        forecast=(mean, std) if math.isfinite(mean) and math.isfinite(std) and std > 0 else None,
        proxies={name: _number(value) for name, value in attrs.get("proxies", {}).items()},
        provenance=attrs.get("provenance", {}),
        copied_from=attrs.get("copied_from"),
    )


def _mean(labels: list[Label]) -> Label:
    """Return the mean of the labels of one architecture, with what else the first one has."""
    if len(labels) == 1:
        return labels[0]
    epochs = set.intersection(*(set(label.curve) for label in labels))
    return dataclasses.replace(
        labels[0],
        valid_accuracy=fmean(label.valid_accuracy for label in labels),
        test_accuracy=fmean(label.test_accuracy for label in labels),
        curve={e: fmean(label.curve[e] for label in labels) for e in sorted(epochs)},
    )


def _failure(trial: FrozenTrial) -> Failure:
    return Failure(
        number=trial.number,
        arch=trial.user_attrs.get("arch", ""),
        origin=trial.user_attrs.get("origin", UNKNOWN_ORIGIN),
        reason=str(trial.user_attrs["failure"]),
    )


def _curve(trial: FrozenTrial) -> dict[int, float]:
    return dict(sorted(trial.intermediate_values.items()))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan

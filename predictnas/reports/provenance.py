"""Where the labels of a study come from, as tables of words."""

import math
from collections.abc import Mapping
from typing import Any

from predictnas.reports.study_facts import StudyFacts

__all__ = ["accuracy_interval", "provenance_tables"]

Table = list[tuple[str, str]]


def provenance_tables(
    facts: StudyFacts, address: str | None, command: str | None
) -> dict[str, Table]:
    """Return by title the tables of study, recipe and labels, rows of name and value.

    Where labels differ (several devices, say), all values are listed with how many labels have
    each.
    """
    attributes = facts.attributes
    study: Table = [
        ("study", facts.name),
        ("address", address or ""),
        ("command", command or ""),
        ("space", str(attributes.get("space", ""))),
        ("task", str(attributes.get("task", ""))),
        ("task fingerprint", str(attributes.get("task_fingerprint", ""))),
        ("study fingerprint", str(attributes.get("fingerprint", ""))),
        ("first trial started", f"{facts.started:%Y-%m-%d %H:%M:%S}" if facts.started else ""),
        ("last trial finished", f"{facts.finished:%Y-%m-%d %H:%M:%S}" if facts.finished else ""),
    ]
    recipe = [(name.replace("_", " "), _words(value)) for name, value in facts.recipe.items()]
    merged: dict[str, dict[str, int]] = {}
    for label in facts.trained:
        for name, value in _flat(label.provenance):
            counts = merged.setdefault(name, {})
            counts[value] = counts.get(value, 0) + 1
    labels = [(name, _alternatives(counts)) for name, counts in merged.items()]
    tables = {"Study": study, "Recipe": recipe, "Labels": labels}
    return {title: [row for row in rows if row[1]] for title, rows in tables.items()}


def accuracy_interval(
    accuracy: float, provenance: Mapping[str, Any], split: str
) -> tuple[float, float] | None:
    """Return Wilson's 95 % interval of an accuracy in percent; None where its images are unknown.

    It says how far another draw of as many images could move the accuracy of this network.

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    from scipy.stats import binomtest

    images = provenance.get("splits", {}).get(split)
    if not images or not math.isfinite(accuracy):
        return None
    correct = round(accuracy / 100 * images)
    interval = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def _flat(provenance: Mapping[str, Any]) -> Table:
    rows: Table = []
    for name, value in provenance.items():
        if name in ("fingerprint", "task_fingerprint"):
            continue  # those of the study, shown there
        if isinstance(value, Mapping):
            rows += [(f"{name}: {inner}", _words(deep)) for inner, deep in value.items()]
        else:
            rows.append((name, _words(value)))
    return rows


def _alternatives(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count})" for value, count in counts.items())


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)

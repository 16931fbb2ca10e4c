"""Writing the report of a study."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

from encoders import IDENTITY
from predictnas import __version__
from predictnas.errors import InputError
from predictnas.reports.curves_figure import learning_curves
from predictnas.reports.figure import Figure
from predictnas.reports.forecast_figure import (
    cross_validated,
    predicted_against_measured,
    prospective,
)
from predictnas.reports.graph_drawing import draw_graph, draw_thumbnail, operation_colours
from predictnas.reports.page import render_page
from predictnas.reports.progress_figure import best_so_far
from predictnas.reports.provenance import accuracy_interval, provenance_tables
from predictnas.reports.proxy_figure import proxy_correlations
from predictnas.reports.study_facts import UNKNOWN_ORIGIN, Label, StudyFacts, study_facts
from predictnas.spaces import Space
from predictnas.training import Recipe, Task

__all__ = ["write_report"]

_SHOWN = 10


def write_report(
    study: optuna.Study,
    space: Space,
    path: Path | str,
    *,
    task: Task | None = None,
    address: str | None = None,
    command: str | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Path:
    """Write what a study found as one HTML file that needs nothing beside it.

    The file loads nothing, runs no script and can be printed. It appears complete or not at all,
    and the same study gives the same file.

    Parameters
    ----------
    study
        The study.
    space
        The space it searched.
    path
        Where to write; an existing file is replaced.
    task
        What the candidates were trained on. With it, parameters and multiply-accumulates of the
        best are counted on their networks; without it, they are shown where the study holds them
        as proxy scores.
    address
        Where the study is, for the provenance: ``sqlite:///labels.db#name``.
    command
        The command that made the labels, for the provenance.
    on_step
        Called with what is done next, for progress displays.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the study holds no label yet or is one of another space or task, or the file cannot be
        written.
    """
    say = on_step or (lambda _: None)
    facts = study_facts(study, space)
    _check_task(facts, task)
    say("counting parameters")
    rows = _rows(facts, space, task)
    say("drawing the search")
    figures = {"progress": best_so_far(facts), "curves": learning_curves(facts)}
    say("comparing forecasts with measurements")
    forecasts = prospective(facts) or cross_validated(facts, space)
    figures["forecasts"] = predicted_against_measured(forecasts) if forecasts else None
    say("correlating proxies")
    figures["proxies"] = proxy_correlations(facts)
    say("writing")
    target = Path(path)
    _write(target, render_page(_content(facts, space, rows, figures, address, command)))
    return target


def _content(
    facts: StudyFacts,
    space: Space,
    rows: list[dict[str, Any]],
    figures: dict[str, Figure | None],
    address: str | None,
    command: str | None,
) -> dict[str, Any]:
    best = facts.best
    graph = space.graph(space.parse(best.arch))
    drawn = {name for row in rows for name in row["graph"].operations}
    colours = operation_colours(space.operations)
    legend = [
        (name, colours[name], name == IDENTITY)
        for name in space.operations
        if name in drawn and name in colours
    ]
    return {
        "facts": facts,
        "best": best,
        "rows": rows,
        "figures": figures,
        "winner_svg": draw_graph(graph, operations=space.operations, name="winner"),
        "has_path": graph.canonical().depth() > 0,
        "legend": legend,
        "test_interval": accuracy_interval(best.test_accuracy, best.provenance, "test"),
        "provenance": provenance_tables(facts, address, command),
        "unknown_origin": UNKNOWN_ORIGIN,
        "version": __version__,
    }


def _rows(facts: StudyFacts, space: Space, task: Task | None) -> list[dict[str, Any]]:
    """Return the best candidates, one row each, as the table shows them."""
    rows = []
    for rank, label in enumerate(facts.ranking[:_SHOWN], start=1):
        graph = space.graph(space.parse(label.arch))
        params, macs = _size(label, facts, space, task)
        rows.append(
            {
                "rank": rank,
                "label": label,
                "graph": graph,
                "svg": draw_thumbnail(graph, operations=space.operations),
                "params": params,
                "macs": macs,
            }
        )
    return rows


def _size(label: Label, facts: StudyFacts, space: Space, task: Task | None) -> tuple[float, float]:
    """Return parameters and multiply-accumulates, NaN where nothing says."""
    if task is None:
        return label.proxies.get("params", math.nan), label.proxies.get("macs", math.nan)
    from predictnas.scoring import ProxyScorer

    recipe = Recipe.from_dict(facts.recipe)
    scorer = ProxyScorer(space, task, recipe, ["params", "macs"], batch_size=2, device="cpu")
    scores = scorer.score(space.parse(label.arch))
    return scores["params"].value, scores["macs"].value


def _check_task(facts: StudyFacts, task: Task | None) -> None:
    found = facts.attributes.get("task_fingerprint")
    if task is not None and found is not None and found != task.fingerprint:
        raise InputError(
            f"expected the task that study {facts.name!r} was labelled on "
            f"({facts.attributes.get('task')}), found other images in {task.name}; "
            "name that task, or none"
        )


def _write(path: Path, text: str) -> None:
    """Replace `path` by a complete file; a reader never sees half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: the report cannot be written ({error.strerror}); name another file"
        ) from None

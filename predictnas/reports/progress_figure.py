"""How a search went: every trial and the best so far."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from predictnas.reports.figure import Figure
from predictnas.reports.palette import BLUE, GREEN, HUES, INK, MUTED, ORANGE, PAPER, PURPLE, SKY
from predictnas.reports.spacing import scale_floor
from predictnas.reports.study_facts import UNKNOWN_ORIGIN, Label, StudyFacts
from predictnas.reports.vector_graphics import figure_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["best_so_far", "origin_marks"]

_KNOWN_ORIGINS = {
    "warm start, by proxies": (ORANGE, "s"),
    "warm start, random": (SKY, "D"),
    "acquisition": (BLUE, "o"),
    "random": (GREEN, "^"),
    "given": (PURPLE, "P"),
    UNKNOWN_ORIGIN: (MUTED, "o"),
}
_OTHER_MARKERS = ("v", "X", "p", "h", "<", ">")


def origin_marks(labels: Sequence[Label]) -> dict[str, tuple[str, str]]:
    """Return the colour and the marker of every origin among `labels`, known ones first."""
    found = {label.origin for label in labels}
    marks = {name: mark for name, mark in _KNOWN_ORIGINS.items() if name in found}
    others = sorted(found - marks.keys())
    marks |= dict(
        zip(others, zip(itertools.cycle(HUES), itertools.cycle(_OTHER_MARKERS)), strict=False)
    )
    return marks


def best_so_far(facts: StudyFacts) -> Figure:
    """Draw every trial's validation accuracy and the best up to then."""
    from matplotlib.ticker import MaxNLocator

    labels, best = facts.progress, facts.best
    accuracies = np.array([label.valid_accuracy for label in labels])
    floor = scale_floor(accuracies)
    below = int(np.sum(accuracies < floor))

    def draw(axes: "Axes") -> dict[str, list[str]]:
        hints = {}
        top = float(accuracies.max())
        pad = 0.06 * (top - floor) or 1.0
        numbers = [label.number for label in labels]
        last = max([*numbers, *facts.pruned, *(failure.number for failure in facts.failures)])
        steps = np.maximum.accumulate(accuracies)
        axes.step([*numbers, last], [*steps, steps[-1]], where="post", color=INK, zorder=2)
        for index, (origin, (colour, marker)) in enumerate(origin_marks(labels).items()):
            chosen = [label for label in labels if label.origin == origin]
            low = [label.valid_accuracy < floor for label in chosen]
            dots = axes.scatter(
                [label.number for label in chosen],
                [max(label.valid_accuracy, floor - pad / 2) for label in chosen],
                s=[14 if clipped else 26 for clipped in low],
                marker=marker,
                color=[PAPER if clipped else colour for clipped in low],
                edgecolors=[colour if clipped else PAPER for clipped in low],
                linewidths=0.8,
                zorder=3,
                label=origin,
                gid=f"origin{index}",
            )
            hints[str(dots.get_gid())] = [
                f"trial {label.number}: {label.valid_accuracy:.2f} %\n{label.arch}"
                for label in chosen
            ]
        _draw_unlabelled(axes, facts, floor)
        axes.scatter([best.number], [top], s=90, facecolors="none", edgecolors=INK, zorder=4)
        share = best.number / max(last, 1)
        axes.annotate(
            f"{top:.2f} % in trial {best.number}",
            (best.number, top),
            xytext=(0, 9),
            textcoords="offset points",
            ha="left" if share < 0.2 else "right" if share > 0.8 else "center",
            fontweight="bold",
        )
        axes.set_ylim(floor - pad, top + 2.2 * pad)
        axes.set_xlim(-0.02 * last - 0.5, 1.02 * last + 0.5)
        axes.xaxis.set_major_locator(
            MaxNLocator(8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        )
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("trial")
        axes.set_ylabel("validation accuracy, %")
        legend = axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=6)
        for text in legend.get_texts():
            text.set_parse_math(False)
        return hints

    clipped = f" Small hollow marks at the foot ({below}) are below {floor:.0f} %." if below else ""
    failed = " Crosses at the foot are candidates that failed." if facts.failures else ""
    return Figure(
        figure_svg(
            draw,
            name="best-so-far",
            label=f"validation accuracy of {len(labels)} trials and the best so far, "
            f"which ends at {best.valid_accuracy:.2f} %",
            width=960,
            height=360,
        ),
        "Validation accuracy of every trained candidate, by what chose it, and (line) the best up "
        f"to then. The earlier the line is high, the better the search.{clipped}{failed}",
    )


def _draw_unlabelled(axes: "Axes", facts: StudyFacts, floor: float) -> None:
    """Mark the trials that were stopped early, where they stopped, and those that failed."""
    stopped = {n: [*curve.values()][-1] for n, curve in facts.pruned.items() if curve}
    if stopped:
        axes.scatter(
            list(stopped),
            [max(value, floor) for value in stopped.values()],
            s=18,
            facecolors="none",
            edgecolors=MUTED,
            linewidths=0.9,
            label="stopped early",
        )
    if facts.failures:
        axes.scatter(
            [failure.number for failure in facts.failures],
            [0.015] * len(facts.failures),
            s=18,
            marker="x",
            color=MUTED,
            linewidths=1.0,
            transform=axes.get_xaxis_transform(),
            label="failed",
        )

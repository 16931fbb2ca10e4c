"""How well predictors rank, by the number of labels that they were given."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from predictnas.reports.figure import Figure
from predictnas.reports.palette import HUES, MUTED
from predictnas.reports.spacing import spread
from predictnas.reports.vector_graphics import figure_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from predictnas.benchmarking import Summary

__all__ = ["draw_label_efficiency", "label_efficiency"]

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "h", "<", ">")


def draw_label_efficiency(
    axes: "Axes", summaries: Sequence["Summary"], ceiling: float | None
) -> dict[str, list[str]]:
    """Draw Kendall's τ against the number of labels, a line a predictor.

    Parameters
    ----------
    axes
        What to draw into.
    summaries
        Means over repeats; those without a defined τ are left out.
    ceiling
        The noise ceiling, as a line; None where it is not known.

    Returns
    -------
    dict
        For the gid of every predictor's marks, what to say of each.
    """
    from matplotlib.ticker import NullLocator

    shown = [each for each in summaries if math.isfinite(float(each.measures["kendall"].mean))]
    styles = zip(itertools.cycle(HUES), itertools.cycle(_MARKERS), strict=False)
    hints, ends, colours = {}, {}, {}
    names = dict.fromkeys(each.predictor for each in shown)
    for number, (name, (colour, marker)) in enumerate(zip(names, styles, strict=False)):
        line = [each for each in shown if each.predictor == name]
        places = [each.size for each in line]
        taus = [each.measures["kendall"] for each in line]
        means = [float(tau.mean) for tau in taus]
        axes.plot(places, means, color=colour, zorder=3)
        low, high = ([float(getattr(tau, end)) for tau in taus] for end in ("low", "high"))
        axes.fill_between(places, low, high, color=colour, alpha=0.13, linewidth=0, zorder=1)
        axes.scatter(places, means, marker=marker, color=colour, s=24, zorder=4, gid=f"p{number}")
        hints[f"p{number}"] = [
            f"{name}, {each.size} labels: τ {mean:.3f} ({each.repeats} training sets)"
            for each, mean in zip(line, means, strict=True)
        ]
        ends[name], colours[name] = means[-1], colour
    if ceiling is not None:
        axes.axhline(ceiling, color=MUTED, linestyle="--", linewidth=1.0, zorder=2)
        axes.annotate(
            "noise ceiling",
            (0.0, ceiling),
            xycoords=axes.get_yaxis_transform(),
            xytext=(2, 3),
            textcoords="offset points",
            color=MUTED,
        )
    sizes = sorted({each.size for each in shown})
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labels")
    axes.set_ylabel("Kendall τ on the other architectures")
    axes.grid(axis="x", visible=False)
    _name_lines(axes, ends, colours)
    return hints


def _name_lines(axes: "Axes", ends: dict[str, float], colours: dict[str, str]) -> None:
    """Write the name of every line at its right end."""
    low, high = axes.get_ylim()
    order = sorted(ends, key=lambda name: ends[name])
    gap = 0.055 * (high - low)
    places = spread([ends[name] for name in order], [gap] * (len(order) - 1))
    for name, place in zip(order, places, strict=True):
        axes.annotate(
            name,
            (1.02, place),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            color=colours[name],
            parse_math=False,
        )


def label_efficiency(summaries: Sequence["Summary"], ceiling: float | None, title: str) -> Figure:
    """Draw how well predictors rank by the number of labels, as a figure of its own.

    Parameters
    ----------
    summaries, ceiling
        As for :func:`draw_label_efficiency`.
    title
        What the labels are, for the caption.
    """
    names = ", ".join(dict.fromkeys(each.predictor for each in summaries))
    line = "" if ceiling is None else " Dashed: the noise ceiling."
    return Figure(
        figure_svg(
            lambda axes: draw_label_efficiency(axes, summaries, ceiling),
            name="label-efficiency",
            label=f"Kendall τ against the number of labels for {names}",
            width=760,
            height=400,
        ),
        f"{title}: Kendall τ on architectures that were not trained on, by the number of labels; "
        f"mean and 95 % t interval over training sets.{line}",
    )

"""The figures of the study of proxy correlations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from correlation.tables import ordered, with_direction
from predictnas.reports.palette import BLUE, GREEN, INK, MUTED, RULE, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw"]

SIZES = ("params", "macs", "flops")
PROXY = {"color": BLUE, "marker": "o", "label": "proxy"}
SIZE = {"color": INK, "marker": "s", "label": "size of the network"}
AGGREGATE = {"color": VERMILION, "marker": "D", "label": "aggregate of proxies"}
OURS = {"color": BLUE, "marker": "o", "label": "ours"}
THEIRS = {"color": GREEN, "marker": "^", "label": "published"}


def draw_dot(
    axes: Any, place: float, measured: Mapping[str, Any], style: Mapping[str, Any]
) -> None:
    """Draw a value with its interval."""
    if measured["value"] is None:
        return
    if measured["low"] is not None:
        ends = [measured["low"], measured["high"]]
        axes.plot(ends, [place, place], color=style["color"], linewidth=1.8, alpha=0.5, zorder=2)
    axes.plot(measured["value"], place, linestyle="none", markersize=5.5, zorder=3, **style)


def finish(axes: Any, names: Sequence[str], title: str) -> None:
    """Label a panel of one row per name."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(title)
    axes.grid(axis="both", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.axvline(0, color=MUTED, linewidth=0.9, zorder=1)


def draw_rankings(result: Mapping[str, Any]) -> "Figure":
    """Draw how proxies and aggregates rank all cells and their best, in three panels."""
    from matplotlib.figure import Figure

    rows = ordered(result["aggregates"]["all cells"]["rankings"] | result["proxies"])
    panels = {
        "Spearman ρ, all cells": lambda entry: entry["spearman"],
        "Spearman ρ in the best 10 %": lambda entry: entry["spearman_best"],
        "precision at the top 10 %": lambda entry: entry["precision"]["top 10 %"],
    }
    figure = Figure(figsize=(9.5, 1.3 + 0.25 * len(rows)), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True)
    for axes, (title, pick) in zip(grid, panels.items(), strict=True):
        for place, (name, entry) in enumerate(rows):
            style = PROXY if name in result["proxies"] else AGGREGATE
            draw_dot(axes, place, pick(entry), SIZE if name in SIZES else style)
        finish(axes, [with_direction(name, entry) for name, entry in rows], title)
    # A ranking without information finds a tenth of the best tenth.
    grid[-1].axvline(0.1, color=MUTED, linewidth=0.9, linestyle=":", zorder=1)
    label(figure, (PROXY, SIZE, AGGREGATE))
    return figure


def draw_published(result: Mapping[str, Any]) -> "Figure":
    """Draw how our scores and the published ones rank the same cells."""
    from matplotlib.figure import Figure

    rows = ordered(result["published"], "theirs")
    figure = Figure(figsize=(6.0, 1.3 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (_, entry) in enumerate(rows):
        draw_dot(axes, place - 0.14, entry["ours"], OURS)
        draw_dot(axes, place + 0.14, entry["theirs"], THEIRS)
    names = [with_direction(name, result["proxies"][name]) for name, _ in rows]
    finish(axes, names, "Spearman ρ, same cells")
    label(figure, (OURS, THEIRS))
    return figure


def label(figure: "Figure", styles: Sequence[Mapping[str, Any]]) -> None:
    """Say above a figure what its marks are."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="none", **style) for style in styles]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)


def draw(result: Mapping[str, Any], out: Path) -> None:
    """Write the figures."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "proxy_correlation", "font.size": 9.5}):
        draw_rankings(result).savefig(out / "proxy_correlation.svg", metadata={"Date": None})
        if result["published"]:
            path = out / "proxy_correlation_published.svg"
            draw_published(result).savefig(path, metadata={"Date": None})

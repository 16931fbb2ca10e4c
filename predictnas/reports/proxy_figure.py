"""How well each proxy ranks the candidates that were trained."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictnas.reports.figure import Figure
from predictnas.reports.palette import BLUE, MUTED, PAPER
from predictnas.reports.study_facts import StudyFacts
from predictnas.reports.vector_graphics import figure_svg
from predictnas.reports.wording import correlation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["proxy_correlations"]


def proxy_correlations(facts: StudyFacts) -> Figure | None:
    """Draw Kendall's τ of every proxy with 95 % intervals; None without two scored labels."""
    from predictnas.evaluation import correlate

    scored = [label for label in facts.trained if label.proxies]
    if len(scored) < 2:
        return None
    results = correlate(
        pd.DataFrame([dict(label.proxies) for label in scored], dtype=np.float64),
        [label.valid_accuracy for label in scored],
        groups=[label.key for label in scored],
        top=(),
    )
    results.sort(key=lambda result: (-np.nan_to_num(result.kendall, nan=-2.0), result.column))

    def draw(axes: "Axes") -> None:
        places = range(len(results))
        axes.axvline(0, color=MUTED, linewidth=0.9, zorder=1)
        for place, result in zip(places, results, strict=True):
            low, high = result.kendall_interval
            clear = low > 0 or high < 0
            if np.isfinite(low):
                axes.plot(
                    [low, high],
                    [place, place],
                    color=BLUE if clear else MUTED,
                    linewidth=2.0,
                    alpha=0.6,
                    solid_capstyle="butt",
                    zorder=2,
                )
            axes.plot(
                result.kendall,
                place,
                "o",
                markersize=6,
                color=BLUE if clear else PAPER,
                markeredgecolor=BLUE if clear else MUTED,
                zorder=3,
            )
            said = (
                correlation(result.kendall, plus=True)
                if np.isfinite(result.kendall)
                else "undefined"
            )
            if result.n_missing:
                said += f", n {result.n}"
            axes.text(1.03, place, said, transform=axes.get_yaxis_transform(), va="center")
        axes.set_yticks(list(places), [result.column for result in results])
        for name in axes.get_yticklabels():
            name.set_parse_math(False)
        ends = [end for r in results for end in (r.kendall, *r.kendall_interval)]
        lowest = min((end for end in ends if np.isfinite(end)), default=0.0)
        axes.set_xlim(-1.03 if lowest < -0.5 else -0.55, 1.03)
        axes.set_ylim(len(results) - 0.5, -0.5)
        axes.tick_params(axis="y", labelsize=9.0)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Kendall’s τ with validation accuracy")

    chosen = (
        " These candidates were not chosen at random: over the whole space a proxy may rank better "
        "or worse."
        if {label.origin for label in scored} != {"random"}
        else ""
    )
    return Figure(
        figure_svg(
            draw,
            name="proxies",
            label="rank correlation of proxies with validation accuracy: "
            + ", ".join(f"{result.column} {result.kendall:.2f}" for result in results),
            width=470,
            height=110 + 40 * len(results) if len(results) < 8 else 70 + 30 * len(results),
        ),
        f"How well each proxy, computed before training, ranks the {len(scored)} trained "
        "candidates that have scores: dots are Kendall’s τ with its measured sign, bars 95 % "
        f"intervals. Hollow dots are proxies whose order cannot be told from chance here.{chosen}",
    )

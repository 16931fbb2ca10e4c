"""The figure of the study of label efficiency."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from predictnas.benchmarking import Summary
from predictnas.evaluation import MeanInterval
from predictnas.reports.label_efficiency_figure import draw_label_efficiency
from predictnas.reports.palette import RULE

__all__ = ["draw"]

COLUMNS = 2


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw Kendall's τ by number of labels, a panel a part, with random training sets."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    left_out = re.compile("^ablation|training sets$")
    parts = {k: part for k, part in result["parts"].items() if not left_out.search(k)}
    rows = -(-len(parts) // COLUMNS)
    with mpl.rc_context({"svg.hashsalt": "predictor_efficiency", "font.size": 8.5}):
        figure = Figure(figsize=(5.2 * COLUMNS, 3.6 * rows), layout="constrained")
        panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes in panels[len(parts) :]:
            axes.set_visible(False)
        for axes, (title, part) in zip(panels, parts.items(), strict=False):
            draw_label_efficiency(axes, _summaries(part), part["noise_ceiling"])
            axes.set_title(title, loc="left")
            axes.grid(axis="y", color=RULE)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})


def _summaries(part: Mapping[str, Any]) -> list[Summary]:
    """Return summaries as they were before they were written."""
    found = []
    for each in part["summary"]:
        ends = {
            key: np.array(np.nan if value is None else value)
            for key, value in each["measures"]["kendall"].items()
            if key != "n"
        }
        tau = MeanInterval(**ends, n=each["repeats"])
        found.append(Summary(each["predictor"], each["size"], each["repeats"], {"kendall": tau}))
    return found

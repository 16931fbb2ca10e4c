"""Predicted against measured accuracy, with the intervals that the predictor claimed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.reports.figure import Figure
from predictnas.reports.palette import BLUE, MUTED, PAPER, VERMILION
from predictnas.reports.spacing import scale_floor
from predictnas.reports.study_facts import Label, StudyFacts
from predictnas.reports.vector_graphics import figure_svg
from predictnas.reports.wording import correlation
from predictnas.spaces import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Forecasts", "cross_validated", "predicted_against_measured", "prospective"]

_Z = 1.6448536269514722  # a central interval of 90 % of a normal distribution
_FEWEST_PROSPECTIVE = 5
_FEWEST_TO_CROSS_VALIDATE = 10
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts of validation accuracy and what came of them.

    Attributes
    ----------
    labels
        The candidates, ``n``.
    mean, std
        Forecasts in percent, shape ``(n,)``.
    how
        Where they come from, a sentence or two for the caption.
    """

    labels: tuple[Label, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    how: str

    @property
    def measured(self) -> NDArray[np.float64]:
        """Validation accuracies in percent, shape ``(n,)``."""
        return np.array([label.valid_accuracy for label in self.labels])

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Whether each measurement lies in its central 90 % interval, shape ``(n,)``."""
        inside: NDArray[np.bool_] = np.abs(self.measured - self.mean) <= _Z * self.std
        return inside


def prospective(facts: StudyFacts) -> Forecasts | None:
    """Return the forecasts that the search made before training; None if they are too few."""
    pairs = [(label, label.forecast) for label in facts.trained if label.forecast is not None]
    if len(pairs) < _FEWEST_PROSPECTIVE:
        return None
    return Forecasts(
        labels=tuple(label for label, _ in pairs),
        mean=np.array([mean for _, (mean, _) in pairs]),
        std=np.array([std for _, (_, std) in pairs]),
        how="Each forecast was made by the search’s surrogate before that candidate was trained.",
    )


def cross_validated(facts: StudyFacts, space: Space) -> Forecasts | None:
    """Forecast every label by a Gaussian process fitted to the others, in five folds.

    Returns None where there are too few labels, or all labels are equal.
    """
    labels = facts.trained
    accuracies = np.array([label.valid_accuracy for label in labels])
    keys = [label.key for label in labels]
    if len(set(keys)) < _FEWEST_TO_CROSS_VALIDATE or np.ptp(accuracies) == 0:
        return None
    from predictnas.evaluation import cross_validate
    from predictnas.predictors import get_predictor

    names = _common_proxies(labels)
    table = pd.DataFrame(
        {
            "graph": pd.Series(
                [space.graph(space.parse(label.arch)) for label in labels], dtype=object
            ),
            **{f"proxy_{name}": [label.proxies[name] for label in labels] for name in names},
        }
    )
    result = cross_validate(
        get_predictor("gp", operations=space.operations), table, accuracies, keys, folds=_FOLDS
    )
    inputs = "architecture and proxies" if names else "architecture"
    return Forecasts(
        labels=labels,
        mean=result.mean,
        std=result.std,
        how=f"The study holds fewer than {_FEWEST_PROSPECTIVE} forecasts made before training, so "
        f"these are out-of-fold predictions: {_FOLDS}-fold cross-validation of a Gaussian process "
        f"on the {inputs}, each fold predicted by a process fitted to the others.",
    )


def predicted_against_measured(forecasts: Forecasts) -> Figure:
    """Draw forecasts with 90 % intervals over measurements."""
    from predictnas.evaluation import kendall_interval, kendall_tau

    measured, mean, std, inside = (
        forecasts.measured,
        forecasts.mean,
        forecasts.std,
        forecasts.inside,
    )
    floor = scale_floor(measured)
    shown = measured >= floor

    def draw(axes: "Axes") -> dict[str, list[str]]:
        hints = {}
        axes.axline((0, 0), slope=1, color=MUTED, linewidth=0.9, dashes=(4, 3), zorder=1)
        for name, chosen, colour, face, words in (
            ("inside", inside, BLUE, BLUE, "inside its 90 % interval"),
            ("outside", ~inside, VERMILION, PAPER, "outside"),
        ):
            rows = np.flatnonzero(chosen & shown)
            if not len(rows):
                continue
            axes.vlines(
                measured[rows],
                (mean - _Z * std)[rows],
                (mean + _Z * std)[rows],
                color=colour,
                alpha=0.45,
                linewidth=1.0,
                zorder=2,
            )
            axes.scatter(
                measured[rows],
                mean[rows],
                s=24,
                color=face,
                edgecolors=colour if face == PAPER else PAPER,
                linewidths=1.2 if face == PAPER else 0.7,
                marker="s" if face == PAPER else "o",
                zorder=3,
                label=words,
                gid=f"forecast-{name}",
            )
            hints[f"forecast-{name}"] = [
                f"trial {forecasts.labels[row].number}: forecast {mean[row]:.2f} ± "
                f"{_Z * std[row]:.2f} %, measured {measured[row]:.2f} %"
                for row in rows
            ]
        axes.set_xlim(*_limits(measured[shown]))
        axes.set_ylim(
            *_limits(np.concatenate([(mean - _Z * std)[shown], (mean + _Z * std)[shown]]))
        )
        axes.set_xlabel("measured validation accuracy, %")
        axes.set_ylabel("predicted, %")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2)
        return hints

    count = int(inside.sum())
    coverage = f"{count} of {len(measured)} measured values lie in the 90 % interval"
    tau, (low, high) = kendall_tau(measured, mean), kendall_interval(measured, mean)
    ranking = ""
    if np.isfinite(tau):
        ranking = f" Kendall’s τ between forecast and measurement is {correlation(tau)}"
        ranking += (
            f" (95 % interval {correlation(low)} to {correlation(high)})."
            if np.isfinite(low)
            else "."
        )
    outside = (
        f" Measurements below {floor:.0f} % ({np.sum(~shown)}) count but lie outside the frame."
        if not shown.all()
        else ""
    )
    return Figure(
        figure_svg(
            draw,
            name="forecasts",
            label=f"predicted against measured validation accuracy; {coverage}",
            width=470,
            height=430,
        ),
        f"{forecasts.how} Bars are 90 % intervals: {coverage}; much fewer than 90 % means an "
        f"overconfident predictor, more a timid one. Points on the dashed line are exact.{ranking}"
        f"{outside}",
    )


def _common_proxies(labels: Sequence[Label]) -> list[str]:
    """Return the proxies that are finite for every label."""
    first, *rest = (
        {name for name, value in label.proxies.items() if np.isfinite(value)} for label in labels
    )
    return sorted(first.intersection(*rest))


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    pad = 0.05 * (high - low) or 1.0
    return low - pad, high + pad

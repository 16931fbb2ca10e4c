"""The learning curves of all candidates."""

from typing import TYPE_CHECKING

from predictnas.reports.figure import Figure
from predictnas.reports.palette import BLUE, SKY
from predictnas.reports.spacing import spread
from predictnas.reports.study_facts import Label, StudyFacts
from predictnas.reports.vector_graphics import figure_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["learning_curves"]

_HIGHLIGHTED = 5
_MOST_EPOCHS = 60


def learning_curves(facts: StudyFacts) -> Figure | None:
    """Draw the validation accuracy of every candidate by epoch; None where none was recorded."""
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import MaxNLocator

    labels = [label for label in facts.ranking if label.curve]
    if not labels:
        return None
    top = labels[:_HIGHLIGHTED]
    others = labels[_HIGHLIGHTED:]

    def draw(axes: "Axes") -> dict[str, list[str]]:
        axes.add_collection(
            LineCollection(
                [_points(label) for label in others],
                colors="#b9c2cc",
                linewidths=0.8,
                alpha=0.7,
                gid="others",
            )
        )
        last = max(max(label.curve) for label in labels)
        ends = [label.valid_accuracy for label in top]
        low = min(min(label.curve.values()) for label in labels)
        high = max(max(label.curve.values()) for label in labels)
        pad = 0.04 * (high - low) or 1.0
        # Ranks ascend as accuracies descend: turn both, and turn back.
        places = spread(ends[::-1], [1.55 * pad] * (len(ends) - 1))[::-1]
        for rank, (label, place) in enumerate(zip(top, places, strict=True), start=1):
            colour = BLUE if rank == 1 else SKY
            points = _points(label)
            axes.plot(
                *zip(*points, strict=True),
                color=colour,
                linewidth=2.2 if rank == 1 else 1.3,
                zorder=7 - rank,
            )
            axes.plot(
                points[-1][0], points[-1][1], "o", color=colour, markersize=3.5, zorder=7 - rank
            )
            axes.annotate(
                f"{rank}: {label.valid_accuracy:.2f} %, trial {label.number}",
                xy=(points[-1][0], label.valid_accuracy),
                xytext=(1.025, place),
                textcoords=axes.get_yaxis_transform(),
                va="center",
                fontweight="bold" if rank == 1 else "normal",
                arrowprops={
                    "arrowstyle": "-",
                    "color": colour,
                    "linewidth": 0.6,
                    "shrinkA": 1,
                    "shrinkB": 3,
                    "relpos": (0, 0.5),
                },
            )
        axes.set_xlim(min(min(label.curve) for label in labels) - 0.3, last + 0.02 * last)
        axes.set_ylim(low - pad, high + 1.5 * pad)
        axes.xaxis.set_major_locator(
            MaxNLocator(8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        )
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation accuracy, %")
        return {
            "others": [
                f"trial {label.number}: {label.valid_accuracy:.2f} %\n{label.arch}"
                for label in others
            ]
        }

    best = "the best" if len(top) == 1 else f"the best {len(top)}"
    return Figure(
        figure_svg(
            draw,
            name="learning-curves",
            label=f"learning curves of {len(labels)} candidates, {best} highlighted",
            width=960,
            height=340,
        ),
        f"Validation accuracy by epoch, one line a candidate, {best} in colour. A candidate is "
        "ranked by its last epoch, not by its best one. Lines that cross late say that stopping "
        "training sooner would rank candidates differently.",
    )


def _points(label: Label) -> list[tuple[int, float]]:
    """Return a learning curve, long ones thinned to what a figure can show."""
    points = list(label.curve.items())
    stride = -(-len(points) // _MOST_EPOCHS)
    # From the end, so that the last epoch stays.
    return points[::-stride][::-1]

"""The tables of the study of label efficiency."""

from collections.abc import Mapping
from typing import Any

__all__ = ["PUBLISHED", "markdown"]

PUBLISHED: dict[str, dict[int, float]] = {
    "nasbench201, graphs and proxies": {46: 0.75, 78: 0.836, 233: 0.835, 467: 0.858},
    "nasbench101, graphs and parameters": {100: 0.717, 172: 0.764, 424: 0.812},
}
"""Best published τ by number of labels, from other training sets than ours."""

OTHERS = {
    "Spearman ρ": "spearman",
    "precision, top 1 %": "precision, top 1 %",
    "top 5 %": "precision, top 5 %",
    "top 10 %": "precision, top 10 %",
    "nDCG, top 10 %": "ndcg, top 10 %",
    "in 50 %": "coverage, 50 %",
    "in 80 %": "coverage, 80 %",
    "in 90 %": "coverage, 90 %",
    "in 95 %": "coverage, 95 %",
    "neg. log-likelihood": "nll",
    "… constant deviation": "constant_nll",
    "… best constant": "baseline_nll",
    "mean deviation": "sharpness",
    "s to fit": "seconds_fit",
    "s to predict": "seconds_predict",
}


def markdown(result: Mapping[str, Any]) -> str:
    """Return the report of the study."""
    lines = [
        "# Predictors by number of labels",
        "",
        "Every part names its command. Means over random training sets, the same for all "
        f"predictors, with intervals ({result['interval']}); tested on architectures that are no "
        "twins of those trained on. Intervals, deviations and likelihoods are those of "
        "Gaussians with the predicted means and deviations; “constant deviation” is the same means "
        "with the root mean square of residuals held out in training, “best constant” with that of "
        "the test itself. Seconds are of one core.",
        "",
        "![Kendall τ by number of labels](predictor_efficiency.svg)",
        "",
    ]
    for title, part in result["parts"].items():
        lines += [f"## {title[0].upper()}{title[1:]}", "", *_part(title, part)]
    return "\n".join(lines)


def _part(title: str, part: Mapping[str, Any]) -> list[str]:
    summary = part["summary"]
    sizes = sorted({each["size"] for each in summary})
    names = list(dict.fromkeys(each["predictor"] for each in summary))
    found = {(each["predictor"], each["size"]): each["measures"] for each in summary}
    conditions = part["conditions"]
    ceiling, one_training = part["noise_ceiling"], part["one_training"]
    lines = [
        f"`{part['command']}`: {part['repeats']} training sets; "
        f"{conditions['architectures']} distinct architectures, {conditions['target']}"
        + (f", at most {conditions['max_test']} tested" if conditions["max_test"] else "")
        + (f"; noise ceiling: τ {ceiling:.3f}" if ceiling else "")
        + (
            f"; one training against others, published: τ {one_training:.3f}"
            if one_training
            else ""
        )
        + ". Kendall τ:",
        "",
        _row(["labels", *map(str, sizes)]),
        _row(["---"] * (len(sizes) + 1)),
    ]
    for name in names:
        taus = [found.get((name, size), {}).get("kendall") for size in sizes]
        lines.append(_row([name, *(_interval(tau) for tau in taus)]))
    published = PUBLISHED.get(title, {})
    if published:
        values = [f"{published[size]:.3f}" if size in published else "–" for size in sizes]
        lines.append(_row(["*best published*", *values]))
    largest = sizes[-1]
    lines += [
        "",
        f"With {largest} labels:",
        "",
        _row(["predictor", *OTHERS]),
        _row(["---"] * (len(OTHERS) + 1)),
    ]
    for name in names:
        measures = found.get((name, largest))
        if measures:
            lines.append(_row([name, *(_number(measures[key]["mean"]) for key in OTHERS.values())]))
    return [*lines, ""]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(measured: Mapping[str, Any] | None) -> str:
    if measured is None or measured["mean"] is None:
        return "–"
    if measured["low"] is None:
        return f"{measured['mean']:.3f}"
    return f"{measured['mean']:.3f} [{measured['low']:.3f}, {measured['high']:.3f}]"

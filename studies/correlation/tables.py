"""The tables of the study of proxy correlations, in Markdown."""

from collections.abc import Mapping
from typing import Any

from correlation.benchmarks import CHOSEN_ON

__all__ = ["markdown", "ordered", "with_direction"]


def text(measured: Mapping[str, float | None]) -> str:
    """Return a value and its interval."""
    # Adding zero turns the -0.0 of a rounded difference into 0.0.
    value, low, high = (
        None if measured[key] is None else round(measured[key], 3) + 0.0
        for key in ("value", "low", "high")
    )
    if value is None:
        return "undefined"
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def number(value: float | None) -> str:
    """Return a number with two decimals, a dash where it was not measured."""
    return "–" if value is None else f"{value:.2f}"


def ordered(rankings: Mapping[str, Any], by: str = "spearman") -> list[tuple[str, Any]]:
    """Return entries by one of their measures, the best first, the undefined last."""

    def key(item: tuple[str, Any]) -> float:
        value = item[1][by]["value"]
        return float("inf") if value is None else -value

    return sorted(rankings.items(), key=key)


def with_direction(name: str, entry: Mapping[str, Any]) -> str:
    """Return a name, marked where lower values are declared better."""
    return f"{name} ↓" if entry.get("direction") == -1 else name


def quality_table(rankings: Mapping[str, Any]) -> list[str]:
    """Return a table of how proxies or aggregates rank."""
    lines = [
        "| ranking | cells × seeds | undefined | Spearman ρ | Kendall τ | ρ in the best 10 % "
        "| precision, top 1 / 5 / 10 % | nDCG, top 1 / 5 / 10 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in ordered(rankings):
        tops = [
            " / ".join(number(each["value"]) for each in entry[measure].values())
            for measure in ("precision", "ndcg")
        ]
        correlations = [text(entry[key]) for key in ("spearman", "kendall", "spearman_best")]
        counts = f"{entry['cells']} × {entry['seeds']}"
        missing = str(entry["n_missing"])
        cells = [with_direction(name, entry), counts, missing, *correlations, *tops]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def published_table(published: Mapping[str, Any]) -> list[str]:
    """Return the comparison of our scores with the published ones."""
    lines = [
        "## Our scores and the published ones",
        "",
        "Spearman's ρ on the cells that have both.",
        "",
        "![ours and published](proxy_correlation_published.svg)",
        "",
        "| proxy | cells × seeds | ours with the target | published with the target | difference "
        "| ours with published |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in published.items():
        cells = [text(entry[key]) for key in ("ours", "theirs", "difference", "between")]
        lines.append(f"| {name} | {entry['n']} × {entry['seeds']} | {' | '.join(cells)} |")
    return lines


def variants_table(variants: Mapping[str, Any]) -> list[str]:
    """Return how the formulas that published columns follow agree with them."""
    lines = [
        "## Where our definitions differ from the published columns",
        "",
        "Spearman's ρ with the published column, of our value and of the published formula.",
        "",
        "| proxy | cells | ours | published formula | which differs by |",
        "|---|---|---|---|---|",
    ]
    for name, entry in variants.items():
        values = [number(entry[f"{kind}_with_published"]) for kind in ("ours", "variant")]
        lines.append(f"| {name} | {entry['n']} | {' | '.join(values)} | {entry['difference']} |")
    return [*lines, ""]


# Values of papers on this benchmark's CIFAR-10 accuracies: of which measure, and from where.
REPORTED = {
    "zico": ("kendall", 0.61, "Li et al. 2023, batches of 128"),
    "meco": ("spearman", 0.89, "Jiang et al. 2023"),
    "az_nas": ("kendall", 0.741, "Lee and Ham 2024"),
    "vkdnw_aggregate": ("kendall", 0.750, "Tybl and Neumann 2025"),
}
SYMBOLS = {"kendall": "τ", "spearman": "ρ"}


def reported_table(result: Mapping[str, Any]) -> list[str]:
    """Return the comparison with values of papers, of proxies that the table does not hold."""
    entries = result["aggregates"]["all cells"]["rankings"] | result["proxies"]
    lines = [
        "## Values of papers",
        "",
        "Those who measured them took other initialisations, batches or cells.",
        "",
        "| ranking | of the paper | ours | source |",
        "|---|---|---|---|",
    ]
    for name, (measure, value, source) in REPORTED.items():
        if name in entries:
            ours = text(entries[name][measure])
            lines.append(f"| {name} | {SYMBOLS[measure]} {value:.3f} | {ours} | {source} |")
    return [*lines, ""]


def markdown(result: Mapping[str, Any]) -> str:
    """Return the result as tables."""
    lines = [
        "# How well zero-cost proxies rank",
        "",
        f"`{result['command']}`: {result['data']}; intervals: {result['interval']}. ↓: lower is "
        "declared better. Undefined: cells without a score at some seed, which are left out.",
        "",
        "![how proxies and aggregates rank](proxy_correlation.svg)",
        "",
        "## Proxies",
        "",
        *quality_table(result["proxies"]),
        "## Aggregates",
        "",
        *(f"- {title}: {', '.join(names)}" for title, names in result["aggregate_members"].items()),
        "",
    ]
    for title, pool in result["aggregates"].items():
        heading = f"### {title[0].upper()}{title[1:]} ({pool['n']})"
        lines += [heading, "", *quality_table(pool["rankings"])]
    stability = result["stability"]
    batch_size, *sizes = map(str, stability["batch_sizes"])
    changed = " | ".join(f"τ, batch {size} against {batch_size} | change of ρ" for size in sizes)
    lines += [
        "## Stability",
        "",
        "Mean Kendall τ between the scores of two seeds, on the cells and seeds of the table of "
        f"proxies and on {stability['cells']} cells with further seeds; and τ between two batch "
        "sizes of one seed on those, with the change of Spearman's ρ with the target.",
        "",
        f"| proxy | τ | τ, {stability['cells']} cells | of seeds | {changed} |",
        "|---|---|---|---|" + "---|---|" * len(sizes),
    ]
    for name, entry in stability["proxies"].items():
        cells = [number(result["proxies"][name]["agreement"]), number(entry["seeds"])]
        cells.append(str(entry["n_seeds"]))
        for size in sizes:
            found = entry["batch_sizes"].get(size, {"kendall": None, "spearman_change": None})
            change = found["spearman_change"]
            cells += [number(found["kendall"]), "–" if change is None else f"{change:+.3f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if result["published"]:
        lines += ["", *published_table(result["published"]), ""]
        lines += variants_table(result["variants"])
    lines += ["", *reported_table(result)]
    for title, other in result["others"].items():
        scale = ", ".join(f"{name} {value}" for name, value in (other["scale"] or {}).items())
        lines += [
            "",
            f"## {title}",
            "",
            f"{other['n']} random architectures of {other['table']}, no two isomorphic; scored on "
            f"{other['task']} ({scale}), one seed.",
            "",
            *quality_table(other["aggregates"]["all"] | other["proxies"]),
        ]
        rest = other["aggregates"].get("not chosen on")
        if rest:
            lines += [
                f"Those of them after the first {CHOSEN_ON['others']}, on which the default was "
                "chosen:",
                "",
                *quality_table(rest),
            ]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"

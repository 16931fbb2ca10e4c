"""What the commands print of their results, and the JSON they write beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predictnas.benchmarking import RecordFile, summarise
from predictnas.console import say, show_table, write_json
from predictnas.evaluation import Correlation
from predictnas.fitting import FittedPredictor
from predictnas.importing import WrittenTable
from predictnas.spaces import Space

__all__ = [
    "show_benchmark",
    "show_correlations",
    "show_fit",
    "show_import",
    "show_ranking",
    "show_scores",
    "show_space",
    "show_spaces",
]

SHOWN_OPERATIONS = 5


def show_spaces(spaces: Sequence[Space], json: Path | None) -> None:
    """Print a line a space."""
    show_table(
        "search spaces",
        ("name", "combinations", "choices", "operations"),
        [
            (space.name, f"{space.size:,}", len(space.choices), _first(space.operations))
            for space in spaces
        ],
    )
    write_json(json, {"spaces": [{"name": space.name, "size": space.size} for space in spaces]})


def _first(names: Sequence[str]) -> str:
    """Return so many names that a line holds them, and how many there are beyond."""
    shown = ", ".join(names[:SHOWN_OPERATIONS])
    beyond = len(names) - SHOWN_OPERATIONS
    return f"{shown}, … {beyond} more" if beyond > 0 else shown


def show_space(space: Space, json: Path | None) -> None:
    """Print one space: its choices, its size and an example with its graph."""
    example = tuple(int(i) for i in space.sample(1, np.random.default_rng(0))[0])
    kind = "architectures" if space.is_product else "combinations, not all of them architectures"
    say(f"{space.name}: {space.size:,} {kind}")
    show_table(
        "choices",
        ("choice", "options"),
        [(name, ", ".join(options)) for name, options in space.choices.items()],
    )
    sizes = [f"{name}={size}" for name, size in space.default_scale.items()]
    say(f"scale: {', '.join(sizes) or 'none'}")
    say(f"example: {space.format(example)}")
    graph = space.graph(example).canonical()
    inputs: dict[int, list[int]] = {node: [] for node in range(graph.num_nodes)}
    for source, target in graph.edges:
        inputs[target].append(source)
    show_table(
        "its graph, without what does nothing",
        ("node", "operation", "inputs"),
        [
            (node, operation, ", ".join(map(str, inputs[node])))
            for node, operation in enumerate(graph.operations)
        ],
    )
    write_json(
        json,
        {
            "name": space.name,
            "size": space.size,
            "choices": {name: list(options) for name, options in space.choices.items()},
            "operations": list(space.operations),
            "scale": dict(space.default_scale),
            "example": space.format(example),
        },
    )


def show_fit(fitted: FittedPredictor, name: str, target: str, out: Path, json: Path | None) -> None:
    """Print how well a fitted predictor ranks and how honest its intervals are."""
    result: dict[str, Any] = {
        "predictor": name,
        "target": target,
        "labels": fitted.num_labels,
        "rows_left_out": fitted.num_incomplete,
        "columns": fitted.columns,
        "cross_validation": None,
        "noise_ceiling": None if fitted.ceiling is None else fitted.ceiling.to_dict(),
        "tuning": None if fitted.tuning is None else fitted.tuning.to_dict(),
    }
    graph = ["graph"] if "graph" in fitted.predictor.columns_ else []
    inputs = ", ".join([*graph, *fitted.columns])
    say(f"{name} fitted to {fitted.num_labels} labels ({target}) from {inputs}")
    if fitted.num_incomplete:
        say(
            f"{fitted.num_incomplete} rows without all proxy scores and epochs are left out; "
            "--features graph uses every row"
        )
    tuning = fitted.tuning
    if tuning is not None:
        chosen = ", ".join(f"{name}={value}" for name, value in tuning.parameters.items())
        say(
            f"{tuning.trials} settings tried, {tuning.cached} of them before: Kendall τ "
            f"{tuning.default_kendall:.3f} by default, {tuning.best_kendall:.3f} at best, standard "
            f"error of the difference {tuning.gain_error:.3f}; "
            + (f"set {chosen}" if chosen else "the defaults stay")
        )
    validation = fitted.validation
    if validation is None:
        say("too few architectures to cross-validate")
    else:
        correlation, calibration = validation.correlation, validation.calibration
        show_table(
            f"{validation.folds}-fold cross-validation, by isomorphism class",
            ("measure", "value", "95 % interval"),
            [
                ("Kendall τ", correlation.kendall, _interval(correlation.kendall_interval)),
                ("Spearman ρ", correlation.spearman, _interval(correlation.spearman_interval)),
                *((f"precision, {k}", v, "") for k, v in correlation.precision.items()),
                *((f"coverage of {k} intervals", v, "") for k, v in calibration.coverage.items()),
                ("mean predicted deviation", calibration.sharpness, ""),
                ("negative log-likelihood", calibration.nll, ""),
                ("… of a constant deviation", calibration.baseline_nll, ""),
            ],
        )
        result["cross_validation"] = validation.to_dict()
    if fitted.ceiling is not None:
        ceiling = fitted.ceiling
        say(
            f"noise ceiling: one seed against the mean of the other {ceiling.num_seeds - 1}: "
            f"Kendall τ {ceiling.one_against_others:.3f}, two seeds: "
            f"{ceiling.between_seeds:.3f}, the mean of all {ceiling.num_seeds} against what is "
            f"expected: {ceiling.of_mean:.3f} ({ceiling.n} architectures with {ceiling.num_seeds})"
        )
    say(f"saved to {out}")
    write_json(json, result)


def show_benchmark(file: RecordFile, target: str, plot: Path | None) -> None:
    """Print a line a predictor and size of a benchmark, and draw the figure."""
    from predictnas.reports.label_efficiency_figure import label_efficiency

    summaries = summarise(file.wanted())
    conditions = file.benchmark.conditions
    rows = []
    for each in summaries:
        means = {name: float(interval.mean) for name, interval in each.measures.items()}
        tau = each.measures["kendall"]
        rows.append(
            (
                each.predictor,
                each.size,
                means["kendall"],
                _interval((float(tau.low), float(tau.high))),
                means["spearman"],
                means["precision, top 10 %"],
                means["coverage, 90 %"],
                means["nll"],
                means["constant_nll"],
                means["seconds_fit"],
                means["seconds_predict"],
            )
        )
    show_table(
        f"{target} of {conditions['architectures']} architectures from "
        f"{len(conditions['features'])} columns; means over {file.benchmark.repeats} "
        f"{conditions['design']} training sets, tested on all others"
        + (f", at most {conditions['max_test']}" if conditions["max_test"] else ""),
        (
            *("predictor", "labels", "Kendall τ", "95 %", "Spearman ρ", "precision, top 10 %"),
            *("in 90 %", "neg. log-lik.", "… constant", "s to fit", "s to predict"),
        ),
        rows,
    )
    # Tested on means over seeds.
    ceiling = file.ceiling and file.ceiling["of_mean"]
    if ceiling:
        say(
            "noise ceiling, what is expected against the mean of "
            f"{file.ceiling['num_seeds']} seeds: Kendall τ {ceiling:.3f}"
        )
    if plot is not None:
        figure = label_efficiency(summaries, ceiling or None, f"{conditions['space']}, {target}")
        plot.write_text(figure.svg + "\n", encoding="utf-8")
        say(f"drawn to {plot}")
    if file.path is not None:
        say(f"saved to {file.path}")


def show_import(tables: Sequence[WrittenTable], json: Path | None) -> None:
    """Print a line a label table, and what of the benchmark's invariants was checked."""
    show_table(
        "imported",
        ("file", "data set", "rows", "architectures", "seeds"),
        [(str(t.path), t.dataset, t.rows, t.architectures, t.seeds or "") for t in tables],
    )
    for table in tables:
        if isinstance(table.checks, str):
            say(f"{table.dataset}: nothing to check its architectures by")
        elif table.checks:
            done = ", ".join(
                f"{name.replace('_', ' ')} {'–' if value is None else value}"
                for name, value in table.checks.items()
            )
            say(f"{table.dataset}: checked against the benchmark: {done}")
    result = [{**vars(table), "path": str(table.path)} for table in tables]
    write_json(json, {"tables": result})


def show_scores(
    table: pd.DataFrame, given: int, out: Path, json: Path | None, provenance: dict[str, Any]
) -> None:
    """Print a line a proxy: how many values there are, and their range.

    Parameters
    ----------
    table
        Scores, a row a distinct architecture.
    given
        How many architectures were given, isomorphic ones counted each.
    out
        Where the scores are.
    json
        Where to write the summary as JSON.
    provenance
        What the scores depend on.
    """
    rows, summary = [], {}
    for column in [c for c in table.columns if c.startswith("proxy_")]:
        name = column.removeprefix("proxy_")
        values = table[column].to_numpy(dtype=np.float64)
        finite = values[np.isfinite(values)]
        status = table[f"status_{name}"]
        problems = status[status != "ok"].value_counts()
        low, middle, high = (
            (float(q) for q in np.quantile(finite, (0, 0.5, 1))) if len(finite) else 3 * [np.nan]
        )
        worst = f"{problems.index[0]} ({problems.iloc[0]})" if len(problems) else ""
        rows.append((name, len(finite), low, middle, high, worst))
        summary[name] = {
            "defined": len(finite),
            "minimum": low,
            "median": middle,
            "maximum": high,
            "problems": {str(k): int(v) for k, v in problems.items()},
        }
    columns = ("proxy", "defined", "minimum", "median", "maximum", "why not")
    show_table(f"{len(table)} distinct of {given} given architectures scored", columns, rows)
    say(f"saved to {out}")
    result = {"given": given, "architectures": len(table)}
    write_json(json, {**result, "proxies": summary, "provenance": provenance})


def show_ranking(table: pd.DataFrame, top: int, json: Path | None) -> None:
    """Print the best candidates of a ranking."""
    best = table.head(top)
    columns = [str(column) for column in best.columns]
    rows = best.to_dict(orient="records")
    show_table(
        f"best {len(best)} of {len(table)} distinct candidates",
        [column.replace("_", " ") for column in columns],
        [[row[column] for column in columns] for row in rows],
    )
    write_json(json, {"candidates": len(table), "best": rows})


def show_correlations(results: Sequence[Correlation], target: str, json: Path | None) -> None:
    """Print how every column correlates with the target, best Kendall τ first."""
    shares = list(results[0].precision) if results else []
    ordered = sorted(results, key=lambda result: -np.nan_to_num(result.kendall, nan=-2.0))
    show_table(
        f"rank correlation with {target}; precision at the {', '.join(shares)}",
        ("column", "rows", "Kendall τ", "95 %", "Spearman ρ", "95 %", *shares, "note"),
        [
            (
                result.column,
                result.n,
                result.kendall,
                _interval(result.kendall_interval),
                result.spearman,
                _interval(result.spearman_interval),
                *result.precision.values(),
                result.note,
            )
            for result in ordered
        ],
    )
    write_json(json, {"target": target, "columns": [result.to_dict() for result in results]})


def _interval(interval: tuple[float, float]) -> str:
    return "" if np.isnan(interval[0]) else f"[{interval[0]:.3f}, {interval[1]:.3f}]"

"""Measure how well predictors rank architectures, and how honest they are, by number of labels.

Repeats ``predictnas benchmark predictors`` over published tables, each given as ``NAME=FILE``: all
predictors on the same random training sets, tested on all other architectures, without any twin of
one that was trained on. On NAS-Bench-201 only cells with proxy scores count, whatever the inputs,
so that inputs are compared on the same cells. The ablation crosses encodings, predictors, inputs
and losses at one number of labels. The tables are not part of this repository. Every record is
written as soon as it is measured: interrupted, the same command goes on. Writes
``results/predictor_efficiency.json``, ``.md`` and ``.svg``.

    python studies/predictor_efficiency.py --table nasbench201=TABLE.parquet
        [--table nasbench101=OTHER.parquet ...]
    python studies/predictor_efficiency.py --smoke
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from efficiency.ablation import ENCODED, LOSSES, ablation
from efficiency.figure import draw
from efficiency.tables import markdown

from predictnas.benchmarking import PredictorBenchmark, run_benchmark
from predictnas.console import progress, say
from predictnas.evaluation import paired_difference
from predictnas.evaluation.json_values import json_value
from predictnas.predictors import PREDICTORS, Predictor, get_predictor
from predictnas.spaces import get_space
from predictnas.tables import LabelTable, label_table, read_table, write_table

ABLATION_SIZES = (100,)


@dataclass(frozen=True)
class Part:
    """A table and what is measured on it: inputs by their title, and numbers of labels."""

    space: str
    target: str
    features: Mapping[str, str]
    sizes: tuple[int, ...]
    complete: bool = False
    # How well one training ranks, measured elsewhere where the table holds means only.
    ceiling: float | None = None


PARTS = {
    "nasbench201": Part(
        "nasbench201",
        "valid_accuracy",
        {"graphs and proxies": "graph,proxies", "graphs": "graph"},
        (23, 46, 78, 100, 156, 233, 467),
        complete=True,
        ceiling=0.919,
    ),
    "nasbench101": Part(
        "nasbench101",
        "valid_accuracy",
        {"graphs and parameters": "graph,params", "graphs": "graph"},
        (100, 172, 424),
    ),
    "darts": Part(
        "darts",
        "valid_accuracy",
        {"graphs and proxies": "graph,proxies", "graphs": "graph"},
        (100, 209, 500),
        complete=True,
    ),
    "transnas101-micro": Part(
        "transnas101-micro", "class_scene", {"graphs": "graph"}, (46, 100, 233)
    ),
    "transnas101-macro": Part(
        "transnas101-macro", "class_scene", {"graphs": "graph"}, (46, 100, 233)
    ),
}


def measure(
    title: str,
    table: LabelTable,
    predictors: Mapping[str, Predictor],
    part: Part,
    features: str,
    arguments: argparse.Namespace,
    sizes: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    """Run one benchmark and return its result."""
    benchmark = PredictorBenchmark(
        table,
        predictors,
        sizes or arguments.sizes or part.sizes,
        arguments.repeats,
        features=features,
        complete=part.complete,
        max_test=arguments.max_test,
    )
    say(title)
    name = "-".join("".join(c if c.isalnum() else " " for c in title).split())
    path = arguments.work / f"{name}.json"
    file = run_benchmark(benchmark, path, workers=arguments.workers, on_step=say, progress=progress)
    records = file.wanted()
    content = json.loads(path.read_text(encoding="utf-8"))
    measured = content["noise_ceiling"]
    kept = {(record["predictor"], record["size"]) for record in records}
    return {
        "conditions": content["conditions"],
        "noise_ceiling": measured["one_against_others"] if measured else part.ceiling,
        "summary": [s for s in content["summary"] if (s["predictor"], s["size"]) in kept],
        "gains_over_auto": gains(records),
    }


def gains(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return by how much τ of each predictor exceeds that of auto, set by set."""
    taus: dict[tuple[str, int], dict[int, float]] = {}
    for record in records:
        by_repeat = taus.setdefault((record["predictor"], record["size"]), {})
        by_repeat[record["repeat"]] = record["kendall"]
    found = []
    for (name, size), by_repeat in taus.items():
        against = taus.get(("auto", size), {})
        if name != "auto" and against.keys() == by_repeat.keys():
            repeats = sorted(by_repeat)
            gain = paired_difference([by_repeat[r] for r in repeats], [against[r] for r in repeats])
            found.append({"predictor": name, "size": size, "kendall": gain.to_dict()})
    return found


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all parts whose table is given."""
    parts: dict[str, Any] = {}
    for name, path in arguments.table.items():
        part = PARTS[name]
        table = label_table(read_table(path), get_space(part.space), part.target)
        predictors = {each: get_predictor(each) for each in arguments.predictors}
        for inputs, features in part.features.items():
            title = f"{name}, {inputs}"
            parts[title] = measure(title, table, predictors, part, features, arguments)
            variants = ablation(arguments.ablated) if name == "nasbench201" else {}
            if variants:
                title = f"ablation, {title}"
                sizes = arguments.sizes or ABLATION_SIZES
                parts[title] = measure(title, table, variants, part, features, arguments, sizes)
    return {
        "command": command_line(arguments),
        "interval": "95 %, Student's t over training sets",
        "repeats": arguments.repeats,
        "parts": parts,
    }


def command_line(arguments: argparse.Namespace) -> str:
    """Return the command that made the result, with tables by file name."""
    words = ["python studies/predictor_efficiency.py"]
    words += [f"--table {name}={path.name}" for name, path in arguments.table.items()]
    words += [f"--repeats {arguments.repeats} --predictors {','.join(arguments.predictors)}"]
    words += [f"--ablated {','.join(arguments.ablated) or 'none'}"]
    if arguments.sizes:
        words.append(f"--sizes {','.join(map(str, arguments.sizes))}")
    if arguments.max_test:
        words.append(f"--max-test {arguments.max_test}")
    return " ".join(words)


def named_table(given: str) -> tuple[str, Path]:
    """Read ``NAME=FILE``."""
    name, separator, path = given.partition("=")
    if name not in PARTS or not separator:
        raise argparse.ArgumentTypeError(
            f"expected NAME=FILE with a name among {', '.join(PARTS)}, found {given!r}"
        )
    return name, Path(path)


def smoke_inputs(arguments: argparse.Namespace) -> None:
    """Make a table, so that the study runs without the published files."""
    rng = np.random.default_rng(0)
    space = get_space("nasbench201")
    cells = space.sample(160, rng, distinct=True)
    table = pd.DataFrame({"arch": space.format_all(cells)})
    table["valid_accuracy"] = 80 + (cells == 3).sum(axis=1) + rng.normal(size=len(cells))
    table["proxy_made_up"] = table["valid_accuracy"] + rng.normal(size=len(cells))
    path = arguments.work / "table.parquet"
    write_table(table, path, metadata={})
    arguments.table = {"nasbench201": path}
    arguments.sizes, arguments.repeats, arguments.max_test = (10,), 2, 60
    arguments.predictors, arguments.ablated, arguments.workers = ["forest", "gp"], ["forest"], 1


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=named_table, action="append", default=[])
    default = [name for name in PREDICTORS if name != "lcsvr"]  # it needs learning curves
    parser.add_argument("--predictors", type=lambda text: text.split(","), default=default)
    parser.add_argument(
        "--sizes", type=lambda text: tuple(map(int, text.split(","))), help="for all parts alike"
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--max-test", type=int, help="test on at most so many")
    parser.add_argument(
        "--ablated",
        type=lambda text: [] if text == "none" else text.split(","),
        default=[name for name in (*ENCODED, *LOSSES) if name in PREDICTORS],
        help="predictors of the ablation, or none",
    )
    parser.add_argument("--workers", type=int, help="processes; one a core if not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "work")
    parser.add_argument("--smoke", action="store_true", help="made-up data, less than a minute")
    arguments = parser.parse_args()
    if not arguments.smoke and not arguments.table:
        parser.error("--table is needed, or --smoke")
    arguments.table = dict(arguments.table)
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.smoke:
        smoke_inputs(arguments)
    result = json_value(run(arguments))
    written = json.dumps(result, indent=1, allow_nan=False)
    (arguments.out / "predictor_efficiency.json").write_text(written + "\n", encoding="utf-8")
    report = markdown(result)
    (arguments.out / "predictor_efficiency.md").write_text(report, encoding="utf-8")
    draw(result, arguments.out / "predictor_efficiency.svg")
    print(report)


if __name__ == "__main__":
    main()

"""Measure how well predictors rank architectures, and how honest they are, by number of labels.

Repeats ``predictnas benchmark predictors`` over the table of the package, digits201, or over
published ones, each given as ``NAME=FILE`` and not part of this repository: all predictors on the
same random training sets, tested on all other architectures, without any twin of one that was
trained on. Where a part of the cells has proxy scores, only these count, whatever the inputs, so
that inputs are compared on the same cells. ``NAME+pretrain`` has learned from the inputs of all
architectures first, but from no label; ``NAME+transfer`` from all labels of another task on the
same cells. Some training sets are chosen by a design instead. The ablation crosses encodings,
predictors, inputs and losses at one number of labels. Every record is written as soon as it is
measured: interrupted, the same command goes on. Writes ``results/predictor_efficiency.json``,
``.md`` and ``.svg``; parts that a command does not measure stay there as they were, each with the
command that made it.

    python studies/predictor_efficiency.py [--table nasbench201=TABLE.parquet ...]
    python studies/predictor_efficiency.py --smoke
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficiency.ablation import ENCODED, LOSSES, ablation
from efficiency.figure import draw
from efficiency.tables import markdown

from predictnas.benchmarking import PredictorBenchmark, run_benchmark, summarise
from predictnas.console import progress, say
from predictnas.evaluation import paired_difference
from predictnas.evaluation.json_values import json_value
from predictnas.knowledge import Knowledge
from predictnas.predictors import PREDICTORS, Predictor, SourceTask, get_predictor
from predictnas.search import DESIGNS
from predictnas.spaces import get_space
from predictnas.tables import (
    SHIPPED_TABLES,
    LabelTable,
    label_table,
    read_table,
    shipped_table,
)
from predictnas.transferring import read_source_task

# What is measured on a table: predictors by inputs, designs of training sets, the ablation.
MEASURED = ("inputs", "designs", "ablation")
ABLATION_SIZES = (100,)
ABLATED = ("digits201", "nasbench201")
# What is fitted to training sets that were not drawn at random, and how large these are.
DESIGNED = ("gp", "boosting")
DESIGN_SIZES = (46, 100)
DESIGN_TEST = 200


@dataclass(frozen=True)
class Part:
    """A table and what is measured on it: inputs by their title, and numbers of labels."""

    space: str
    target: str
    features: Mapping[str, str]
    sizes: tuple[int, ...]
    complete: bool = False
    # A column of the same table with the labels of another task, to transfer from.
    source: str | None = None
    # How well one training agrees with others, published, where the table holds means only.
    one_training: float | None = None


PARTS = {
    "digits201": Part(
        "nasbench201",
        "valid_accuracy",
        {"graphs and proxies": "graph,proxies", "graphs": "graph"},
        (23, 46, 78, 100, 156, 233, 467),
        complete=True,
    ),
    "nasbench201": Part(
        "nasbench201",
        "valid_accuracy",
        {"graphs and proxies": "graph,proxies", "graphs": "graph"},
        (23, 46, 78, 100, 156, 233, 467),
        complete=True,
        one_training=0.919,
    ),
    "nasbench101": Part(
        "nasbench101",
        "valid_accuracy",
        {"graphs and parameters": "graph,params"},
        (100, 172, 424),
    ),
    "darts": Part(
        "darts",
        "valid_accuracy",
        {"graphs and proxies": "graph,proxies"},
        (100, 500),
        complete=True,
    ),
    "transnas101-micro": Part(
        "transnas101-micro", "class_scene", {"graphs": "graph"}, (46, 100, 233), source="jigsaw"
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
    source: SourceTask | None = None,
    design: str = "random",
    max_test: int | None = None,
) -> dict[str, Any]:
    """Run one benchmark and return its result; where there is more to learn from, with that too."""
    benchmark = PredictorBenchmark(
        table,
        predictors,
        sizes or arguments.sizes or part.sizes,
        arguments.repeats,
        features=features,
        complete=part.complete,
        design=design,
    )
    most = max_test or arguments.max_test
    if most and len(benchmark.X) - max(benchmark.sizes) > most:
        benchmark = dataclasses.replace(benchmark, max_test=most)
    say(title)
    told = {name: each for name, each in predictors.items() if name in arguments.pretrained}
    if told:
        knowledge = Knowledge(table.space, unlabelled=benchmark.X)
        variants = {**predictors, **knowledge.variants(told)}
        benchmark = dataclasses.replace(benchmark, predictors=variants)
    told = {name: each for name, each in predictors.items() if name in arguments.transferred}
    if source is not None and told:
        variants = {**benchmark.predictors, **Knowledge(table.space, source).variants(told)}
        benchmark = dataclasses.replace(benchmark, predictors=variants)
    name = "-".join("".join(c if c.isalnum() else " " for c in title).split())
    path = arguments.work / f"{name}.json"
    file = run_benchmark(benchmark, path, workers=arguments.workers, on_step=say, progress=progress)
    records = file.wanted()
    return {
        "conditions": benchmark.conditions,
        "noise_ceiling": file.ceiling["of_mean"] if file.ceiling else None,
        "one_training": part.one_training,
        "summary": [each.to_dict() for each in summarise(records)],
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
    """Measure all parts whose table is given; return them by title."""
    parts: dict[str, Any] = {}
    for name, path in arguments.table.items():
        part = PARTS[name]
        table = label_table(read_table(path), get_space(part.space), part.target)
        predictors = {each: get_predictor(each) for each in arguments.predictors}
        source = None
        if part.source is not None and arguments.transferred:
            source = read_source_task(str(path), part.source, table.space, own=table, seed=0)
        for inputs, features in part.features.items():
            title = f"{name}, {inputs}"
            if "inputs" in arguments.measured:
                parts[title] = measure(
                    title, table, predictors, part, features, arguments, source=source
                )
            if name in ABLATED and features == "graph" and "designs" in arguments.measured:
                designed = {each: predictors[each] for each in DESIGNED if each in predictors}
                for design in arguments.designs if designed else ():
                    title = f"{name}, {inputs}, {design} training sets"
                    parts[title] = measure(
                        *(title, table, designed, part, features, arguments),
                        sizes=arguments.sizes or DESIGN_SIZES,
                        design=design,
                        # The same test sets whatever the design takes away.
                        max_test=arguments.max_test or DESIGN_TEST,
                    )
            variants = ablation(arguments.ablated) if name in ABLATED else {}
            if variants and "ablation" in arguments.measured:
                title = f"ablation, {name}, {inputs}"
                sizes = arguments.sizes or ABLATION_SIZES
                parts[title] = measure(title, table, variants, part, features, arguments, sizes)
    told = {"command": command_line(arguments), "repeats": arguments.repeats}
    return {title: {**told, **part} for title, part in parts.items()}


def command_line(arguments: argparse.Namespace) -> str:
    """Return the command that made the result, with tables by file name."""
    words = ["python studies/predictor_efficiency.py"]
    words += [
        f"--table {name}" if name in SHIPPED_TABLES else f"--table {name}={path.name}"
        for name, path in arguments.table.items()
    ]
    words += [f"--repeats {arguments.repeats} --predictors {','.join(arguments.predictors)}"]
    for option in ("measured", "pretrained", "transferred", "designs", "ablated"):
        words.append(f"--{option} {','.join(getattr(arguments, option)) or 'none'}")
    if arguments.sizes:
        words.append(f"--sizes {','.join(map(str, arguments.sizes))}")
    if arguments.max_test:
        words.append(f"--max-test {arguments.max_test}")
    return " ".join(words)


def named_table(given: str) -> tuple[str, Path]:
    """Read ``NAME=FILE``, or the name of a table of the package."""
    name, separator, path = given.partition("=")
    if given in SHIPPED_TABLES:
        return given, shipped_table(given)
    if name not in PARTS or not separator:
        raise argparse.ArgumentTypeError(
            f"expected NAME=FILE with a name among {', '.join(PARTS)}, found {given!r}"
        )
    return name, Path(path)


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=named_table, action="append", default=[])
    default = [name for name in PREDICTORS if name != "lcsvr"]  # it needs learning curves
    parser.add_argument("--predictors", type=lambda text: text.split(","), default=default)
    parser.add_argument(
        "--sizes", type=lambda text: tuple(map(int, text.split(","))), help="for all parts alike"
    )
    parser.add_argument(
        "--measured",
        type=lambda text: text.split(","),
        default=list(MEASURED),
        help=f"of {', '.join(MEASURED)}",
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--max-test", type=int, help="test on at most so many")
    some = {"type": lambda text: [] if text == "none" else text.split(",")}
    parser.add_argument(
        "--pretrained", **some, default=["auto", "gnn"], help="predictors to pretrain too, or none"
    )
    parser.add_argument(
        "--transferred", **some, default=["gp"], help="predictors to transfer to too, or none"
    )
    parser.add_argument(
        "--designs", **some, default=list(DESIGNS), help="of training sets, or none"
    )
    parser.add_argument(
        "--ablated",
        **some,
        default=[name for name in (*ENCODED, *LOSSES) if name in PREDICTORS],
        help="predictors of the ablation, or none",
    )
    parser.add_argument("--workers", type=int, help="processes; one a core if not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "work")
    parser.add_argument("--smoke", action="store_true", help="a part of it, less than a minute")
    arguments = parser.parse_args()
    arguments.table = dict(arguments.table or [named_table("digits201")])
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.smoke:
        arguments.sizes, arguments.repeats, arguments.max_test = (10,), 2, 60
        arguments.predictors, arguments.pretrained = ["forest", "gp"], ["gp"]
        arguments.ablated, arguments.designs, arguments.workers = ["forest"], ["diverse"], 1
    path = arguments.out / "predictor_efficiency.json"
    before = json.loads(path.read_text(encoding="utf-8"))["parts"] if path.exists() else {}
    parts = {**before, **run(arguments)}
    result = json_value({"interval": "95 %, Student's t over training sets", "parts": parts})
    path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    report = markdown(result)
    (arguments.out / "predictor_efficiency.md").write_text(report, encoding="utf-8")
    draw(result, arguments.out / "predictor_efficiency.svg")
    print(report)


if __name__ == "__main__":
    main()

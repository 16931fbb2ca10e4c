"""Measure how well every zero-cost proxy, and every aggregate of them, ranks trained networks.

Scores random cells of NAS-Bench-201 (all strings equally likely, no two isomorphic) with
``predictnas score`` at the published setting (16 channels, 5 cells a stage, batches of 64 CIFAR-10
images) from several seeds, each with weights and a batch of its own, and a part of them from
further seeds and with other batch sizes. Measures the order of the scores against the accuracy of
a published table, among all cells and among its best, with bootstrap intervals over the cells;
compares our scores with the table's ``proxy_*`` columns on the same cells; and does the same, from
one seed, on other benchmarks. The files that it needs are not part of this repository. Interrupted,
the same command goes on. Writes ``results/proxy_correlation.json``, ``.md`` and two figures.

    python studies/proxy_correlation.py --table TABLE.parquet --task CIFAR10.npz
        [--other transnas101-micro=OTHER.parquet:class_scene:500]
    python studies/proxy_correlation.py --smoke
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from correlation.benchmarks import CHOSEN_ON, Benchmark, benchmark, drawn, drawn_cells
from correlation.figures import draw
from correlation.measures import (
    NAMES,
    PUBLISHED,
    ScoresByProxy,
    by_proxy,
    compare_published,
    measure_aggregates,
    measure_proxies,
    measure_stability,
)
from correlation.published_variants import VARIANTS
from correlation.tables import markdown

import proxies
from predictnas.evaluation import Resamples, spearman
from predictnas.evaluation.json_values import json_value
from predictnas.spaces import get_space
from predictnas.tables import read_metadata, read_table, write_table
from predictnas.training import load_task, seeded

BATCH_SIZE, OTHER_BATCH_SIZES = 64, (32, 128)


class Setting(NamedTuple):
    """What networks are built from and scored on; None: the command's default scale."""

    space: str
    task: Path
    scale: str | None


def score(
    names: Sequence[str],
    archs: Sequence[str],
    setting: Setting,
    out: Path,
    *,
    seed: int,
    batch_size: int = BATCH_SIZE,
    as_scored: bool = False,
) -> pd.DataFrame:
    """Score architectures with the command line; return one row each, indexed by its text.

    As scored: take what the file holds, of however many architectures and proxies.
    """
    listed = out.with_suffix(".txt")
    command = [
        *(sys.executable, "-m", "predictnas", "score", "--space", setting.space),
        *("--archs", str(listed), "--task", str(setting.task), "--out", str(out)),
        *("--proxy-batch", str(batch_size), "--seed", str(seed), "--proxies", ",".join(names)),
    ]
    if setting.scale is not None:
        command += ["--scale", setting.scale]
    if not as_scored:
        listed.write_text("\n".join(archs) + "\n", encoding="utf-8")
        subprocess.run(command, check=True)
    table = read_table(out).set_index("arch") if out.exists() else pd.DataFrame()
    columns = [f"{kind}_{name}" for kind in ("proxy", "status") for name in names]
    return table.reindex(index=list(archs), columns=columns)


def measure_variants(
    archs: Sequence[str], table: pd.DataFrame, main: ScoresByProxy, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Compare the published columns with the formulas that they follow where ours differ."""
    rows = np.flatnonzero(table[list(PUBLISHED.values())].notna().all(axis=1))
    rows = rows[: arguments.variants]
    space, task = get_space("nasbench201"), load_task(str(arguments.task))
    scale = dict(pair.split("=") for pair in arguments.scale.split(","))
    images, labels = task.train.images[:BATCH_SIZE], task.train.labels[:BATCH_SIZE]
    found: dict[str, Any] = {}
    for name, (difference, formula) in VARIANTS.items():
        theirs = table[PUBLISHED[name]].to_numpy(dtype=np.float64)[rows]
        ours = main[name].values[0][rows]
        values = []
        for row in rows:
            with seeded(0):
                network = space.build(
                    space.parse(archs[row]),
                    task.input_shape,
                    task.num_classes,
                    **{key: int(value) for key, value in scale.items()},
                )
                values.append(formula(network.train(), images, labels))
        known = np.isfinite(ours) & np.isfinite(values)
        found[name] = {
            "difference": difference,
            "n": int(known.sum()),
            "ours_with_published": spearman(ours[known], theirs[known]),
            "variant_with_published": spearman(np.array(values)[known], theirs[known]),
        }
    return found


def measure_other(other: Benchmark, arguments: argparse.Namespace) -> dict[str, Any]:
    """Score random architectures of another table from one seed and measure their order."""
    archs, target = drawn(other)
    scale = arguments.other_scale.get(other.space)
    setting = Setting(other.space, arguments.other_task or arguments.task, scale)
    out = arguments.work / other.file_name
    scores = by_proxy([score(NAMES, archs, setting, out, seed=0, as_scored=arguments.as_scored)])
    pools = {
        "all": np.ones(len(archs), dtype=np.bool_),
        "not chosen on": np.arange(len(archs)) >= CHOSEN_ON["others"],
    }
    metadata = read_metadata(out)
    return {
        "table": other.table.name,
        "target": other.target,
        "n": int(max(each.computed.sum() for each in scores.values())),
        "task": setting.task.name,
        "scale": metadata.get("scale"),
        "proxies": measure_proxies(scores, target, arguments.resamples),
        "aggregates": {
            title: measure_aggregates(scores, target, rows, arguments.resamples)["rankings"]
            for title, rows in pools.items()
            if rows.any()
        },
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw the cells, score them and measure everything."""
    # The short runs come first, so that what is wrong with a file shows within minutes.
    others = {
        f"{other.space}, {other.target}": measure_other(other, arguments)
        for other in arguments.other
    }
    space = get_space("nasbench201")
    cells, table = drawn_cells(arguments.table, arguments.target, arguments.sample)
    archs = list(table.index)
    target = table[arguments.target].to_numpy(dtype=np.float64)
    setting = Setting("nasbench201", arguments.task, arguments.scale)
    part = archs[: arguments.variation]

    def scored(texts: list[str], name: str, **options: Any) -> pd.DataFrame:
        out = arguments.work / f"{name}.parquet"
        return score(NAMES, texts, setting, out, as_scored=arguments.as_scored, **options)

    seeds = range(arguments.seeds)
    further_seeds = range(arguments.seeds, arguments.seeds + arguments.further_seeds)
    main = by_proxy([scored(archs, f"seed{seed}", seed=seed) for seed in seeds])
    further = by_proxy([scored(part, f"variation-seed{s}", seed=s) for s in further_seeds])
    batches = {
        size: by_proxy([scored(part, f"variation-batch{size}", seed=0, batch_size=size)])
        for size in OTHER_BATCH_SIZES
    }
    drawn = Resamples(len(archs), resamples=arguments.resamples, seed=0)
    published = [column for column in PUBLISHED.values() if column in table]
    pools = {
        "all cells": np.ones(len(archs), dtype=np.bool_),
        "cells with a path": np.array([bool(g.canonical().edges) for g in space.graphs(cells)]),
        "cells with published proxies": table[published].notna().all(axis=1).to_numpy(),
        "cells that the default was not chosen on": np.arange(len(archs))
        >= CHOSEN_ON["nasbench201"],
    }
    metadata = read_metadata(arguments.work / "seed0.parquet")
    return {
        "command": command_line(arguments),
        "data": f"{len(archs)} random cells of NAS-Bench-201, no two isomorphic; target "
        f"{arguments.target}; scale {arguments.scale}; a batch of {BATCH_SIZE} images of "
        f"{arguments.task.name}; every measure is the mean over seeds, each with its own weights "
        "and batch, of scores turned into the proxy's declared direction, on the cells and from "
        "the seeds that are named with it",
        "interval": f"95 %, percentiles of {arguments.resamples} bootstrap resamples of the cells",
        "scored_with": {key: metadata.get(key) for key in ("device", "dtype", "versions")},
        "proxies": measure_proxies(main, target, arguments.resamples),
        "aggregate_members": {title: list(names) for title, names in proxies.AGGREGATES.items()},
        "aggregates": {
            title: measure_aggregates(main, target, rows, arguments.resamples)
            for title, rows in pools.items()
            if rows.any()
        },
        "stability": measure_stability(main, further, batches, target[: len(part)], BATCH_SIZE),
        "published": compare_published(main, table, target, drawn),
        "variants": measure_variants(archs, table, main, arguments),
        "others": others,
    }


def command_line(arguments: argparse.Namespace) -> str:
    """Return the command that made the result, with tables by file name."""
    words = [
        "python studies/proxy_correlation.py --table TABLE --task TASK",
        f"--sample {arguments.sample} --seeds {arguments.seeds} --variation {arguments.variation}",
        f"--further-seeds {arguments.further_seeds} --variants {arguments.variants}",
        *(other.option for other in arguments.other),
        *(f"--other-scale {space}={scale}" for space, scale in arguments.other_scale.items()),
    ]
    if arguments.as_scored:
        words.append(f"--as-scored --work {arguments.work}")
    if arguments.other_task is not None:
        words.append(f"--other-task {arguments.other_task.name}")
    return " ".join(words)


def scale_of_space(given: str) -> tuple[str, str]:
    """Read ``SPACE=NAME=VALUE,...``."""
    space, separator, scale = given.partition("=")
    if not separator or "=" not in scale:
        raise argparse.ArgumentTypeError(f"expected SPACE=NAME=VALUE,..., found {given!r}")
    return space, scale


def smoke_inputs(arguments: argparse.Namespace) -> None:
    """Make a small task and a table, so that the study runs without the published files."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, size=(200, 8, 8, 3), dtype=np.uint8), np.arange(200) % 10
    arguments.task = arguments.work / "task.npz"
    np.savez(arguments.task, x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    space = get_space("nasbench201")
    cells = space.iterate()
    table = pd.DataFrame({"arch": space.format_all(cells)})
    table["valid_accuracy"] = (cells == 3).sum(axis=1) + rng.normal(size=len(cells))
    for column in PUBLISHED.values():
        made_up = table["valid_accuracy"] + rng.normal(size=len(cells))
        table[column] = made_up.where(cells[:, 0] != 0)
    arguments.table, arguments.target = arguments.work / "table.parquet", "valid_accuracy"
    write_table(table, arguments.table, metadata={})
    arguments.scale = "channels=4,cells=1"
    arguments.sample, arguments.seeds, arguments.resamples = 8, 2, 20
    arguments.variation, arguments.further_seeds, arguments.variants = 3, 1, 3
    arguments.other = [Benchmark("nasbench201", arguments.table, "valid_accuracy", 4)]
    arguments.other_scale = {"nasbench201": arguments.scale}


def main() -> None:
    """Score, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path)
    parser.add_argument("--target", default="valid_accuracy")
    parser.add_argument("--task", type=Path)
    parser.add_argument("--scale", default="channels=16,cells=5")
    parser.add_argument("--sample", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variation", type=int, default=200, help="cells of the further runs")
    parser.add_argument("--further-seeds", type=int, default=2)
    parser.add_argument("--variants", type=int, default=100, help="cells of published formulas")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--other", type=benchmark, action="append", default=[])
    parser.add_argument("--other-task", type=Path, help="as --task if not given")
    parser.add_argument("--other-scale", type=scale_of_space, action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "work")
    parser.add_argument(
        "--as-scored", action="store_true", help="score nothing more: what --work holds"
    )
    parser.add_argument("--smoke", action="store_true", help="made-up data, less than a minute")
    arguments = parser.parse_args()
    if not arguments.smoke and (arguments.table is None or arguments.task is None):
        parser.error("--table and --task are needed, or --smoke")
    arguments.other_scale = dict(arguments.other_scale)
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.smoke:
        smoke_inputs(arguments)
    result = json_value(run(arguments))
    written = json.dumps(result, indent=1, allow_nan=False)
    (arguments.out / "proxy_correlation.json").write_text(written + "\n", encoding="utf-8")
    report = markdown(result)
    (arguments.out / "proxy_correlation.md").write_text(report, encoding="utf-8")
    draw(result, arguments.out)
    print(report)


if __name__ == "__main__":
    main()

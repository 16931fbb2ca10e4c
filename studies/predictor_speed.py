"""How long predictors take to learn and to predict a whole space.

Every predictor learns from some cells of digits201, by their graphs and proxy scores, and predicts
all 15,625 cells of NAS-Bench-201; lcsvr reads the first five epochs instead of scores. What is
predicted gets the columns of labelled cells, drawn at random: seconds do not depend on values.
Encoding graphs and laying out columns is timed apart from what a predictor makes of rows encoded.
Each predictor has a process of its own with one thread. Writes ``results/predictor_speed.json``
and ``.md``.

    python studies/predictor_speed.py
    python studies/predictor_speed.py --smoke
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from predictnas.benchmarking import complete_rows
from predictnas.fitting import feature_table, reads_curves
from predictnas.predictors import PREDICTORS, GNNPredictor, get_predictor
from predictnas.predictors.features import Features
from predictnas.predictors.wl_kernel import WLGraphs
from predictnas.sources import read_label_source
from predictnas.spaces import get_space
from predictnas.tables import label_table

# Everything that turns graphs and columns into rows of numbers.
ENCODING = ((Features, "transform"), (WLGraphs, "transform"), (GNNPredictor, "_graphs"))


class Clock:
    """Seconds of the process and of the wall, since it was started."""

    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def read(self) -> dict[str, float]:
        """Return the seconds so far."""
        return {
            "seconds": time.perf_counter() - self.wall,
            "cpu_seconds": time.process_time() - self.cpu,
        }


@contextlib.contextmanager
def timed_encoding() -> Iterator[list[float]]:
    """Note the processor seconds of every encoding."""
    spent: list[float] = []
    plain = [getattr(owner, name) for owner, name in ENCODING]

    def watched(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments)
            finally:
                spent.append(time.process_time() - start)

        return call

    for (owner, name), function in zip(ENCODING, plain, strict=True):
        setattr(owner, name, watched(function))
    try:
        yield spent
    finally:
        for (owner, name), function in zip(ENCODING, plain, strict=True):
            setattr(owner, name, function)


def measure(name: str, labels: int, cells: int | None) -> dict[str, Any]:
    """Fit one predictor and predict the space, or its first cells."""
    torch.set_num_threads(1)
    space = get_space("nasbench201")
    features = "graph,curve:5" if name == "lcsvr" else "graph,proxies"
    table = label_table(
        read_label_source("digits201", curves=reads_curves(features)), space, "valid_accuracy"
    )
    X = feature_table(table, features)
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(complete_rows(X))
    rows = rng.permutation(rows)[:labels]
    graphs = pd.Series(space.graphs(space.iterate()[:cells]), dtype=object)
    everything = X.iloc[rng.choice(rows, len(graphs))].reset_index(drop=True).assign(graph=graphs)
    predictor = get_predictor(name, operations=space.operations)
    clock = Clock()
    predictor.fit(X.iloc[rows], table.targets[rows])
    fitting = clock.read()
    with timed_encoding() as encoding:
        clock = Clock()
        predictor.predict(everything, return_std=True)
        predicting = clock.read()
    rest = predicting["cpu_seconds"] - sum(encoding)
    return {
        "predictor": name,
        "labels": len(rows),
        "cells": len(graphs),
        "fit": fitting,
        "predict": predicting,
        "encode_cpu_seconds": sum(encoding),
        "encoded_a_second": len(graphs) / rest,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=467)
    parser.add_argument("--cells", type=int, help="the first so many cells of the space alone")
    parser.add_argument("--predictors", type=lambda text: text.split(","), default=list(PREDICTORS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--smoke", action="store_true", help="few cells, seconds")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.labels, arguments.cells = 12, 40
        arguments.predictors = ["gp", "gnn", "ridge"]
    os.environ["OMP_NUM_THREADS"] = "1"
    some = arguments.predictors != list(PREDICTORS)
    runs = []
    for name in arguments.predictors:
        # A fresh process for every predictor: none finds what another has computed.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
            runs.append(pool.submit(measure, name, arguments.labels, arguments.cells).result())
    result = {
        "command": f"python studies/predictor_speed.py --labels {arguments.labels}"
        + (f" --cells {arguments.cells}" if arguments.cells else "")
        + (f" --predictors {','.join(arguments.predictors)}" if some else ""),
        "machine": f"{platform.machine()} CPU, {os.cpu_count()} cores, one thread",
        "torch": torch.__version__,
        "runs": runs,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    written = json.dumps(result, indent=1) + "\n"
    (arguments.out / "predictor_speed.json").write_text(written, encoding="utf-8")
    (arguments.out / "predictor_speed.md").write_text(report(result), encoding="utf-8")
    print(report(result))


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    first = result["runs"][0]
    lines = [
        "# How long predictors take",
        "",
        f"`{result['command']}`: {first['labels']} labels of digits201, {first['cells']:,} cells "
        f"predicted with standard deviations; {result['machine']}, PyTorch {result['torch']}. One "
        "run each; seconds of the processor, and of the wall in parentheses, which other work on "
        "the machine makes longer. Encoding is part of predicting; the rate is that of the rest.",
        "",
        "| predictor | fit, s | predict, s | of that encoding, s | encoded cells a second |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {run['predictor']} | {_both(run['fit'])} | {_both(run['predict'])} "
        f"| {run['encode_cpu_seconds']:.2f} | {run['encoded_a_second']:,.0f} |"
        for run in result["runs"]
    ]
    return "\n".join([*lines, ""])


def _both(seconds: dict[str, float]) -> str:
    return f"{seconds['cpu_seconds']:.2f} ({seconds['seconds']:.2f})"


if __name__ == "__main__":
    main()

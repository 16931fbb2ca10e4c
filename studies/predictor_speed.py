"""How long predictors take to learn and to predict a whole space.

Every predictor learns from some cells of digits201, by their graphs and proxy scores, and predicts
all 15,625 cells of NAS-Bench-201; lcsvr reads the first five epochs instead of scores. What is
predicted gets the columns of labelled cells, drawn at random: seconds do not depend on values.
Then it learns and predicts again, with the encodings of graphs and columns remembered: the rate is
that of what a predictor makes of rows encoded, the best of several times. Each predictor has a
process of its own that may use as many threads as there are cores. Writes
``results/predictor_speed.json`` and ``.md``.

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


# Predictions of encoded rows of which the fastest counts.
REPEATS = 3


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
def remembered_encodings() -> Iterator[None]:
    """Encode the same rows once only."""
    known: dict[tuple[int, int, int], Any] = {}
    plain = [getattr(owner, name) for owner, name in ENCODING]

    def remembering(function: Any) -> Any:
        def call(owner: Any, rows: Any) -> Any:
            # Parts of one table: what they hold differs if their first graph does.
            graphs = getattr(rows, "graphs", rows)
            key = id(owner), id(graphs[0]), len(graphs)
            if key not in known:
                known[key] = function(owner, rows)
            return known[key]

        return call

    for (owner, name), function in zip(ENCODING, plain, strict=True):
        setattr(owner, name, remembering(function))
    try:
        yield
    finally:
        for (owner, name), function in zip(ENCODING, plain, strict=True):
            setattr(owner, name, function)


def measure(name: str, labels: int, cells: int | None, threads: int) -> dict[str, Any]:
    """Fit one predictor and predict the space, or its first cells."""
    torch.set_num_threads(threads)
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
    clock = Clock()
    predictor.predict(everything, return_std=True)
    predicting = clock.read()
    clock = Clock()
    predictor.fit(X.iloc[rows], table.targets[rows])
    fitting_again = clock.read()
    again = []
    with remembered_encodings():
        for _ in range(1 + REPEATS):
            clock = Clock()
            predictor.predict(everything, return_std=True)
            again.append(clock.read()["seconds"])
    return {
        "predictor": name,
        "labels": len(rows),
        "cells": len(graphs),
        "fit": fitting,
        "fit_again": fitting_again,
        "predict": predicting,
        "encoded_seconds": again[1:],
        "encoded_a_second": len(graphs) / min(again[1:]),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=467)
    parser.add_argument("--cells", type=int, help="the first so many cells of the space alone")
    parser.add_argument("--predictors", type=lambda text: text.split(","), default=list(PREDICTORS))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--smoke", action="store_true", help="few cells, seconds")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.labels, arguments.cells = 12, 40
        arguments.predictors = ["gp", "gnn", "ridge"]
    some = arguments.predictors != list(PREDICTORS)
    runs = []
    for name in arguments.predictors:
        # A fresh process for every predictor: none finds what another has computed.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
            job = measure, name, arguments.labels, arguments.cells, arguments.threads
            runs.append(pool.submit(*job).result())
    result = {
        "command": f"python studies/predictor_speed.py --labels {arguments.labels} "
        f"--threads {arguments.threads}"
        + (f" --cells {arguments.cells}" if arguments.cells else "")
        + (f" --predictors {','.join(arguments.predictors)}" if some else ""),
        "machine": f"{platform.machine()} CPU, {os.cpu_count()} cores",
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
        "run each; seconds of the wall, which other work on the machine makes longer, and of the "
        "processor in parentheses. Encoding is part of predicting; the rate is that of predictions "
        f"with encodings remembered, the fastest of {REPEATS}. The first fit of a process also "
        "loads the libraries that the predictor needs; the next one has them.",
        "",
        "| predictor | first fit, s | next fit, s | predict, s | predict encoded, s "
        "| encoded cells a second |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {run['predictor']} | {_both(run['fit'])} | {_both(run['fit_again'])} "
        f"| {_both(run['predict'])} "
        f"| {min(run['encoded_seconds']):.2f} | {run['encoded_a_second']:,.0f} |"
        for run in result["runs"]
    ]
    return "\n".join([*lines, ""])


def _both(seconds: dict[str, float]) -> str:
    return f"{seconds['seconds']:.2f} ({seconds['cpu_seconds']:.2f})"


if __name__ == "__main__":
    main()

"""How long a whole space takes to encode.

All 15,625 cells of NAS-Bench-201 to keys (those of the benchmark and those of the graphs), one-hot
operations, paths, Weisfeiler-Lehman labels and graph features, and the 423,624 distinct cells of
NAS-Bench-101 enumerated, hashed and written as one-hot operations and adjacency. Each space has a
process of its own, with nothing computed before and one thread; the peak of its memory is what the
operating system counted. Weisfeiler-Lehman labels are those of 1,000 random cells, as a predictor
that was trained on so many has them. Writes ``results/encoding_speed.json`` and ``.md``.

    python studies/encoding_speed.py
    python studies/encoding_speed.py --smoke
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from encoders import get_encoder
from predictnas.spaces import get_space

# The cells whose Weisfeiler-Lehman labels are counted.
FITTED = 1000
ENCODINGS = {
    "adjacency": "one-hot operations and adjacency",
    "path": "paths",
    "weisfeiler_lehman": "Weisfeiler-Lehman labels",
    "graf": "graph features",
}


class Stopwatch:
    """Seconds of the steps of one run, and what came out of each."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, Any]] = {}

    def time(self, step: str, run: Callable[[], Any]) -> Any:
        """Return what `run` returns, noting how long that took and how much there is of it."""
        start, start_cpu = time.perf_counter(), time.process_time()
        result = run()
        self.steps[step] = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - start_cpu,
            "size": list(np.shape(result)) or [len(result)],
        }
        return result

    def result(self, space: str) -> dict[str, Any]:
        """Return the steps, their sum and the peak of this process's memory."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "space": space,
            "steps": self.steps,
            "seconds": sum(step["seconds"] for step in self.steps.values()),
            "cpu_seconds": sum(step["cpu_seconds"] for step in self.steps.values()),
            # Linux counts in kibibytes, macOS in bytes.
            "peak_bytes": peak * (1 if sys.platform == "darwin" else 1024),
        }


def nasbench201(cells: int | None) -> dict[str, Any]:
    """Encode all cells of NAS-Bench-201, or the first so many."""
    space, watch = get_space("nasbench201"), Stopwatch()
    archs = watch.time("enumerated", lambda: space.iterate()[:cells])
    watch.time("keys of the benchmark", lambda: space.keys(archs))
    graphs = watch.time("graphs", lambda: space.graphs(archs))
    watch.time("keys of the graphs", lambda: [graph.key() for graph in graphs])
    chosen = np.random.default_rng(0).permutation(len(graphs))[:FITTED]
    for name, title in ENCODINGS.items():
        sample = [graphs[index] for index in chosen] if name == "weisfeiler_lehman" else graphs
        encoder = get_encoder(name)(operations=space.operations)
        watch.time(title, lambda encoder=encoder, sample=sample: encode(encoder, sample, graphs))
    return watch.result(space.name)


def encode(encoder: Any, sample: Any, graphs: Any) -> np.ndarray:
    """Fit an encoder to a sample, and encode all graphs."""
    encoded: np.ndarray = encoder.fit(sample).transform(graphs)
    return encoded


def nasbench101(cells: int | None) -> dict[str, Any]:
    """Enumerate, hash and encode all cells of NAS-Bench-101, or the first so many."""
    space, watch = get_space("nasbench101"), Stopwatch()
    archs = watch.time("enumerated", lambda: space.iterate()[:cells])
    hashes = watch.time("module hashes", lambda: space.keys(archs))
    batch = watch.time("graphs as arrays", lambda: space.graph_batch(archs))
    encoder = get_encoder("adjacency")(operations=space.operations)
    watch.time(ENCODINGS["adjacency"], lambda: encode(encoder, batch, batch))
    return {**watch.result(space.name), "distinct_hashes": len(set(hashes))}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, help="the first so many cells of each space alone")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--smoke", action="store_true", help="few cells, seconds")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.cells, arguments.repeats = 300, 1
    os.environ["OMP_NUM_THREADS"] = "1"
    runs = []
    for measure in (nasbench201, nasbench101):
        found = []
        for _ in range(arguments.repeats):
            # A fresh process for every run: none finds what another has computed.
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
                found.append(pool.submit(measure, arguments.cells).result())
        found.sort(key=lambda run: run["seconds"])
        runs.append({**found[(len(found) - 1) // 2], "all_seconds": [r["seconds"] for r in found]})
    result = {
        "command": f"python studies/encoding_speed.py --repeats {arguments.repeats}"
        + (f" --cells {arguments.cells}" if arguments.cells else ""),
        "machine": f"{platform.machine()} CPU, {os.cpu_count()} cores, one process, one thread",
        "numpy": np.__version__,
        "runs": runs,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    written = json.dumps(result, indent=1) + "\n"
    (arguments.out / "encoding_speed.json").write_text(written, encoding="utf-8")
    (arguments.out / "encoding_speed.md").write_text(report(result), encoding="utf-8")
    print(report(result))


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = [
        "# How long a whole space takes to encode",
        "",
        f"`{result['command']}`: {result['machine']}, NumPy {result['numpy']}. Whole spaces, of "
        f"which nothing is drawn but the {FITTED:,} cells (seed 0) whose Weisfeiler-Lehman labels "
        "are counted. Of every space the run of median length, each in a fresh process, with the "
        "shortest and the longest as its interval. What else the machine was doing makes seconds "
        "longer than the processor was computing.",
    ]
    for run in result["runs"]:
        shortest, longest = min(run["all_seconds"]), max(run["all_seconds"])
        lines += [
            "",
            f"## {run['space']}",
            "",
            f"{run['seconds']:.1f} s in all [{shortest:.1f}, {longest:.1f}; "
            f"{len(run['all_seconds'])} runs], {run['cpu_seconds']:.1f} s of them computing, "
            f"{run['peak_bytes'] / 2**30:.2f} GiB of memory at the peak.",
            "",
            "| step | seconds | seconds computing | size |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {step['seconds']:.2f} | {step['cpu_seconds']:.2f} "
            f"| {' × '.join(f'{n:,}' for n in step['size'])} |"
            for name, step in run["steps"].items()
        ]
        if "distinct_hashes" in run:
            lines += ["", f"{run['distinct_hashes']:,} of the module hashes are distinct."]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()

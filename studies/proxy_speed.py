"""How long proxies take: alone, together, and against passes of their own for each.

Networks of NAS-Bench-201 at the published setting (16 channels, 5 cells a stage, 32 × 32 images,
batch 64; speed does not depend on what is in the images). Measures for every proxy alone, for the
thirteen classical ones together and for all proxies together the seconds a network, and divides
them by one forward and backward pass of the same network on the same batch in the same run. Then
compares throughput: the thirteen by ``proxies`` in one process a core with one thread each,
against each proxy in passes of its own (``speed/separate_passes.py``) with all cores as threads
of one process. Writes ``results/proxy_speed.json`` and ``.md``.

    python studies/proxy_speed.py
    python studies/proxy_speed.py --smoke
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed.separate_passes import SEPARATE
from torch import Tensor, nn
from torch.nn import functional

import proxies
from predictnas.evaluation import mean_interval
from predictnas.scoring.setting import ScoringSetting
from predictnas.scoring.workers import score_jobs
from predictnas.spaces import Arch, get_space
from predictnas.training.memory import keep_freed_memory

CLASSICAL = tuple(SEPARATE)
ALL = tuple(name for name, proxy in proxies.PROXIES.items() if not proxy.measured)
TOGETHER = {
    "the thirteen": CLASSICAL,
    "the thirteen without grasp": tuple(name for name in CLASSICAL if name != "grasp"),
    "all proxies": ALL,
}
CLASSES, REPEATS = 10, 4


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Return how long something takes, until the device has finished it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def forward_and_backward(network: nn.Module, x: Tensor, y: Tensor) -> None:
    """Run one training step without the optimiser."""
    network.train()
    functional.cross_entropy(network(x), y).backward()
    network.zero_grad()


def costs(
    networks: list[nn.Module], batch: tuple[Tensor, Tensor], device: torch.device
) -> dict[str, Any]:
    """Measure proxies alone and together, in seconds and in forward and backward passes."""
    jobs = {**{name: (name,) for name in ALL}, **TOGETHER}
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    units: dict[str, list[float]] = {"as built": [], "channels last": []}
    last = batch[0].contiguous(memory_format=torch.channels_last), batch[1]
    for network in networks:
        # The first call of a kernel on a shape prepares it.
        forward_and_backward(network, *batch)
        for name, wanted in jobs.items():
            run = partial(proxies.score, network, batch, wanted)
            taken[name].append(min(seconds(run, device) for _ in range(2)))
        for layout, given in (("as built", batch), ("channels last", last)):
            if layout == "channels last":
                network.to(memory_format=torch.channels_last)
            step = partial(forward_and_backward, network, *given)
            units[layout].append(min(seconds(step, device) for _ in range(3)))
    totals = {layout: np.sum(values) for layout, values in units.items()}
    measured = {}
    for name, values in taken.items():
        interval = mean_interval(values)
        measured[name] = {
            "seconds": float(interval.mean),
            "seconds_interval": [float(interval.low), float(interval.high)],
            "units": {layout: float(np.sum(values) / total) for layout, total in totals.items()},
        }
    unit_seconds = {layout: float(np.mean(values)) for layout, values in units.items()}
    return {"unit_seconds": unit_seconds, "proxies": measured}


def throughput(
    setting: ScoringSetting, archs: list[Arch], workers: int, device: torch.device
) -> dict[str, Any]:
    """Compare the thirteen in worker processes with passes of their own in one process."""
    networks = [build(setting, arch).to(device) for arch in archs]
    torch.set_num_threads(workers)

    def separately() -> None:
        for network in networks:
            network.train()
            for function in SEPARATE.values():
                function(network, (setting.images, setting.labels))

    jobs = [(arch, CLASSICAL) for arch in archs]
    scoring = score_jobs(setting, jobs * (1 + REPEATS), workers=workers, threads=1)
    # All networks once before the clock starts: for workers to start, kernels to be prepared for
    # their shapes, and memory to be there. Often after it, for a worker is ahead then by a part
    # of a network.
    for _ in jobs:
        next(scoring)
    together = seconds(lambda: list(scoring), device) / (REPEATS * len(archs))
    separately()
    separate = seconds(separately, device) / len(archs)
    # As the worker processes do: what is left then comes from sharing passes and from processes.
    keep_freed_memory()
    separately()
    kept = seconds(separately, device) / len(archs)
    torch.set_num_threads(1)
    return {
        "networks": len(archs),
        "processes": workers,
        "seconds_together": together,
        "seconds_separate": separate,
        "seconds_separate_kept": kept,
        "times_faster": separate / together,
    }


def build(setting: ScoringSetting, arch: Arch) -> nn.Module:
    """Return the network of an architecture."""
    torch.manual_seed(setting.seed)
    return setting.space.build(arch, setting.input_shape, setting.num_classes, **setting.scale)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=32, help="height and width of an image")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--smoke", action="store_true", help="small networks, seconds")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.networks, arguments.channels, arguments.cells = 2, 4, 1
        arguments.batch, arguments.side = 12, 8
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(kind if arguments.device == "auto" else arguments.device)
    space = get_space("nasbench201")
    archs = [tuple(map(int, a)) for a in space.sample(arguments.networks, np.random.default_rng(0))]
    generator = torch.Generator().manual_seed(0)
    shape = (3, arguments.side, arguments.side)
    images = torch.randn(arguments.batch, *shape, generator=generator).to(device)
    labels = torch.randint(0, CLASSES, (arguments.batch,), generator=generator).to(device)
    scale = {"channels": arguments.channels, "cells": arguments.cells}
    setting = ScoringSetting(space, shape, CLASSES, scale, images, labels, 0, None)
    torch.set_num_threads(1)
    networks = [build(setting, arch).to(device) for arch in archs]
    workers = len(os.sched_getaffinity(0)) if device.type == "cpu" else 1
    result = {
        "command": f"python studies/proxy_speed.py --networks {arguments.networks} "
        f"--channels {arguments.channels} --cells {arguments.cells} --device {device.type}",
        "data": f"{arguments.networks} random cells of NAS-Bench-201, {arguments.channels} "
        f"channels, {arguments.cells} cells a stage, batch {arguments.batch} of "
        f"3 × {arguments.side} × {arguments.side}",
        "interval": "95 %, t, over networks, each the better of two measurements",
        "machine": name_of(device),
        "torch": torch.__version__,
        **costs(networks, (images, labels), device),
        "throughput": throughput(setting, archs, workers, device),
    }
    if device.type == "cuda":
        result["peak_memory_bytes"] = torch.cuda.max_memory_allocated(device)
    arguments.out.mkdir(parents=True, exist_ok=True)
    written = json.dumps(result, indent=1) + "\n"
    (arguments.out / "proxy_speed.json").write_text(written, encoding="utf-8")
    (arguments.out / "proxy_speed.md").write_text(report(result), encoding="utf-8")
    print(report(result))


def name_of(device: torch.device) -> str:
    """Return the name of a GPU, or of the CPU's architecture and the cores in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, one thread a process, {os.cpu_count()} cores"


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    unit, compared = result["unit_seconds"], result["throughput"]
    lines = [
        "# How long proxies take",
        "",
        f"`{result['command']}`: {result['data']}; {result['machine']}, torch {result['torch']}; "
        f"intervals: {result['interval']}.",
        "",
        "One unit is one forward and backward pass of the same network on the same batch: "
        f"{unit['as built']:.3f} s with the network as it is built, "
        f"{unit['channels last']:.3f} s with its images laid out with channels last, as the "
        "passes of proxies have them.",
        "",
        "| proxy | seconds a network | units | units, channels last |",
        "|---|---|---|---|",
    ]
    for name, entry in result["proxies"].items():
        low, high = entry["seconds_interval"]
        lines.append(
            f"| {name} | {entry['seconds']:.3f} [{low:.3f}, {high:.3f}] "
            f"| {entry['units']['as built']:.2f} | {entry['units']['channels last']:.2f} |"
        )
    lines += [
        "",
        f"The thirteen for {compared['networks']} networks, {compared['processes']} cores: "
        f"{compared['seconds_together']:.2f} s a network in {compared['processes']} processes, "
        f"{compared['seconds_separate']:.2f} s with each proxy in passes of its own and "
        f"{compared['processes']} threads: {compared['times_faster']:.1f} times faster. "
        "Where those passes keep freed memory too, as worker processes do, they take "
        f"{compared['seconds_separate_kept']:.2f} s.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

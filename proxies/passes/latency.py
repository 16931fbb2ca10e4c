"""The latency pass: inference on the batch, timed by the clock."""

from __future__ import annotations

import platform
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxies.subject import Subject

__all__ = ["Latency", "latency"]

# How long readings are repeated, in seconds, and how often at least and at most.
_BUDGET = 1.0
_LEAST, _MOST = 10, 200
# A warm-up ends when so many readings in a row have not beaten the best by more than 5 %.
_STABLE = 3
_GAIN = 0.05


@dataclass(frozen=True)
class Latency:
    """How long a forward pass takes, and what was timed where.

    Parameters
    ----------
    median, p95
        Median and 95th percentile of the readings, in milliseconds for the whole batch.
    batch_size
        Samples in the batch.
    device
        Where it ran, with the name of the processor where that is known.
    repeats, warmup
        Number of readings, and of the passes before them.
    threads
        Threads of the CPU that PyTorch may use for one operation.
    dtype
        Floating-point type of the parameters and inputs.
    torch
        Version of PyTorch.
    """

    median: float
    p95: float
    batch_size: int
    device: str
    repeats: int
    warmup: int
    threads: int
    dtype: str
    torch: str


def latency(subject: Subject, *, warmup: int = 3, repeats: int | None = None) -> Latency:
    """Return how long inference on the batch takes, by the clock.

    The model is in evaluation mode without gradients and in its own memory layout; inputs are on
    the device already, and a reading ends when the device has finished.

    Parameters
    ----------
    subject
        The module and the batch.
    warmup
        Passes before the first reading, at least; none if 0. It goes on, up to a second in all,
        until three passes in a row were not more than 5 % faster than the fastest before.
    repeats
        Number of readings; as many as take a second, from 10 to 200, if not given.
    """
    with replace(subject, channels_last=False).lent(training=False) as leaves, torch.no_grad():

        def run() -> float:
            # The model may write into its inputs.
            inputs = tuple(x.clone() for x in subject.inputs)
            _finish(subject.device)
            start = perf_counter()
            subject.forward(inputs)
            _finish(subject.device)
            return perf_counter() - start

        trials = _warmed_up(run, warmup)
        readings = _repeated(run) if repeats is None else [run() for _ in range(repeats)]
    tensors = (*leaves.values(), *subject.inputs)
    kinds = {str(t.dtype).removeprefix("torch.") for t in tensors if t.is_floating_point()}
    return Latency(
        median=1e3 * float(np.median(readings)),
        p95=1e3 * float(np.quantile(readings, 0.95)),
        batch_size=subject.batch_size,
        device=_name_of(subject.device),
        repeats=len(readings),
        warmup=len(trials),
        threads=torch.get_num_threads(),
        dtype=", ".join(sorted(kinds)),
        torch=torch.__version__,
    )


def _warmed_up(run: Callable[[], float], least: int) -> list[float]:
    """Run until readings are stable, and return them."""
    trials: list[float] = []
    best, since = float("inf"), 0
    while len(trials) < least or (least and since < _STABLE and sum(trials) < _BUDGET):
        trials.append(run())
        since = 0 if trials[-1] < (1 - _GAIN) * best else since + 1
        best = min(best, trials[-1])
    return trials


def _repeated(run: Callable[[], float]) -> list[float]:
    """Run for the budget of time, within the bounds, and return the readings."""
    readings: list[float] = []
    while len(readings) < _LEAST or (len(readings) < _MOST and sum(readings) < _BUDGET):
        readings.append(run())
    return readings


def _finish(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _name_of(device: torch.device) -> str:
    """Return the device with the name of its processor, as in ``cuda:0 (NVIDIA H200)``."""
    name = platform.processor()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type != "cpu":
        name = ""
    else:
        # Linux does not tell Python the processor's name.
        with suppress(OSError):
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            models = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
            name = models[0].strip() if models else name
    return f"{device} ({name})" if name else str(device)

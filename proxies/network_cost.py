"""Costs of a network on a device: memory for training, depth, and latency by the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxies.errors import ProxyError
from proxies.passes.latency import Latency
from proxies.passes.latency import latency as timed
from proxies.proxy import proxy
from proxies.subject import subject_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from proxies.probe import Probe

__all__ = [
    "Latency",
    "activation_memory",
    "depth",
    "latency",
    "latency_p95",
    "measure_latency",
]


@proxy(half=True)
def activation_memory(probe: Probe) -> float:
    """Return the bytes that training keeps for the backward pass, per sample of the batch.

    Distinct storages that autograd saves in a forward pass on the batch; parameters, buffers and
    inputs are not counted. Which they are follows from the kernels of the device and from the
    type of the parameters. As a predictor larger networks promise more; as a cost lower is
    better.
    """
    return probe.activation_memory


@proxy(half=True)
def depth(probe: Probe) -> float:
    """Return the largest number of weighted layers on a path from the input to the output.

    Weighted layers are convolutions and linear layers with parameters, however they are written,
    among them the projections of attention; one that is applied twice counts twice. As a
    predictor larger networks promise more; as a cost lower is better.
    """
    return probe.depth


@proxy(measured=True, half=True)
def latency(probe: Probe) -> float:
    """Return the median time of inference on the batch, in milliseconds.

    By the clock on the device, for the whole batch: no two readings are equal, and other work on
    the machine shows. See :func:`measure_latency`. As a predictor larger networks promise more;
    as a cost lower is better.
    """
    return probe.latency.median


@proxy(measured=True, half=True)
def latency_p95(probe: Probe) -> float:
    """Return the 95th percentile of the time of inference on the batch, in milliseconds.

    Of the same readings as :func:`latency`. As a predictor larger networks promise more; as a
    cost lower is better.
    """
    return probe.latency.p95


def measure_latency(
    model: nn.Module,
    batch: tuple[torch.Tensor | tuple[torch.Tensor, ...], torch.Tensor | None],
    *,
    device: str | torch.device = "auto",
    warmup: int = 3,
    repeats: int | None = None,
    dtype: torch.dtype | str | None = None,
) -> Latency:
    """Measure how long inference on a batch takes on a device, by the clock.

    Evaluation mode, without gradients, in the model's own memory layout, with the batch on the
    device already; each reading ends when the device has finished. The model comes back as it was.

    Parameters
    ----------
    model
        The network. Its forward takes x, or the elements of x where x is a tuple.
    batch
        Inputs x of shape ``(B, ...)`` and labels y, which are not used and may be None.
    device
        Where to run, as in :func:`proxies.score`.
    warmup
        Passes before the first reading, at least; none if 0. It goes on, up to a second in all,
        until three passes in a row were not more than 5 % faster than the fastest before.
    repeats
        Number of readings; as many as take a second, from 10 to 200, if not given.
    dtype
        Floating-point type to compute in, of parameters and inputs; the model's own if not given.

    Returns
    -------
    Latency
        Median and 95th percentile in milliseconds for the whole batch, and what was timed where.

    Raises
    ------
    ProxyError
        If an argument cannot be used.

    Examples
    --------
    >>> import torch
    >>> from proxies.network_cost import measure_latency
    >>> measured = measure_latency(torch.nn.Linear(16, 10), (torch.ones(8, 16), None), repeats=20)
    >>> measured.batch_size, measured.repeats, 0 < measured.median <= measured.p95
    (8, 20, True)
    """
    if warmup < 0:
        raise ProxyError(f"expected warmup to be at least 0, found {warmup}")
    if repeats is not None and repeats < 1:
        raise ProxyError(f"expected repeats to be at least 1, found {repeats}")
    subject = subject_of(model, batch, device=device, dtype=dtype)
    return timed(subject, warmup=warmup, repeats=repeats)

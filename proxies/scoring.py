"""Scoring a model: several proxies on one probe."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

import proxies
from proxies.errors import UndefinedProxyError, reason_of
from proxies.isolation import without_autocast
from proxies.passes.splits import SPLITS
from proxies.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import nn

__all__ = ["ProxyScore", "Scores", "score"]


@dataclass(frozen=True)
class ProxyScore:
    """The value of one proxy for one model and batch.

    Parameters
    ----------
    value
        The value, or nan if there is none.
    status
        ``"ok"``, or in one line why there is no value.
    direction
        +1 when higher values promise a better network, −1 when lower ones do.
    seconds
        How long it took. A pass that several proxies share is charged to the first of them.
    """

    value: float
    status: str
    direction: int
    seconds: float


class Scores(dict[str, ProxyScore]):
    """Proxy name → score, with what the values depend on.

    Parameters
    ----------
    scores
        The scores by proxy name.
    provenance
        What the values belong to; see :func:`score`.
    """

    def __init__(self, scores: Mapping[str, ProxyScore], provenance: dict[str, Any]) -> None:
        super().__init__(scores)
        self.provenance = provenance


def score(
    model: nn.Module,
    batch: tuple[torch.Tensor | tuple[torch.Tensor, ...], torch.Tensor | None],
    names: Iterable[str] | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    micro_batch: int | None = None,
    dtype: torch.dtype | str | None = None,
) -> Scores:
    """Score a model with zero-cost proxies.

    The model comes back as it was, also where its forward raises: parameters, buffers, gradients,
    modes, hooks, and all global random streams. Whether it is in training or evaluation mode,
    frozen or not, or was scored before, makes no difference: proxies see it in training mode with
    batch statistics and without dropout; those that take one sample (macs, flops, synflow), in
    evaluation mode. Meanwhile it must not be used by another thread.

    Parameters
    ----------
    model
        The network. Its forward takes x, or the elements of x where x is a tuple.
    batch
        Inputs x and labels y, of shapes ``(B, ...)`` and ``(B,)``; for segmentation-like outputs
        ``(B, classes, ...)`` labels are ``(B, ...)``. y may be None where no proxy needs a loss.
    names
        The proxies to compute; if not given, all of :data:`~proxies.PROXIES` but those that are
        a stopwatch's readings (latency).
    seed
        Seed of everything that is drawn. The same seed gives the same values in any process.
    device
        Where to compute. ``"auto"`` is the accelerator that the model is on, else CUDA where
        there is one, else the CPU. The model itself stays where it is.
    loss
        Function of output and y that returns the mean loss over the samples; cross-entropy if not
        given.
    micro_batch
        Samples to take at a time where memory is short. It never changes a value: models whose
        samples influence each other (batch normalisation, random layers) keep the batch whole,
        and on accelerators hold in main memory what their backward passes need. Where memory
        runs out, it is halved until it suffices.
    dtype
        Floating-point type to compute in (a ``torch.dtype`` or its name), the model's own if not
        given. In ``bfloat16`` and ``float16`` proxies that need more precision are undefined.

    Returns
    -------
    Scores
        For every name a :class:`ProxyScore`; a proxy that is undefined for the model or fails has
        the value nan and says why in its status, and the others are not affected. The attribute
        `provenance` records seed, batch (size, shape of a sample, fingerprint, how it was taken
        and split), mode, device, dtype and the version of PyTorch.

    Raises
    ------
    ProxyError
        If an argument cannot be used, such as an unknown proxy.

    Examples
    --------
    >>> import torch
    >>> import proxies
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 10))
    >>> batch = torch.ones(2, 1, 4, 4), torch.tensor([0, 1])
    >>> scores = proxies.score(model, batch, ["params", "naswot"])
    >>> scores["params"].value
    170.0
    >>> scores["naswot"].status
    'expected ReLU-like activations on the way to the output, found none'
    """
    if names is None:
        names = [name for name, declared in proxies.PROXIES.items() if not declared.measured]
    chosen = [names] if isinstance(names, str) else list(names)
    functions = {name: proxies.get_proxy(name) for name in chosen}
    probe = Probe(
        model,
        batch,
        seed=seed,
        device=device,
        loss=loss,
        micro_batch=micro_batch,
        dtype=dtype,
        reads={product for function in functions.values() for product in function.reads},
    )
    scores = {}
    for name, function in functions.items():
        start = time.perf_counter()
        try:
            _check_precision(probe, function)
            with without_autocast(probe.subject.device):
                value, status = float(function(probe)), "ok"
        except Exception as error:  # noqa: BLE001 - one proxy's failure is its status
            value, status = math.nan, reason_of(error)
        if status == "ok" and not math.isfinite(value):
            value, status = math.nan, f"expected a finite value, found {value}"
        scores[name] = ProxyScore(value, status, function.direction, time.perf_counter() - start)
    return Scores(scores, _provenance(probe))


def _check_precision(probe: Probe, function: proxies.Proxy) -> None:
    kinds = probe.subject.kinds
    if not function.half and any(torch.finfo(kind).bits < 32 for kind in kinds):
        raise UndefinedProxyError(
            "expected float32 or float64 numbers for this proxy, found "
            + ", ".join(str(kind).removeprefix("torch.") for kind in kinds)
            + "; give dtype"
        )


def _provenance(probe: Probe) -> dict[str, Any]:
    subject = probe.subject
    return {
        "seed": subject.seed,
        "batch_size": subject.batch_size,
        "input_shape": [list(x.shape[1:]) for x in subject.inputs],
        "batch": subject.fingerprint(),
        "micro_batch": subject.micro_batch,
        "splits": SPLITS,
        "mode": "training",
        "loss": "cross_entropy" if subject.loss is None else _name_of(subject.loss),
        "device": str(subject.device),
        "dtype": ", ".join(str(kind).removeprefix("torch.") for kind in subject.kinds),
        "torch": torch.__version__,
    }


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))

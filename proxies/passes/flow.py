"""The flow pass: how much the sum of outputs grows with all weights together (synflow).

The model runs on one all-ones input in float64 with the absolute values of its parameters and
with normalisation layers left out. Networks that leave the range of float64 (forty convolutions
of 64 channels reach 1e45, three hundred 1e320) are run again with numbers of extended range.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from proxies.errors import UndefinedProxyError
from proxies.passes.extended import ExtendedRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from proxies.subject import Subject

__all__ = ["NORMALISATIONS", "WithoutNormalisation", "log_synaptic_flow"]

# The functions that every normalisation layer ends up calling (batch normalisation with or
# without synchronisation, layer, group, instance, RMS and local response normalisation).
NORMALISATIONS = frozenset(
    {"batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"}
)
# Results outside are computed again: intermediate values may have left the range unnoticed.
_SAFE = (1e-200, 1e300)


class WithoutNormalisation(TorchFunctionMode):
    """Inside, normalisation layers and functions return a copy of their input.

    A copy, because what follows may write into the result of a normalisation (a ReLU in place),
    and the input may be needed again (by a shortcut).
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the call, or copy its first argument if it is a normalisation."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in NORMALISATIONS:
            return (args[0] if args else kwargs["input"]).clone()
        return func(*args, **kwargs)


def log_synaptic_flow(subject: Subject) -> float:
    """Return log Σ θ ⊙ ∂R/∂θ with R = 1ᵀ f(1), θ → |θ|, over all parameters.

    Parameters
    ----------
    subject
        The module and the batch, of which only the shape of one sample matters.

    Raises
    ------
    UndefinedProxyError
        If the sum is not positive, or leaves the range of float64 in a network with operations
        for which there is no arithmetic of extended range.
    """
    flow = _flow(subject, WithoutNormalisation())
    if _SAFE[0] < flow < _SAFE[1]:
        return math.log(flow)
    extended = ExtendedRange(NORMALISATIONS)
    flow = _flow(subject, extended)
    if not 0 < flow < math.inf:
        raise UndefinedProxyError(
            f"expected a positive sum of weights times gradients, found {flow:g}"
            + ("; no path of non-zero weights leads to the output" if flow == 0 else "")
        )
    return math.log(flow) + extended.output_exponent * math.log(2)


def _flow(subject: Subject, mode: TorchFunctionMode) -> float:
    """Return Σ θ ⊙ ∂R/∂θ, in the case of extended range without the exponent of R."""
    with subject.lent(training=False, dtype=torch.float64, absolute=True) as leaves:
        ones = tuple(
            torch.ones_like(x[:1], dtype=torch.float64 if x.is_floating_point() else None)
            for x in subject.inputs
        )
        with mode:
            output = subject.forward(ones)
        if isinstance(mode, ExtendedRange):
            mode.read_output(output)
        weights = [leaf for leaf in leaves.values() if leaf.requires_grad]
        if not weights or not output.requires_grad:
            raise UndefinedProxyError("expected an output that depends on parameters, found none")
        gradients = torch.autograd.grad(
            output.sum(), weights, allow_unused=True, materialize_grads=True
        )
        with torch.no_grad():
            sums = [(w * g).sum() for w, g in zip(weights, gradients, strict=True)]
            return float(torch.stack(sums).sum())

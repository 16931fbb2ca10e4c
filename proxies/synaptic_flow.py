"""Synaptic flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["synflow"]


@proxy(half=True)
def synflow(probe: Probe) -> float:
    """Return log Σ θ ⊙ ∂R/∂θ with R = 1ᵀ f(1) and θ → |θ|, over all parameters θ.

    f is the network without its normalisation layers, on one all-ones input, in float64; where
    that overflows, the same sum is taken in numbers of extended range.

    References
    ----------
    H. Tanaka, D. Kunin, D. Yamins, S. Ganguli: Pruning neural networks without any data by
    iteratively conserving synaptic flow. 2020. arXiv:2006.05467
    """
    return probe.log_synaptic_flow

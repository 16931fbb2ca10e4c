"""Sizes: parameters, multiply-accumulates, floating-point operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["flops", "macs", "params"]


@proxy(half=True)
def params(probe: Probe) -> float:
    """Return the number of trainable parameters, those with ``requires_grad`` as found."""
    return probe.trainable_parameters


@proxy(half=True)
def macs(probe: Probe) -> float:
    """Return the multiply-accumulates of convolutions and linear layers for one sample."""
    return probe.macs


@proxy(half=True)
def flops(probe: Probe) -> float:
    """Return the floating-point operations for one sample, 2 × :func:`macs`."""
    return 2 * probe.macs

"""Proxies of the gradients of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["snip"]


@proxy(reads=("loss_gradients",))
def snip(probe: Probe) -> float:
    """Return the connection sensitivity Σ |θ ⊙ ∂L/∂θ| over all parameters θ.

    L is the mean loss over the batch with batch statistics, so the value does not depend on how
    the batch is split.

    References
    ----------
    N. Lee, T. Ajanthan, P. Torr: SNIP: single-shot network pruning based on connection
    sensitivity. 2019. arXiv:1810.02340
    """
    gradients = probe.loss_gradients
    weights = probe.parameters
    return float(sum((weights[k] * g).abs().sum(dtype=torch.float64) for k, g in gradients.items()))

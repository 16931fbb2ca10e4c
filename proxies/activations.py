"""Proxies of which units are on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from proxies.errors import UndefinedProxyError
from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["naswot"]


@proxy(reads=("relu_signs",))
def naswot(probe: Probe) -> float:
    """Return how well activation patterns tell samples apart, log |det K|.

    K_ij is the number of rectifier units on which samples i and j agree, over the units whose
    result reaches the output. Undefined where K is singular: two samples with one pattern, or
    fewer distinct patterns than samples. The value grows with the size of the batch.

    References
    ----------
    J. Mellor, J. Turner, A. Storkey, E. Crowley: Neural architecture search without training.
    2021. arXiv:2006.04647
    """
    if not probe.relu_signs:
        raise UndefinedProxyError(
            "expected ReLU-like activations on the way to the output, found none"
        )
    agreement = probe.relu_agreement
    twins = len(agreement) - len(torch.unique(agreement, dim=0))
    if twins:
        raise UndefinedProxyError(
            f"expected a pattern of its own for every sample, found {twins} of {len(agreement)} "
            "that repeat another's"
        )
    if torch.linalg.matrix_rank(agreement, hermitian=True) < len(agreement):
        raise UndefinedProxyError(
            "expected linearly independent activation patterns, found dependent ones; "
            "use a smaller batch"
        )
    return float(torch.linalg.slogdet(agreement).logabsdet)

"""The Zen-score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from proxies.errors import UndefinedProxyError
from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["zen"]


@proxy()
def zen(probe: Probe) -> float:
    """Return log E‖g(x) − g(x + αε)‖ + Σ_BN log √(mean batch variance), with α = 0.01.

    x and ε are standard normal, one for every sample of the batch, drawn from the seed. g is the
    feature map before pooling; in a network without positions, such as an MLP, the input of its
    last linear layer. The second sum runs over the batch normalisations that g(x) passes, and
    takes the variances of their inputs over this batch, which undoes their rescaling; networks
    with other normalisations or none have no such term. Weights are taken as they are: the
    published values belong to weights drawn from a standard normal distribution.

    References
    ----------
    M. Lin et al.: Zen-NAS: a zero-shot NAS for high-performance image recognition. 2021.
    arXiv:2102.01063
    """
    seen = probe.perturbation
    change = (seen.clean.double() - seen.perturbed.double()).norm(dim=1).mean()
    scales = [variance.double().mean() for variance in seen.batch_variances]
    if change == 0 or any(scale == 0 for scale in scales):
        raise UndefinedProxyError(
            "expected a feature map that changes with the input, found a constant one"
        )
    return float(change.log() + sum((scale.log() / 2 for scale in scales), torch.zeros(())))

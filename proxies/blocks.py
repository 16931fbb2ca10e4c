"""Proxies of the features and gradients between the blocks of a network (AZ-NAS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from proxies.errors import UndefinedProxyError
from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["az_expressivity", "az_progressivity", "az_trainability"]


@proxy()
def az_expressivity(probe: Probe) -> float:
    """Return Σ_l −Σ_i p_i log p_i over features l between blocks, p the shares of variance.

    p_i = λ_i / Σ_j λ_j with λ the eigenvalues of the covariance matrix of a feature map's
    channels, for Gaussian noise: high where features use all their dimensions.

    References
    ----------
    J. Lee, B. Ham: AZ-NAS: assembling zero-cost proxies for network architecture search. 2024,
    equation 3. arXiv:2403.19232
    """
    return float(_entropies(probe).sum())


@proxy()
def az_progressivity(probe: Probe) -> float:
    """Return the smallest increase from one block to the next of the entropies of their features.

    See :func:`az_expressivity`.

    References
    ----------
    J. Lee, B. Ham: AZ-NAS: assembling zero-cost proxies for network architecture search. 2024,
    equation 4. arXiv:2403.19232
    """
    return float(_entropies(probe).diff().min())


@proxy()
def az_trainability(probe: Probe) -> float:
    """Return the mean over blocks of −σ − 1/σ + 2, σ the spectral norm of a block's Jacobian.

    It is 0 where gradients keep their size through every block and negative elsewhere. σ is
    estimated with random signs; see :class:`~proxies.passes.blocks.BlockFeatures`. Undefined where
    a block is dead, or the identity: that keeps gradients without being trainable.

    References
    ----------
    J. Lee, B. Ham: AZ-NAS: assembling zero-cost proxies for network architecture search. 2024,
    equation 6. arXiv:2403.19232
    """
    seen = probe.block_features
    if seen.mismatch:
        raise UndefinedProxyError(seen.mismatch)
    if any(seen.identities):
        raise UndefinedProxyError("expected blocks that do something, found an identity")
    if not all(seen.norms):
        raise UndefinedProxyError("expected gradients through every block, found a dead one")
    return sum(2 - norm - 1 / norm for norm in seen.norms) / len(seen.norms)


def _entropies(probe: Probe) -> torch.Tensor:
    entropies = []
    for spectrum in probe.block_features.spectra:
        if not spectrum.sum() > 0:
            raise UndefinedProxyError("expected features that vary, found constant ones")
        shares = spectrum / spectrum.sum()
        entropies.append(-torch.special.xlogy(shares, shares).sum())
    return torch.stack(entropies)

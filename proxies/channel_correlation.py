"""Proxies of how correlated channels are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["meco"]


@proxy()
def meco(probe: Probe) -> float:
    """Return Σ_l λ_min of the correlation matrix of the channels of convolution l's feature map.

    For one Gaussian input; needs no data and no gradients. Convolutions with no more positions
    than channels add nothing.

    References
    ----------
    T. Jiang, H. Wang, R. Bie: MeCo: zero-shot NAS with one data and single forward pass via
    minimum eigenvalue of correlation. 2023. NeurIPS
    """
    return sum(probe.smallest_eigenvalues)

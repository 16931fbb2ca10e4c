"""Proxies of which units are on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from proxies.errors import UndefinedProxyError
from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["naswot", "swap", "te_nas_regions"]

# Bits that a float32 holds exactly, so that patterns can be read off a product of matrices.
_BITS = 22


@proxy(reads=("relu_signs",), half=True)
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
    _check_rectified(probe)
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


@proxy(reads=("relu_signs",), half=True)
def swap(probe: Probe) -> float:
    """Return the number of distinct patterns that single units make over the batch.

    A unit's pattern says on which samples of the batch it is on; counted are rectifier units
    whose result reaches the output. The value grows with the size of the batch. For the
    regularised score see :func:`~proxies.size_regularised`.

    References
    ----------
    Y. Peng, A. Song, H. Fayek, V. Ciesielski, X. Chang: SWAP-NAS: sample-wise activation patterns
    for ultra-fast NAS. 2024, definition 3.2. arXiv:2403.04161
    """
    _check_rectified(probe)
    found = torch.cat([_patterns(layer) for layer in probe.relu_signs])
    return len(torch.unique(found, dim=0) if found.shape[1] > 1 else torch.unique(found))


@proxy(reads=("relu_signs",), half=True)
def te_nas_regions(probe: Probe) -> float:
    """Return how many activation boundaries lie between two samples, on average over all pairs.

    Every unit that is on for one of two inputs and off for the other changes somewhere between
    them, where a straight line between the inputs enters another linear region: the mean number
    of such rectifier units is a lower bound of the regions that lines between samples cross.
    TE-NAS counts distinct patterns among the samples, which tells networks apart only where they
    have hardly any units: with more, every sample has its own, and the count is the batch size.

    References
    ----------
    W. Chen, X. Gong, Z. Wang: Neural architecture search on ImageNet in four GPU hours: a
    theoretically inspired perspective. 2021, section 3.1.2. arXiv:2102.11535
    B. Hanin, D. Rolnick: Complexity of linear regions in deep networks. 2019. arXiv:1901.09021
    """
    _check_rectified(probe)
    agreement = probe.relu_agreement
    samples = len(agreement)
    if samples < 2:
        raise UndefinedProxyError("expected at least two samples to compare, found one")
    units = float(agreement[0, 0])
    apart = float(agreement.sum()) - samples * units
    return units - apart / (samples * (samples - 1))


def _check_rectified(probe: Probe) -> None:
    if not probe.relu_signs:
        raise UndefinedProxyError(
            "expected ReLU-like activations on the way to the output, found none"
        )


def _patterns(signs: torch.Tensor) -> torch.Tensor:
    """Return the distinct columns of signs ``(B, units)`` as words, ``(patterns, words)``, int64.

    A word holds the bits of 64 samples: two parts of 22 and one of 20.
    """
    powers = 2.0 ** torch.arange(_BITS, dtype=torch.float32, device=signs.device)
    words = []
    for block in torch.split(signs, 64):
        parts = [
            (powers[: len(part)] @ part.to(torch.float32)).long() << (_BITS * index)
            for index, part in enumerate(torch.split(block, _BITS))
        ]
        words.append(torch.stack(parts).sum(0))
    found: torch.Tensor = (
        torch.unique(words[0])[:, None]
        if len(words) == 1
        else torch.unique(torch.stack(words, dim=1), dim=0)
    )
    return found

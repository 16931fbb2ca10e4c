"""How often pairs of samples agree, over units that are on or off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from proxies.isolation import without_autocast

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["count_agreements"]


def count_agreements(layers: Iterable[torch.Tensor], samples: int) -> torch.Tensor:
    """Return on how many units every two samples agree, exactly.

    With C the number of units that are on for both samples and r for one, samples i and j agree
    on units − r_i − r_j + 2 C_ij of them.

    Parameters
    ----------
    layers
        Boolean tensors of shape ``(samples, units)``.
    samples
        The number of samples.

    Returns
    -------
    torch.Tensor
        Shape ``(samples, samples)``, float64.
    """
    agreement = torch.zeros(samples, samples, dtype=torch.float64, device="cpu")
    for layer in layers:
        agreement = agreement.to(layer.device)
        # Whole numbers below 2²⁴ are exact in float32, whatever the order of summation; those
        # above 256 are not in the types that a caller's autocast would take.
        with without_autocast(layer.device):
            for block in torch.split(layer, 2**22, dim=1):
                both = _products(block).double()
                on = both.diagonal()
                agreement += block.shape[1] - on - on[:, None] + 2 * both
    return agreement


def _products(on: torch.Tensor) -> torch.Tensor:
    # Twenty times faster where the processor multiplies bytes; PyTorch has a plain loop elsewhere,
    # and gets matrices of one column wrong.
    bytewise = on.device.type == "cpu" and torch.cpu.get_capabilities().get("avx512_vnni", False)
    if bytewise and min(on.shape) > 1:
        return torch._int_mm(on.view(torch.int8), on.view(torch.int8).T)
    floats = on.to(torch.float32)
    return floats @ floats.T

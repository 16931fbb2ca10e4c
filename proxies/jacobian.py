"""Proxies of the gradients of the output by the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from proxies.errors import UndefinedProxyError
from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["jacob_cov"]

_K = 1e-5


@proxy(reads=("input_jacobian",))
def jacob_cov(probe: Probe) -> float:
    """Return how differently the network reacts to different samples, from its input Jacobian.

    −Σ_i [log(λ_i + k) + 1 / (λ_i + k)] with k = 1e−5 and λ the eigenvalues of the correlation
    matrix of the samples' gradients of Σ f(x). Undefined where a sample's gradient is constant,
    as in a dead network.

    References
    ----------
    J. Mellor, J. Turner, A. Storkey, E. Crowley: Neural architecture search without training,
    version 1. 2020. arXiv:2006.04647v1
    """
    rows = probe.input_jacobian.double()
    if len(rows) < 2:
        raise UndefinedProxyError("expected at least two samples to correlate, found one")
    centred = rows - rows.mean(1, keepdim=True)
    lengths = centred.norm(dim=1, keepdim=True)
    # What rounding leaves of a constant row is no direction.
    constant = lengths[:, 0] <= 1e-12 * rows.norm(dim=1)
    if constant.any():
        raise UndefinedProxyError(
            "expected input gradients that vary within every sample, "
            f"found them constant for {int(constant.sum())} of {len(rows)}"
        )
    directions = centred / lengths
    eigenvalues = torch.linalg.eigvalsh(directions @ directions.T) + _K
    return -float((eigenvalues.log() + 1 / eigenvalues).sum())

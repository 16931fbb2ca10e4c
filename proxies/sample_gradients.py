"""Proxies of how the gradients of samples, or of parts of the batch, agree.

Layers are convolutions and linear layers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from proxies.errors import UndefinedProxyError
from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["gradsign", "te_nas_condition", "vkdnw", "zico"]


@proxy()
def zico(probe: Probe) -> float:
    """Return Σ_l log Σ_w mean|g_w| / std(g_w) over the weights w of layers l.

    Mean and standard deviation of loss gradients g run over the two halves of the batch, each
    taken as a batch of its own. Weights whose gradients do not differ do not count, nor do layers
    without others.

    References
    ----------
    G. Li, Y. Yang, K. Bhardwaj, R. Marculescu: ZiCo: zero-shot NAS via inverse coefficient of
    variation on gradients. 2023, equation 16. arXiv:2301.11300
    """
    parts = probe.split_gradients
    logs = []
    for name in parts[0]:
        gradients = torch.stack([part[name] for part in parts]).double()
        spread = gradients.std(0, correction=0)
        differs = spread > 0
        if differs.any():
            logs.append((gradients.abs().mean(0)[differs] / spread[differs]).sum().log())
    if not logs:
        raise UndefinedProxyError(
            "expected gradients that differ between the halves of the batch, found none"
        )
    return float(torch.stack(logs).sum())


@proxy(reads=("sign_agreement",))
def gradsign(probe: Probe) -> float:
    """Return Σ_k |Σ_i sign ∂L_i/∂θ_k| over the weights θ of layers.

    L_i is the loss of sample i; statistics of the batch in batch normalisation are constants.

    References
    ----------
    Z. Zhang, Z. Jia: GradSign: model performance inference with theoretical insights. 2022,
    algorithm 1. arXiv:2110.08616
    """
    return probe.sign_agreement


@proxy(direction=-1, reads=("tangent_kernel",))
def te_nas_condition(probe: Probe) -> float:
    """Return the condition number λ_max / λ_min of the neural tangent kernel; lower is better.

    The kernel holds the products of the samples' gradients of the summed output by the weights of
    layers; statistics of the batch in batch normalisation are constants.

    References
    ----------
    W. Chen, X. Gong, Z. Wang: Neural architecture search on ImageNet in four GPU hours: a
    theoretically inspired perspective. 2021, section 3.1.1. arXiv:2102.11535
    """
    kernel = probe.tangent_kernel
    if len(kernel) < 2:
        raise UndefinedProxyError("expected at least two samples to compare, found one")
    eigenvalues = torch.linalg.eigvalsh(kernel)
    # Gradients have the precision of their type: what is smaller is rounding.
    if not eigenvalues[0] > probe.subject.precision * eigenvalues[-1]:
        raise UndefinedProxyError(
            "expected samples with linearly independent gradients, found dependent ones"
        )
    return float(eigenvalues[-1] / eigenvalues[0])


@proxy(reads=("fisher_gradients",))
def vkdnw(probe: Probe) -> float:
    """Return the number of weighted layers plus the entropy of the Fisher spectrum's deciles.

    ℓ − Σ_k p_k log p_k / log 9 with p_k = λ_k / Σ_j λ_j, λ_1 … λ_9 the deciles of the eigenvalues
    of the Fisher information matrix of ℓ weights, one drawn from every layer, whose labels are
    drawn from what the network predicts. The entropy, between 0 and 1, orders networks with the
    same number of layers.

    References
    ----------
    O. Tybl, L. Neumann: Training-free neural architecture search through variance of knowledge of
    deep network weights. 2025. arXiv:2502.04975
    """
    gradients = probe.fisher_gradients
    eigenvalues = torch.linalg.eigvalsh(gradients.T @ gradients / len(gradients)).clamp(min=0)
    levels = torch.linspace(0.1, 0.9, 9, dtype=eigenvalues.dtype, device=eigenvalues.device)
    deciles = torch.quantile(eigenvalues, levels)
    if not deciles.sum() > 0:
        raise UndefinedProxyError("expected weights that the output depends on, found none")
    shares = deciles / deciles.sum()
    entropy = -torch.special.xlogy(shares, shares).sum()
    return gradients.shape[1] + float(entropy) / math.log(9)

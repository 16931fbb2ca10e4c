"""Proxies of the gradients of the loss.

L is the mean loss over the batch with batch statistics, so that no value depends on how the batch
is split. Layers are convolutions and linear layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from proxies.proxy import proxy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxies.probe import Probe

__all__ = ["fisher", "grad_norm", "grasp", "l2_norm", "plain", "snip"]


@proxy(reads=("loss_gradients",))
def grad_norm(probe: Probe) -> float:
    """Return Σ_l ‖∂L/∂θ_l‖₂ over the weights θ_l of layers.

    References
    ----------
    M. Abdelfattah, A. Mehrotra, Ł. Dudziak, N. Lane: Zero-cost proxies for lightweight NAS. 2021.
    arXiv:2101.08134
    """
    gradients = probe.loss_gradients
    return _total(gradients[name].double().norm() for name in probe.layer_weights)


@proxy(reads=("loss_gradients",))
def snip(probe: Probe) -> float:
    """Return the connection sensitivity Σ |θ ⊙ ∂L/∂θ| over all parameters θ.

    References
    ----------
    N. Lee, T. Ajanthan, P. Torr: SNIP: single-shot network pruning based on connection
    sensitivity. 2019. arXiv:1810.02340
    """
    gradients, weights = probe.loss_gradients, probe.parameters
    return _total(
        (weights[name] * gradient).abs().sum(dtype=torch.float64)
        for name, gradient in gradients.items()
    )


@proxy(direction=-1, reads=("loss_gradients",))
def plain(probe: Probe) -> float:
    """Return Σ θ ⊙ ∂L/∂θ over the weights θ of layers; lower is better.

    Weights that normalisation by batch statistics follows contribute nothing but rounding: the
    loss does not change with their scale.

    References
    ----------
    M. Abdelfattah, A. Mehrotra, Ł. Dudziak, N. Lane: Zero-cost proxies for lightweight NAS. 2021.
    arXiv:2101.08134
    """
    gradients, weights = probe.loss_gradients, probe.parameters
    return _total(
        (weights[name].double() * gradients[name].double()).sum() for name in probe.layer_weights
    )


@proxy(reads=("hessian_form",))
def grasp(probe: Probe) -> float:
    """Return the gradient signal preservation Σ −θ ⊙ H g over the weights θ of layers.

    g = ∂L/∂θ and H the Hessian of L by those weights.

    References
    ----------
    C. Wang, G. Zhang, R. Grosse: Picking winning tickets before training by preserving gradient
    flow. 2020, equation 8. arXiv:2002.07376
    """
    return -probe.hessian_form


@proxy(reads=("channel_saliency",))
def fisher(probe: Probe) -> float:
    """Return Σ ½ mean_n (Σ_hw a ⊙ ∂L/∂a)² over the channels a of what layers return.

    Projections inside ``nn.MultiheadAttention`` do not count.

    References
    ----------
    J. Turner, E. Crowley, M. O'Boyle, A. Storkey, G. Gray: BlockSwap: Fisher-guided block
    substitution for network compression on a budget. 2020. arXiv:1906.04113
    """
    return probe.channel_saliency


@proxy(half=True)
def l2_norm(probe: Probe) -> float:
    """Return Σ_l ‖θ_l‖₂ over the weights θ_l of layers.

    References
    ----------
    M. Abdelfattah, A. Mehrotra, Ł. Dudziak, N. Lane: Zero-cost proxies for lightweight NAS. 2021.
    arXiv:2101.08134
    """
    weights = probe.parameters
    return _total(weights[name].double().norm() for name in probe.layer_weights)


def _total(values: Iterable[torch.Tensor]) -> float:
    # One transfer from the device for all layers.
    return float(torch.stack(list(values)).sum())

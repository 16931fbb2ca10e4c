"""The Zen-score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxies.errors import UndefinedProxyError
from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["zen"]


@proxy()
def zen(probe: Probe) -> float:
    """Return log E‖g(x) − g(x + αε)‖ + Σ_BN log √(mean batch variance), with α = 0.01.

    The algorithm, all of whose draws follow from the seed:

    1. In a copy, weights of convolutions and linear layers are redrawn from N(0, 1), their biases
       set to 0, and normalisations to weight 1 and bias 0. Parameters of other kinds (embeddings,
       recurrent layers, input projections of attention, weights that are parametrised) stay as
       they are. Networks without those score the same before and after training.
    2. x and ε are standard normal, one for every sample of the batch. g is the feature map before
       pooling; in a network without positions, such as an MLP, the input of its last linear layer.
    3. The sum runs over the batch normalisations that g(x) passes, and takes the variances of
       their inputs over this batch, which undoes their rescaling; networks with other
       normalisations or none have no such term.

    Residual links, which the reference removes, are kept: a module does not tell which they are.

    References
    ----------
    M. Lin et al.: Zen-NAS: a zero-shot NAS for high-performance image recognition. 2021,
    algorithm 1. arXiv:2102.01063
    """
    seen = probe.perturbation
    change = (seen.clean.double() - seen.perturbed.double()).norm(dim=1).mean()
    scales = [variance.double().mean() for variance in seen.batch_variances]
    if change == 0 or any(scale == 0 for scale in scales):
        raise UndefinedProxyError(
            "expected a feature map that changes with the input, found a constant one"
        )
    return float(change.log()) + sum(float(scale.log()) / 2 for scale in scales)

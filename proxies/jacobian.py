"""Proxies of the gradients of the output by the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from proxies.errors import UndefinedProxyError
from proxies.proxy import proxy

if TYPE_CHECKING:
    from proxies.probe import Probe

__all__ = ["epe_nas", "jacob_cov"]

_K = 1e-5
# From so many classes on epe_nas compares classes instead of adding them up.
_MANY_CLASSES = 100


@proxy(reads=("input_jacobian",))
def jacob_cov(probe: Probe) -> float:
    """Return how differently the network reacts to different samples, from its input Jacobian.

    −Σ_i [log(λ_i + k) + 1 / (λ_i + k)] with k = 1e−5 and λ the eigenvalues of the correlation
    matrix of the samples' gradients of Σ f(x). Where that sum is a constant, as right behind a
    batch normalisation, it has signs (:func:`~proxies.passes.input_jacobian.input_jacobian`).
    Undefined where a sample's gradient is constant, as in a dead network.

    References
    ----------
    J. Mellor, J. Turner, A. Storkey, E. Crowley: Neural architecture search without training,
    version 1. 2020. arXiv:2006.04647v1
    """
    directions = _directions(probe.input_jacobian)
    eigenvalues = torch.linalg.eigvalsh(directions @ directions.T) + _K
    return -float((eigenvalues.log() + 1 / eigenvalues).sum())


@proxy(reads=("input_jacobian",))
def epe_nas(probe: Probe) -> float:
    """Return how alike the network reacts to samples of one class, from its input Jacobian.

    e_c = Σ_ij log(|C^c_ij| + k) with k = 1e−5 and C^c the correlation matrix of the samples of
    class c; the score is Σ_c |e_c|, or with more than 100 classes in the batch the mean of
    |e_c / n_c − e_d / n_d| over pairs of classes with n_c and n_d samples. Undefined where no
    class has two samples: a class with one has no correlation, and adds nothing.

    References
    ----------
    V. Lopes, S. Alirezazadeh, L. Alexandre: EPE-NAS: efficient performance estimation without
    training for neural architecture search. 2021. arXiv:2102.08099
    """
    labels = probe.subject.labels
    jacobian = probe.input_jacobian
    if labels is None or labels.ndim != 1 or labels.is_floating_point():
        raise UndefinedProxyError(
            "expected one class number a sample for correlations within classes, found "
            + ("none" if labels is None else f"labels of shape {tuple(labels.shape)}")
        )
    directions = _directions(jacobian)
    classes, members = torch.unique(labels, return_inverse=True)
    sums, sizes = [], []
    for index in range(len(classes)):
        own = directions[members == index]
        if len(own) > 1:
            sums.append(((own @ own.T).abs() + _K).log().sum())
            sizes.append(len(own))
    if not sums:
        raise UndefinedProxyError(
            f"expected a class with two samples or more, found {len(labels)} samples of "
            f"{len(classes)} classes; use a larger batch"
        )
    totals = torch.stack(sums)
    if len(classes) <= _MANY_CLASSES:
        return float(totals.abs().sum())
    scaled = totals / torch.tensor(sizes, dtype=totals.dtype, device=totals.device)
    if len(scaled) < 2:
        raise UndefinedProxyError("expected two classes with two samples each, found one")
    return float(torch.pdist(scaled[:, None], p=1).mean())


def _directions(rows: torch.Tensor) -> torch.Tensor:
    """Return rows, centred and of length one, so that products of rows are correlations."""
    rows = rows.double()
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
    directions: torch.Tensor = centred / lengths
    return directions

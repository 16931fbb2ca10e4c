"""Losses of many networks at once, most of which look at the order of targets alone."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["LOSSES", "Loss", "hinge", "logistic", "squared"]

# How far apart, in units of the score, two architectures in the right order must lie.
MARGIN = 0.1

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def hinge(scores: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
    r"""Return the pairwise hinge loss, summed over the members.

    .. math:: \mathrm{mean}_{y_i > y_j} \max(0,\ m - (f_i - f_j)), \qquad m = 0.1

    Parameters
    ----------
    scores
        What `s` members say of `b` architectures, shape ``(s, b, 1)``.
    targets
        Their targets, shape ``(b, 1)``.
    seen
        1 where a member may see an architecture, else 0, shape ``(s, b)``.

    References
    ----------
    X. Ning, Y. Zheng, T. Zhao, Y. Wang, H. Yang. A generic graph-based neural architecture
    encoding scheme for predictor-based NAS. ECCV 2020 (arXiv:2004.01899), equation 6.
    """
    return _over_pairs((MARGIN - _differences(scores)).relu(), targets, seen)


def logistic(scores: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
    r"""Return the pairwise logistic loss, summed over the members.

    .. math:: \mathrm{mean}_{y_i > y_j} \log(1 + \exp(f_j - f_i))

    Parameters are those of `hinge`.

    References
    ----------
    C. Burges, T. Shaked, E. Renshaw, A. Lazier, M. Deeds, N. Hamilton, G. Hullender. Learning to
    rank using gradient descent. ICML 2005, equation 3.
    """
    softplus = torch.nn.functional.softplus(-_differences(scores))
    return _over_pairs(softplus, targets, seen)


def squared(scores: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
    """Return the mean squared error, summed over the members.

    Parameters are those of `hinge`, with `t` scores and targets for every architecture.
    """
    errors = (scores - targets).square().mean(dim=2)
    return ((seen * errors).sum(dim=1) / seen.sum(dim=1).clamp(min=1.0)).sum()


def _differences(scores: Tensor) -> Tensor:
    """Return the difference of every pair of scores, shape ``(s, b, b)``."""
    return scores - scores.mT


def _over_pairs(losses: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
    """Average over the pairs in which the first target is larger; without any, return zero."""
    pairs = seen[:, :, None] * seen[:, None, :] * (targets > targets.T)
    return ((pairs * losses).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1.0)).sum()


LOSSES: dict[str, Loss] = {"hinge": hinge, "logistic": logistic, "squared": squared}

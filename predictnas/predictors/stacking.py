"""Weights of a stack of predictors, from what each predicted of labels that it had not seen."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["combine", "stack_weights", "variance_factor"]

Floats = NDArray[np.float64]

# What the log score counts for beside the order of pairs.
SCORE_SHARE = 1 / 16
# Rows whose pairs are compared: with more, pairs would outweigh all other work, and add little.
MOST_COMPARED = 500
# Width of the log-normal prior of the factor of the variance: members are calibrated already.
FACTOR_STD = 0.3


def combine(weights: Floats, means: Floats, stds: Floats) -> tuple[Floats, Floats]:
    r"""Return mean and variance of a mixture, by the laws of total expectation and variance.

    .. math::
        \mu = \sum_m w_m \mu_m, \qquad v = \sum_m w_m (\sigma_m^2 + (\mu_m - \mu)^2)

    Parameters
    ----------
    weights
        One for each of `m` members, on the simplex, shape ``(m,)``.
    means, stds
        What members predict of `n` rows, shape ``(m, n)``.
    """
    mean = weights @ means
    return mean, weights @ (stds**2 + (means - mean) ** 2)


def stack_weights(
    means: Floats,
    stds: Floats,
    targets: Floats,
    strength: float,
    rng: np.random.Generator,
    *,
    excess: Floats | None = None,
) -> Floats:
    r"""Find the weights of a stack.

    They minimise, over the simplex,

    .. math::
        -\frac{1}{16} \sum_i \log \sum_m w_m \mathcal{N}(z_i \mid \mu_{mi}, \sigma_{mi}^2)
        - n \, \mathrm{mean}_{z_i > z_j} \log \Phi\Big(
            \frac{\mu_i - \mu_j}{\sqrt{v_i + v_j}}\Big)
        - \frac{s}{M} \sum_m \log w_m

    with means and variances of the stack as in `combine`. The first term is the log score of the
    mixture (Yao et al.), the second the likelihood of the order of pairs, which is what rank
    correlation counts. Order is what predictors are for, and deviations are calibrated after:
    the score decides only where order hardly does. The third, a Dirichlet prior that is worth `s`
    labels, draws the weights towards equal ones: with a few dozen labels the differences between
    members are mostly luck.

    Held-out means of an ensemble are those of its few members that had not seen a label, and vary
    by :math:`e_{mi}` more than what all members will predict. Left alone, that would count against
    ensembles. To second order, noise of variance :math:`\epsilon^2` in the argument `x` of
    :math:`\log \Phi` lowers it by :math:`-\frac{1}{2} \epsilon^2 (\log \Phi)''(x)` in the mean,
    which is added back, with
    :math:`\epsilon_{ij}^2 = \sum_m w_m^2 (e_{mi} + e_{mj}) / (v_i + v_j)`.

    Parameters
    ----------
    means, stds
        What `M` members predicted of `n` labels that they had not seen, shape ``(M, n)``.
    targets
        The labels, of about zero mean and unit variance, shape ``(n,)``.
    strength
        The prior's `s`, above zero.
    rng
        Draws the rows whose pairs are compared where there are many.
    excess
        The :math:`e_{mi}`, shape ``(M, n)``; None for none.

    Returns
    -------
    array ``(M,)``
        Equal weights where there are no labels.

    References
    ----------
    Y. Yao, A. Vehtari, D. Simpson, A. Gelman. Using stacking to average Bayesian predictive
    distributions. Bayesian Analysis 13 (3), 2018 (arXiv:1704.02030), equation 4.
    """
    number = len(means)
    equal = np.full(number, 1 / number)
    if number == 1 or means.shape[1] == 0:
        return equal
    excess = np.zeros_like(means) if excess is None else excess
    objective = _objective(means, stds, excess, targets, strength, rng)
    found = minimize(objective, np.zeros(number), jac=True, method="L-BFGS-B")
    return _softmax(found.x)


def variance_factor(residuals: Floats, variances: Floats) -> float:
    r"""Return the factor :math:`\kappa` by which stated variances fit residuals on held-out labels.

    It maximises :math:`\sum_i \log \mathcal{N}(r_i \mid 0, \kappa v_i)` and a log-normal prior
    around 1.

    Parameters
    ----------
    residuals
        Held-out label minus mean, shape ``(n,)``; `n` may be 0, which returns 1.
    variances
        The stated variances, shape ``(n,)``.
    """
    ratio = float(np.sum(residuals**2 / variances))

    def negative_log_posterior(log: Floats) -> tuple[float, Floats]:
        scaled = ratio * float(np.exp(-log[0]))
        value = 0.5 * (len(residuals) * log[0] + scaled + (log[0] / FACTOR_STD) ** 2)
        return value, 0.5 * np.array([len(residuals) - scaled]) + log / FACTOR_STD**2

    found = minimize(negative_log_posterior, np.zeros(1), jac=True, method="L-BFGS-B")
    return float(np.exp(found.x[0]))


def _objective(
    means: Floats,
    stds: Floats,
    excess: Floats,
    targets: Floats,
    strength: float,
    rng: np.random.Generator,
) -> Callable[[Floats], tuple[float, Floats]]:
    """Return what maps logits of weights to the value to minimise and its gradient."""
    import torch

    from predictnas.predictors.threads import single_thread

    centres, spreads, noise, labels = map(torch.from_numpy, (means, stds, excess, targets))
    densities = -0.5 * ((labels - centres) / spreads) ** 2 - (spreads * np.sqrt(2 * np.pi)).log()
    compared = torch.from_numpy(rng.permutation(len(targets))[:MOST_COMPARED])
    better, worse = torch.nonzero(labels[compared, None] > labels[compared], as_tuple=True)
    better, worse = compared[better], compared[worse]

    def loss(logits: "Tensor") -> "Tensor":
        logs = torch.log_softmax(logits, dim=0)
        weights = logs.exp()
        mean = weights @ centres
        variance = weights @ (spreads**2 + (centres - mean) ** 2)
        score = torch.logsumexp(logs[:, None] + densities, dim=0).sum()
        total = -SCORE_SHARE * score - strength * logs.mean()
        if len(better):
            scale = variance[better] + variance[worse]
            margin = (mean[better] - mean[worse]) / scale.sqrt()
            order = torch.special.log_ndtr(margin)
            if excess.any():
                varying = weights**2 @ noise
                slope = torch.exp(-0.5 * margin**2 - order) / np.sqrt(2 * np.pi)
                curvature = -slope * (margin + slope)
                order = order - 0.5 * curvature * (varying[better] + varying[worse]) / scale
            total = total - len(targets) * order.mean()
        return total

    def evaluate(logits: Floats) -> tuple[float, Floats]:
        with single_thread(), torch.enable_grad():
            point = torch.from_numpy(logits).requires_grad_()
            value = loss(point)
            (gradient,) = torch.autograd.grad(value, point)
        return float(value.detach()), gradient.numpy()

    return evaluate


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max())
    weights: Floats = powers / powers.sum()
    return weights

"""What a Gaussian process predicts of its own labels, had it not seen them."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["leave_out"]


def leave_out(
    cholesky: NDArray[np.float64], weights: NDArray[np.float64], groups: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Leave every group of labels out in turn, in closed form.

    With the covariance `C` of labels, noise included, and :math:`\alpha = C^{-1}(z - m)`, the
    labels `I` of a group, given all others, have mean and covariance

    .. math::
        \mu_I = z_I - [C^{-1}]_{II}^{-1} \alpha_I, \qquad \Sigma_I = [C^{-1}]_{II}^{-1},

    so all groups together cost one inversion, not a refit each.

    Parameters
    ----------
    cholesky
        The lower Cholesky factor of `C`, shape ``(n, n)``.
    weights
        :math:`\alpha`, shape ``(n,)``.
    groups
        A number for every label; labels of one group are left out together, shape ``(n,)``.

    Returns
    -------
    residuals : array ``(n,)``
        Label minus its mean given the other groups.
    variances : array ``(n,)``
        The variance of the label given the other groups, noise included.

    References
    ----------
    C. E. Rasmussen, C. K. I. Williams. Gaussian processes for machine learning, section 5.4.2,
    equations 5.10 to 5.12, there for single labels. MIT Press 2006.
    """
    import torch

    from predictnas.predictors.threads import single_thread

    with single_thread():
        inverse = torch.cholesky_inverse(torch.from_numpy(cholesky)).numpy()
    residuals, variances = weights / inverse.diagonal(), 1 / inverse.diagonal()
    counts = np.bincount(groups)
    for group in np.flatnonzero(counts > 1):
        rows = np.flatnonzero(groups == group)
        covariance = np.linalg.inv(inverse[np.ix_(rows, rows)])
        residuals[rows], variances[rows] = covariance @ weights[rows], covariance.diagonal()
    return residuals, variances

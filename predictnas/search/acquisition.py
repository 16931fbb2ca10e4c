"""Acquisition functions: how much an architecture is worth training next.

Each maps a fitted predictor and a table of candidates to one number a candidate; the largest is
trained next. The arithmetic is BoTorch's, on the predictor's posterior over the finite table.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from predictnas.predictors import Predictor

__all__ = ["ACQUISITIONS", "Acquisition", "log_expected_improvement", "thompson_sampling"]

Acquisition = Callable[[Predictor, pd.DataFrame, float, int], NDArray[np.float64]]


def log_expected_improvement(
    predictor: Predictor, candidates: pd.DataFrame, incumbent: float, seed: int
) -> NDArray[np.float64]:
    """Return the logarithm of the expected improvement over the incumbent.

    log E[max(f(x) − f*, 0)] in the unit of the predictor's warped targets, in which its posterior
    is Gaussian; the logarithm stays finite where expected improvement underflows to zero.

    Parameters
    ----------
    predictor
        Fitted.
    candidates
        Table of ``n`` candidates, columns as in the predictor's training.
    incumbent
        Value f* to improve on, in the unit of the labels.
    seed
        Not read: expected improvement is exact.

    Returns
    -------
    ndarray of shape (n,)

    References
    ----------
    S. Ament et al., Unexpected improvements to expected improvement for Bayesian optimization,
    2023, arXiv:2310.20708, equation 9.
    """
    del seed
    from botorch.acquisition.analytic import LogExpectedImprovement

    from predictnas.predictors.botorch_model import PoolModel

    # In the unit in which the posterior is Gaussian: accuracies have a long lower tail, and its
    # variance, taken for a Gaussian's, would promise improvements that cannot be.
    model = PoolModel(predictor, candidates, warped=True)
    acquisition = LogExpectedImprovement(model, best_f=model.in_model_unit(incumbent))
    with torch.no_grad():
        return np.asarray(acquisition(model.rows()).numpy(), dtype=np.float64)


def thompson_sampling(
    predictor: Predictor, candidates: pd.DataFrame, incumbent: float, seed: int
) -> NDArray[np.float64]:
    """Return one joint draw of the posterior at all candidates.

    Parameters
    ----------
    predictor
        Fitted.
    candidates
        Table of ``n`` candidates.
    incumbent
        Not read.
    seed
        Seed of the draw.

    Returns
    -------
    ndarray of shape (n,)

    References
    ----------
    W. R. Thompson, On the likelihood that one unknown probability exceeds another, 1933;
    K. Kandasamy et al., Parallelised Bayesian optimisation via Thompson sampling, 2018.
    """
    del incumbent
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        draw = predictor.posterior(candidates).rsample(torch.Size([1]))
    return np.asarray(draw.detach().numpy(), dtype=np.float64).reshape(-1)


ACQUISITIONS: dict[str, Acquisition] = {
    "ei": log_expected_improvement,
    "ts": thompson_sampling,
}

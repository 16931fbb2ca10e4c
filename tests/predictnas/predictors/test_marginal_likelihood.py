import numpy as np
import torch
from scipy.stats import multivariate_normal

from predictnas.predictors.marginal_likelihood import JITTER, log_likelihood


def covariance_and_residuals(size=7):
    rng = np.random.default_rng(0)
    root = rng.standard_normal((size, size))
    return root @ root.T + np.eye(size), rng.standard_normal(size)


def test_likelihood_is_that_of_scipy():
    covariance, residuals = covariance_and_residuals()
    found = log_likelihood(torch.from_numpy(covariance), torch.from_numpy(residuals))
    noisy = covariance + JITTER * np.eye(len(covariance))
    expected = multivariate_normal.logpdf(residuals, np.zeros(len(residuals)), noisy)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_derivatives_are_those_of_finite_differences():
    covariance, residuals = map(torch.from_numpy, covariance_and_residuals())

    def by_symmetric_part(square, vector):
        return log_likelihood((square + square.T) / 2, vector)

    inputs = covariance.requires_grad_(), residuals.requires_grad_()
    assert torch.autograd.gradcheck(by_symmetric_part, inputs)

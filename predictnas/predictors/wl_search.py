"""The hyperparameters of a Gaussian process on graphs and numbers."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictnas.predictors.marginal_likelihood import (
    log_likelihood,
    log_normal,
    maximise,
    squared_distances,
)
from predictnas.predictors.wl_gp import SMALLEST_NOISE, WLHyperparameters

__all__ = ["covariance", "fit", "most_likely_gram"]

# Locations and widths of the log-normal priors, the same as those of `ExactGP`.
NOISE_PRIOR = (-2.0, 1.0)
SCALE_PRIOR = (0.0, 1.0)
LENGTHSCALE_WIDTH = 0.7
NOISE_START = 0.1


def covariance(scales: Tensor, gram: Tensor | None, first: Tensor, second: Tensor) -> Tensor:
    """Return the prior covariance ``(*batch, n, m)``.

    Parameters
    ----------
    scales
        See `WLHyperparameters`.
    gram
        The kernel between the graphs, ``(*batch, n, m)``; None without graphs.
    first, second
        Numbers ``(*batch, n, k)`` and ``(*batch, m, k)`` in units of their lengthscales.
    """
    if not first.shape[-1]:
        assert gram is not None
        return scales.sum() * gram
    numbers = squared_distances(first, second).div(-2).exp()
    if gram is None:
        return scales.sum() * numbers
    return (scales[0] * numbers + scales[1]) * gram + scales[2] * numbers


def most_likely_gram(
    grams: Sequence[NDArray[np.float64]], targets: NDArray[np.float64], max_iterations: int
) -> int:
    """Return which of several kernel matrices explains the targets best.

    Each has its own best scale, noise and mean. In the eigenvectors of a matrix, the likelihood
    takes time in proportion to its size.

    Parameters
    ----------
    grams
        Kernel matrices ``(n, n)``.
    targets
        Targets ``(n,)``, of about zero mean and unit variance.
    max_iterations
        The largest number of L-BFGS iterations for each.
    """
    values = []
    for gram in grams:
        eigenvalues, vectors = np.linalg.eigh(gram)
        spectrum = torch.from_numpy(eigenvalues.clip(min=0.0))
        rotated = torch.from_numpy(vectors.T @ targets)
        constant = torch.from_numpy(vectors.sum(axis=0))

        def log_posterior(
            vector: Tensor,
            spectrum: Tensor = spectrum,
            rotated: Tensor = rotated,
            constant: Tensor = constant,
        ) -> Tensor:
            mean, log_noise, log_scale = vector
            variances = log_scale.exp() * spectrum + SMALLEST_NOISE + log_noise.exp()
            residuals = rotated - mean * constant
            likelihood: Tensor = -0.5 * (variances.log() + residuals.square() / variances).sum()
            priors = log_normal(log_noise, *NOISE_PRIOR) + log_normal(log_scale, *SCALE_PRIOR)
            return likelihood + priors

        start = np.array([0.0, np.log(NOISE_START), 0.0])
        values.append(maximise(log_posterior, start, max_iterations)[1])
    return int(np.argmax(values))


def fit(
    gram: NDArray[np.float64] | None,
    rows: NDArray[np.float64],
    groups: NDArray[np.int64],
    targets: NDArray[np.float64],
    max_iterations: int,
) -> WLHyperparameters:
    """Maximise the posterior of the hyperparameters.

    Parameters
    ----------
    gram
        The kernel between the training graphs, ``(n, n)``; None without graphs.
    rows
        Their numbers ``(n, k)``, possibly none.
    groups
        The group of every column of numbers, ``(k,)``.
    targets
        Their targets ``(n,)``, of about zero mean and unit variance.
    max_iterations
        The largest number of L-BFGS iterations.
    """
    number = int(groups.max()) + 1 if len(groups) else 0
    location = 0.5 * float(np.log(max(number, 1)))
    parts = 3 if gram is not None and number else 1
    share = float(np.log(1 / parts))
    graph = None if gram is None else torch.from_numpy(gram)
    numbers, labels = torch.from_numpy(rows), torch.from_numpy(targets)
    group = torch.from_numpy(groups)
    identity = torch.eye(len(targets), dtype=torch.float64)

    def log_posterior(vector: Tensor) -> Tensor:
        mean, log_noise = vector[:2]
        log_scales, log_lengthscales = vector[2 : 2 + parts], vector[2 + parts :]
        scales = torch.nn.functional.pad(log_scales.exp(), (0, 3 - parts))
        scaled = numbers / log_lengthscales.exp()[group]
        prior = covariance(scales, graph, scaled, scaled)
        noise = SMALLEST_NOISE + log_noise.exp()
        return (
            log_likelihood(prior + noise * identity, labels - mean)
            + log_normal(log_noise, *NOISE_PRIOR)
            + log_normal(log_scales, share + SCALE_PRIOR[0], SCALE_PRIOR[1])
            + log_normal(log_lengthscales, location, LENGTHSCALE_WIDTH)
        )

    start = [0.0, np.log(NOISE_START), *[share] * parts, *[location] * number]
    best, _ = maximise(log_posterior, np.array(start), max_iterations)
    mean, log_noise = best[:2]
    scales = np.zeros(3)
    scales[:parts] = np.exp(best[2 : 2 + parts])
    return WLHyperparameters(
        lengthscales=np.exp(best[2 + parts :]),
        scales=scales,
        noise=SMALLEST_NOISE + float(np.exp(log_noise)),
        mean=float(mean),
    )

"""Training the network of a deep kernel by the marginal likelihood."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictnas.predictors.deep_gp import DeepKernel
from predictnas.predictors.hyperparameters import Hyperparameters
from predictnas.predictors.marginal_likelihood import (
    log_likelihood,
    log_normal,
    squared_distances,
)
from predictnas.predictors.threads import single_thread

__all__ = ["train"]

SMALLEST_NOISE = 1e-4
# Locations and widths of the log-normal priors, the same as those of `ExactGP`.
NOISE_PRIOR = (-2.0, 1.0)
OUTPUTSCALE_PRIOR = (0.0, 1.0)


def train(
    rows: NDArray[np.float64],
    targets: NDArray[np.float64],
    start: Hyperparameters,
    groups: NDArray[np.int64],
    *,
    width: int,
    prior_std: float,
    steps: int,
    learning_rate: float,
    batch_size: int,
    generator: np.random.Generator,
) -> DeepKernel:
    """Maximise the posterior of weights, outputscale, noise and mean by Adam.

    The network starts at zero, so that the kernel starts as that of `start`. All its weights have
    Gaussian priors around where they start: those of `V` with standard deviation ``prior_std``
    over the square root of the width, those of `W` with ``prior_std`` times the standard
    deviation that they are drawn with.

    Parameters
    ----------
    rows
        Training rows ``(n, d)``.
    targets
        Their targets ``(n,)``, of about zero mean and unit variance.
    start
        The hyperparameters of a Gaussian process with an RBF kernel on the rows.
    groups
        The group of every column, shape ``(d,)``.
    width
        The number `u` of hidden units.
    prior_std
        How far the network may depart from doing nothing.
    steps
        The number of steps.
    learning_rate
        The first step size; it falls to zero along a cosine.
    batch_size
        The number of rows whose likelihood a step looks at.
    generator
        The source of weights and batches.
    """
    lengthscales = start.lengthscales[groups]
    matrix, labels = torch.from_numpy(rows / lengthscales), torch.from_numpy(targets)
    size, columns = matrix.shape
    # Hidden units have inputs of unit variance.
    scale = float(matrix.var(dim=0, correction=0).sum().sqrt()) or 1.0
    drawn = torch.from_numpy(generator.normal(size=(columns, width))) / scale
    inner = drawn.clone().requires_grad_()
    bias = torch.zeros(width, dtype=torch.float64, requires_grad=True)
    outer = torch.zeros(width, columns, dtype=torch.float64, requires_grad=True)
    numbers = torch.tensor(
        [start.mean, np.log(start.noise), np.log(start.outputscale)],
        dtype=torch.float64,
        requires_grad=True,
    )
    parameters = [inner, bias, outer, numbers]
    taken = min(batch_size, size)
    identity = torch.eye(taken, dtype=torch.float64)
    with single_thread(), torch.enable_grad():
        optimiser = torch.optim.Adam(parameters, lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            chosen = torch.arange(size)
            if taken < size:
                chosen = torch.from_numpy(generator.permutation(size)[:taken])
            loss = -_log_posterior(matrix[chosen], labels[chosen], parameters, identity, size)
            penalty = ((inner - drawn) * scale).square().sum() + outer.square().sum() * width
            loss = loss + penalty / (2 * prior_std**2)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    mean, log_noise, log_outputscale = numbers.detach().tolist()
    return DeepKernel(
        lengthscales=lengthscales,
        inner=inner.detach().numpy(),
        bias=bias.detach().numpy(),
        outer=outer.detach().numpy(),
        outputscale=float(np.exp(log_outputscale)),
        noise=SMALLEST_NOISE + float(np.exp(log_noise)),
        mean=mean,
    )


def _log_posterior(
    rows: Tensor, labels: Tensor, parameters: list[Tensor], identity: Tensor, size: int
) -> Tensor:
    """Return the log posterior of all but the weights, from a batch of `size` rows."""
    inner, bias, outer, (mean, log_noise, log_outputscale) = parameters
    points = rows + torch.tanh(rows @ inner + bias) @ outer
    covariance = log_outputscale.exp() * squared_distances(points, points).div(-2).exp()
    noisy = covariance + (SMALLEST_NOISE + log_noise.exp()) * identity
    likelihood = log_likelihood(noisy, labels - mean) * (size / len(labels))
    priors = log_normal(log_noise, *NOISE_PRIOR) + log_normal(log_outputscale, *OUTPUTSCALE_PRIOR)
    return likelihood + priors

"""The linear predictor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders import ArchGraph
from predictnas.predictors.checks import check_whole_number
from predictnas.predictors.features import Features
from predictnas.predictors.gaussian_process import (
    JITTER,
    GaussianProcessPredictor,
    evenly_spread,
)
from predictnas.predictors.inputs import Inputs
from predictnas.predictors.suggestions import suggest_encoding, suggest_warp
from predictnas.predictors.unlabelled import LearnsFromUnlabelled, check_unlabelled

if TYPE_CHECKING:
    from optuna import Trial
    from torch import Tensor

__all__ = ["LinearHyperparameters", "RidgePredictor"]

SMALLEST_NOISE = 1e-4
# Targets have zero mean and unit variance, and so has the prior of the intercept.
INTERCEPT_VARIANCE = 1.0
# Locations and widths of the log-normal priors.
NOISE_PRIOR = (-2.0, 1.0)
SCALE_WIDTH = 2.0


@dataclass(frozen=True, eq=False)
class LinearHyperparameters:
    """The fitted numbers of a Bayesian linear regression.

    Attributes
    ----------
    scales
        The prior standard deviation of the weights of every group of columns, shape ``(g,)``.
    noise
        The variance of observation noise.
    """

    scales: NDArray[np.float64]
    noise: float


class RidgePredictor(LearnsFromUnlabelled, GaussianProcessPredictor):
    r"""Ridge regression whose penalties are learned: Bayesian linear regression on features.

    With the rows `x` of `Features`, whose columns form groups,

    .. math::
        z = b + x^\top w + \varepsilon, \qquad w_j \sim \mathcal{N}(0, s_{g(j)}^2), \quad
        b \sim \mathcal{N}(0, 1), \quad \varepsilon \sim \mathcal{N}(0, \sigma^2).

    The mean of the weights is the ridge solution with the penalties :math:`\sigma^2 / s_g^2`. The
    scales and the noise, which stands for what is not linear too, have the highest posterior
    density. The posterior is computed as that of the Gaussian process it is, of kernel
    :math:`1 + \sum_g s_g^2 x_g^\top x'_g`. There is nothing random.

    Parameters
    ----------
    encoding
        One or several names of `encoders.ENCODERS`; an empty tuple to leave the graph out.
    operations
        The operations that graphs may carry (`Space.operations`); None takes those of the
        training graphs.
    warp
        The warp of the targets: ``"yeo-johnson"`` or ``"none"``.
    max_iterations
        The largest number of L-BFGS iterations.
    max_search_labels
        The largest number of labels that hyperparameters are sought on, spread evenly over the
        sorted rows.
    unlabelled
        Graphs without labels, on which encodings are scaled as well, as `pretrain` sets them; None
        for none.

    Attributes
    ----------
    hyperparameters_ : LinearHyperparameters
        In units of warped targets.
    features_ : Features
        The map from tables to rows.
    rows_ : array ``(n, d)``
        The training rows, every column times its scale.
    noise_, mean_, cholesky_, weights_
        See `GaussianProcessPredictor`.

    References
    ----------
    D. J. C. MacKay. Bayesian interpolation. Neural Computation 4 (3), 1992.
    C. M. Bishop. Pattern recognition and machine learning, section 3.3. Springer 2006.
    """

    def __init__(
        self,
        encoding: str | Sequence[str] = ("graf",),
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        max_iterations: int = 200,
        max_search_labels: int = 1000,
        unlabelled: Sequence[ArchGraph] | None = None,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.max_iterations = max_iterations
        self.max_search_labels = max_search_labels
        self.unlabelled = unlabelled

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Suggest parameters to try instead of these."""
        return {"encoding": suggest_encoding(trial), "warp": suggest_warp(trial)}

    def _check_parameters(self) -> None:
        check_whole_number("max_iterations", self.max_iterations, 1)
        check_whole_number("max_search_labels", self.max_search_labels, 1)
        check_unlabelled(self.unlabelled)

    def _fit(self, inputs: Inputs, targets: NDArray[np.float64]) -> None:
        import torch

        self.features_ = Features.learn(inputs, self.encoding, self.operations, self.unlabelled)
        rows = self.features_.transform(inputs)
        searched = evenly_spread(rows, targets, self.max_search_labels)
        self.hyperparameters_ = _most_likely(
            rows[searched], self.features_.groups, targets[searched], self.max_iterations
        )
        self.rows_ = rows * self.hyperparameters_.scales[self.features_.groups]
        covariance = self._cross(torch.from_numpy(self.rows_))
        self._condition(covariance, targets, self.hyperparameters_.noise, 0.0)

    def _points(self, inputs: Inputs) -> "Tensor":
        import torch

        scale = self.hyperparameters_.scales[self.features_.groups]
        return torch.from_numpy(self.features_.transform(inputs) * scale)

    def _moments(self, points: "Tensor") -> tuple["Tensor", "Tensor"]:
        import torch

        from predictnas.predictors.dense import solve_lower

        if points.shape[1] >= len(self.rows_):
            return super()._moments(points)
        # The posterior of the weights, of which there are fewer than labels: with the design
        # matrix Φ of scaled columns and the intercept, covariance (I + ΦᵀΦ / σ²)⁻¹.
        design, extended = (
            _with_intercept(each) for each in (torch.from_numpy(self.rows_), points)
        )
        weights = design.mT @ torch.from_numpy(self.weights_)
        precision = design.mT @ design / self.noise_
        precision.diagonal().add_(1.0)
        factor = torch.linalg.cholesky(precision)
        half = solve_lower(factor, extended.mT)
        variance = torch.maximum(half.square().sum(dim=0), JITTER * self._prior(points))
        return extended @ weights + self.mean_, variance

    def _prior(self, points: "Tensor") -> "Tensor":
        return points.square().sum(dim=-1) + INTERCEPT_VARIANCE

    def _cross(self, points: "Tensor") -> "Tensor":
        import torch

        from predictnas.predictors.dense import product

        return product(torch.from_numpy(self.rows_), points.mT).add_(INTERCEPT_VARIANCE)

    def _among(self, points: "Tensor", rows: "Tensor") -> "Tensor":
        return points[rows] @ points[rows].mT + INTERCEPT_VARIANCE


def _with_intercept(rows: "Tensor") -> "Tensor":
    """Return rows ``(n, d)`` with a column more, that of the intercept."""
    from torch.nn.functional import pad

    return pad(rows, (0, 1), value=INTERCEPT_VARIANCE**0.5)


def _most_likely(
    rows: NDArray[np.float64],
    groups: NDArray[np.int64],
    targets: NDArray[np.float64],
    max_iterations: int,
) -> LinearHyperparameters:
    """Return the hyperparameters of highest posterior density for rows ``(n, d)``."""
    import torch

    from predictnas.predictors.marginal_likelihood import log_likelihood, log_normal, maximise

    number = int(groups.max()) + 1
    location = -0.5 * float(np.log(number))
    matrix, labels, group = map(torch.from_numpy, (rows, targets, groups))
    identity = torch.eye(len(targets), dtype=torch.float64)

    def log_posterior(vector: "Tensor") -> "Tensor":
        log_noise, log_scales = vector[0], vector[1:]
        scaled = matrix * log_scales.exp()[group]
        noise = (SMALLEST_NOISE + log_noise.exp()) * identity
        return (
            log_likelihood(scaled @ scaled.mT + INTERCEPT_VARIANCE + noise, labels)
            + log_normal(log_noise, *NOISE_PRIOR)
            + log_normal(log_scales, location, SCALE_WIDTH)
        )

    start = np.array([NOISE_PRIOR[0], *[location] * number])
    best, _ = maximise(log_posterior, start, max_iterations)
    return LinearHyperparameters(
        scales=np.exp(best[1:]), noise=SMALLEST_NOISE + float(np.exp(best[0]))
    )

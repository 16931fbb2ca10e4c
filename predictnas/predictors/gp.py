"""The Gaussian process predictor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders import ArchGraph
from predictnas.predictors.checks import check_whole_number
from predictnas.predictors.features import Features
from predictnas.predictors.gaussian_process import GaussianProcessPredictor, evenly_spread
from predictnas.predictors.inputs import Inputs
from predictnas.predictors.suggestions import suggest_encoding, suggest_warp
from predictnas.predictors.unlabelled import LearnsFromUnlabelled, check_unlabelled

if TYPE_CHECKING:
    from optuna import Trial
    from torch import Tensor

__all__ = ["GPPredictor"]


class GPPredictor(LearnsFromUnlabelled, GaussianProcessPredictor):
    r"""An exact Gaussian process with an RBF kernel and automatic relevance.

    Every encoding of the graph and every numeric column has a lengthscale of its own,

    .. math:: k(x, x') = s^2 \exp\Big(-\frac{1}{2} \sum_g \|x_g - x'_g\|^2 / \ell_g^2\Big),

    with `x` the rows of `Features`. Lengthscales for every single column of a one-hot encoding
    would outnumber the labels. Hyperparameters, noise among them, are point estimates of highest
    posterior density, see `exact_gp`. There is nothing random. Hyperparameters are sought on at
    most ``max_search_labels`` labels, since each of their many steps takes :math:`O(n^3)`; the
    posterior conditions on all labels, exactly and once.

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
        The largest number of L-BFGS iterations from the better of two starts.
    max_search_labels
        The largest number of labels that hyperparameters are sought on, spread evenly over the
        rows in lexicographic order, so that the order of the table does not matter.
    unlabelled
        Graphs without labels, on which encodings are scaled as well, as `pretrain` sets them; None
        for none.

    Attributes
    ----------
    hyperparameters_ : Hyperparameters
        Lengthscales, outputscale, noise and mean, in units of warped targets.
    features_ : Features
        The map from tables to rows.
    rows_ : array ``(n, d)``
        The training rows.
    noise_, mean_, cholesky_, weights_
        See `GaussianProcessPredictor`.
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

        from predictnas.predictors import exact_gp

        self.features_ = Features.learn(inputs, self.encoding, self.operations, self.unlabelled)
        self.rows_ = self.features_.transform(inputs)
        searched = evenly_spread(self.rows_, targets, self.max_search_labels)
        found = exact_gp.fit(
            self.rows_[searched], targets[searched], self.features_.groups, self.max_iterations
        )
        self.hyperparameters_ = found
        covariance = self._cross(torch.from_numpy(self.rows_))
        self._condition(covariance, targets, found.noise, found.mean)

    def _points(self, inputs: Inputs) -> "Tensor":
        import torch

        return torch.from_numpy(self.features_.transform(inputs))

    def _prior(self, points: "Tensor") -> "Tensor":
        import torch

        return torch.full((len(points),), self.hyperparameters_.outputscale, dtype=torch.float64)

    def _cross(self, points: "Tensor") -> "Tensor":
        import torch

        return self._covariance(torch.from_numpy(self.rows_), points)

    def _among(self, points: "Tensor", rows: "Tensor") -> "Tensor":
        return self._covariance(points[rows], points[rows])

    def _covariance(self, first: "Tensor", second: "Tensor") -> "Tensor":
        import torch

        from predictnas.predictors.exact_gp import covariance

        groups = torch.from_numpy(self.features_.groups)
        return covariance(self.hyperparameters_, groups, first, second)

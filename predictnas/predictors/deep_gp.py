"""The Gaussian process on a learned embedding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.checks import check_number, check_whole_number
from predictnas.predictors.features import Features
from predictnas.predictors.gaussian_process import GaussianProcessPredictor, evenly_spread
from predictnas.predictors.inputs import Inputs
from predictnas.predictors.suggestions import suggest_encoding, suggest_warp

if TYPE_CHECKING:
    from optuna import Trial
    from torch import Tensor

__all__ = ["DeepGPPredictor", "DeepKernel"]


@dataclass(frozen=True, eq=False)
class DeepKernel:
    r"""A residual network and an RBF kernel on what it maps rows to.

    .. math::
        e(x) = x / \ell + V^\top \tanh(W^\top (x / \ell) + b), \qquad
        k(x, x') = s^2 \exp(-\tfrac{1}{2} \|e(x) - e(x')\|^2)

    Attributes
    ----------
    lengthscales
        :math:`\ell`, one for every column, shape ``(d,)``.
    inner, bias, outer
        `W` ``(d, u)``, `b` ``(u,)`` and `V` ``(u, d)``.
    outputscale
        The prior variance :math:`s^2` of the function.
    noise
        The variance of observation noise.
    mean
        The constant prior mean.
    """

    lengthscales: NDArray[np.float64]
    inner: NDArray[np.float64]
    bias: NDArray[np.float64]
    outer: NDArray[np.float64]
    outputscale: float
    noise: float
    mean: float

    def embed(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the embedding ``(n, d)`` of rows."""
        scaled = rows / self.lengthscales
        moved: NDArray[np.float64] = np.tanh(scaled @ self.inner + self.bias) @ self.outer
        return scaled + moved


class DeepGPPredictor(GaussianProcessPredictor):
    """An exact Gaussian process with a deep kernel: an RBF kernel on what a network learns.

    A residual network moves the rows of `Features` to where the marginal likelihood of the labels
    is higher, see `DeepKernel`. A network is free to make anything likely, and with few labels
    does: the embedding then explains the training labels and no others. So it starts as the
    identity, from the lengthscales that `GPPredictor` finds, and a tight prior keeps it close:
    ``prior_std`` says how far it may go. With few labels, predictions stay near those of ``gp``.

    Parameters
    ----------
    encoding
        One or several names of `encoders.ENCODERS`; an empty tuple to leave the graph out.
    operations
        The operations that graphs may carry (`Space.operations`); None takes those of the
        training graphs.
    warp
        The warp of the targets: ``"yeo-johnson"`` or ``"none"``.
    width
        The number of hidden units.
    prior_std
        The prior standard deviation of what training adds to the weights, relative to how large
        such weights usually are.
    steps
        The number of steps of Adam.
    learning_rate
        Its first step size.
    batch_size
        The number of labels whose likelihood a step looks at, all of them where there are fewer.
    max_iterations
        The largest number of L-BFGS iterations in the search for lengthscales.
    max_search_labels
        The largest number of labels in it.
    random_state
        The seed.

    Attributes
    ----------
    kernel_ : DeepKernel
        The embedding and the numbers of the kernel, in units of warped targets.
    features_ : Features
        The map from tables to rows.
    rows_ : array ``(n, d)``
        The embedded training rows.
    noise_, mean_, cholesky_, weights_
        See `GaussianProcessPredictor`.

    References
    ----------
    A. G. Wilson, Z. Hu, R. Salakhutdinov, E. P. Xing. Deep kernel learning. AISTATS 2016
    (arXiv:1511.02222).
    S. W. Ober, C. E. Rasmussen, M. van der Wilk. The promises and pitfalls of deep kernel
    learning. UAI 2021 (arXiv:2102.12108).
    """

    def __init__(
        self,
        encoding: str | Sequence[str] = ("graf",),
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        width: int = 64,
        prior_std: float = 0.1,
        steps: int = 80,
        learning_rate: float = 0.01,
        batch_size: int = 256,
        max_iterations: int = 200,
        max_search_labels: int = 1000,
        random_state: int = 0,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.width = width
        self.prior_std = prior_std
        self.steps = steps
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iterations = max_iterations
        self.max_search_labels = max_search_labels
        self.random_state = random_state

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Suggest parameters to try instead of these."""
        return {
            "encoding": suggest_encoding(trial),
            "warp": suggest_warp(trial),
            "width": trial.suggest_int("width", 16, 128, log=True),
            "prior_std": trial.suggest_float("prior_std", 0.02, 0.5, log=True),
            "steps": trial.suggest_int("steps", 40, 200, step=40),
        }

    def _check_parameters(self) -> None:
        check_whole_number("width", self.width, 1)
        check_number("prior_std", self.prior_std, 0.0, 10.0)
        check_whole_number("steps", self.steps, 1)
        check_number("learning_rate", self.learning_rate, 0.0, 1.0)
        check_whole_number("batch_size", self.batch_size, 1)
        check_whole_number("max_iterations", self.max_iterations, 1)
        check_whole_number("max_search_labels", self.max_search_labels, 1)
        check_whole_number("random_state", self.random_state, 0)

    def _fit(self, inputs: Inputs, targets: NDArray[np.float64]) -> None:
        import torch

        from predictnas.predictors import deep_kernel, exact_gp

        self.features_ = Features.learn(inputs, self.encoding, self.operations)
        rows, groups = self.features_.transform(inputs), self.features_.groups
        searched = evenly_spread(rows, targets, self.max_search_labels)
        start = exact_gp.fit(rows[searched], targets[searched], groups, self.max_iterations)
        self.kernel_ = deep_kernel.train(
            rows,
            targets,
            start,
            groups,
            width=self.width,
            prior_std=float(self.prior_std),
            steps=self.steps,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            generator=np.random.default_rng(self.random_state),
        )
        self.rows_ = self.kernel_.embed(rows)
        covariance = self._cross(torch.from_numpy(self.rows_))
        self._condition(covariance, targets, self.kernel_.noise, self.kernel_.mean)

    def _held_out(self) -> None:
        # The network has seen all labels, so that a label is not held out from its covariances.
        return None

    def _points(self, inputs: Inputs) -> "Tensor":
        import torch

        return torch.from_numpy(self.kernel_.embed(self.features_.transform(inputs)))

    def _prior(self, points: "Tensor") -> "Tensor":
        import torch

        return torch.full((len(points),), self.kernel_.outputscale, dtype=torch.float64)

    def _cross(self, points: "Tensor") -> "Tensor":
        import torch

        return self._covariance(torch.from_numpy(self.rows_), points)

    def _among(self, points: "Tensor", rows: "Tensor") -> "Tensor":
        return self._covariance(points[rows], points[rows])

    def _covariance(self, first: "Tensor", second: "Tensor") -> "Tensor":
        from predictnas.predictors.marginal_likelihood import squared_distances

        return self.kernel_.outputscale * squared_distances(first, second).div(-2).exp()

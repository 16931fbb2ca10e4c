"""The Gaussian process on the Weisfeiler–Lehman kernel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from predictnas.predictors.checks import check_names, check_whole_number
from predictnas.predictors.features import Features
from predictnas.predictors.gaussian_process import GaussianProcessPredictor, evenly_spread
from predictnas.predictors.inputs import Inputs
from predictnas.predictors.suggestions import suggest_encoding, suggest_warp
from predictnas.predictors.wl_kernel import WLGraphs, gram_among, grams_by_iterations

if TYPE_CHECKING:
    from optuna import Trial
    from torch import Tensor

__all__ = ["WLGPPredictor", "WLHyperparameters"]

SMALLEST_NOISE = 1e-4
# How many Weisfeiler–Lehman iterations are tried.
MAX_ITERATIONS = 4


@dataclass(frozen=True, eq=False)
class WLHyperparameters:
    """The fitted numbers of a Gaussian process on graphs and numbers.

    Attributes
    ----------
    lengthscales
        One for every group of columns, shape ``(g,)``; none where the graph is all there is.
    scales
        The prior variances of the parts of the function, shape ``(3,)``: graph and numbers
        together, graph alone, numbers alone.
    noise
        The variance of observation noise.
    mean
        The constant prior mean.
    """

    lengthscales: NDArray[np.float64]
    scales: NDArray[np.float64]
    noise: float
    mean: float


@dataclass(frozen=True, eq=False)
class _Points:
    """Rows of a table: counts ``(n, d)``, None without graphs, and numbers ``(n, k)``."""

    counts: csr_array | None
    numbers: "Tensor"

    def split(self, size: int) -> "list[_Points]":
        """Return parts of so many rows."""
        import torch

        starts = range(0, len(self.numbers), size)
        counts = [None if self.counts is None else self.counts[s : s + size] for s in starts]
        return [
            _Points(part, numbers)
            for part, numbers in zip(counts, torch.split(self.numbers, size), strict=True)
        ]


class WLGPPredictor(GaussianProcessPredictor):
    r"""An exact Gaussian process with the Weisfeiler–Lehman subtree kernel, as in NAS-BOWL.

    The kernel :math:`k_G` between graphs is the normalised one of `WLGraphs`. Where the number of
    its iterations is not given, it is the one from 0 to 4 with the highest marginal likelihood of
    graphs alone. Numeric columns, and columns of ``encoding`` where it is given, have an RBF kernel
    :math:`k_N` with a lengthscale for every group, and

    .. math:: k = s_1 k_G k_N + s_2 k_G + s_3 k_N,

    so that whether the two multiply or add is a matter of likelihood. Where there are only graphs
    or only numbers, the first part is all there is. Hyperparameters have the highest posterior
    density. There is nothing random.

    Parameters
    ----------
    encoding
        Names of `encoders.ENCODERS` whose columns stand beside the numeric ones; none by default.
    operations
        The operations that graphs may carry (`Space.operations`); None takes those of the
        training graphs.
    warp
        The warp of the targets: ``"yeo-johnson"`` or ``"none"``.
    iterations
        The number of Weisfeiler–Lehman iterations; None chooses it.
    max_iterations
        The largest number of L-BFGS iterations.
    max_search_labels
        The largest number of labels that hyperparameters are sought on, spread evenly over the
        sorted rows.

    Attributes
    ----------
    hyperparameters_ : WLHyperparameters
        In units of warped targets.
    graphs_ : WLGraphs or None
        The training graphs; None where there are none.
    features_ : Features or None
        The map from tables to numbers; None where the graph is all there is.
    rows_ : array ``(n, k)``
        The numbers of the training rows.
    noise_, mean_, cholesky_, weights_
        See `GaussianProcessPredictor`.

    References
    ----------
    B. Ru, X. Wan, X. Dong, M. Osborne. Interpretable neural architecture search via Bayesian
    optimisation with Weisfeiler-Lehman kernels. ICLR 2021 (arXiv:2006.07556).
    """

    def __init__(
        self,
        encoding: str | Sequence[str] = (),
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        iterations: int | None = None,
        max_iterations: int = 200,
        max_search_labels: int = 1000,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.iterations = iterations
        self.max_iterations = max_iterations
        self.max_search_labels = max_search_labels

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Suggest parameters to try instead of these."""
        return {
            "encoding": suggest_encoding(trial, optional=True),
            "warp": suggest_warp(trial),
            "iterations": trial.suggest_categorical("iterations", (None, 1, 2, 3, 4)),
        }

    def _check_parameters(self) -> None:
        check_names("encoding", self.encoding)
        check_names("operations", self.operations)
        if self.iterations is not None:
            check_whole_number("iterations", self.iterations, 0)
        check_whole_number("max_iterations", self.max_iterations, 1)
        check_whole_number("max_search_labels", self.max_search_labels, 1)

    def _fit(self, inputs: Inputs, targets: NDArray[np.float64]) -> None:
        from predictnas.predictors import wl_search

        self.features_ = None
        self.rows_ = np.zeros((len(inputs), 0))
        if self.encoding or inputs.columns:
            self.features_ = Features.learn(inputs, self.encoding, self.operations)
            self.rows_ = self.features_.transform(inputs)
        _, architecture = np.unique(inputs.identities(), return_inverse=True)
        order = np.column_stack([self.rows_, architecture])
        searched = evenly_spread(order, targets, self.max_search_labels)
        self.graphs_ = None
        gram = None
        if inputs.graphs is not None:
            iterations = MAX_ITERATIONS if self.iterations is None else self.iterations
            self.graphs_ = WLGraphs.learn(inputs.graphs, self.operations, iterations)
            grams = grams_by_iterations(self.graphs_)
            grams = [whole[np.ix_(searched, searched)] for whole in grams]
            if self.iterations is None:
                iterations = wl_search.most_likely_gram(
                    grams, targets[searched], self.max_iterations
                )
                self.graphs_ = WLGraphs.learn(inputs.graphs, self.operations, iterations)
            gram = grams[iterations]
        groups = np.zeros(0, dtype=np.int64) if self.features_ is None else self.features_.groups
        self.hyperparameters_ = wl_search.fit(
            gram, self.rows_[searched], groups, targets[searched], self.max_iterations
        )
        points = self._points(inputs)
        found = self.hyperparameters_
        self._condition(self._cross(points), targets, found.noise, found.mean)

    def _points(self, inputs: Inputs) -> _Points:
        import torch

        rows = np.zeros((len(inputs), 0))
        if self.features_ is not None:
            rows = self.features_.transform(inputs)
        counts = None
        if self.graphs_ is not None:
            assert inputs.graphs is not None
            counts = self.graphs_.transform(inputs.graphs)
        return _Points(counts, torch.from_numpy(rows))

    def _prior(self, points: _Points) -> "Tensor":
        import torch

        scale = float(self.hyperparameters_.scales.sum())
        return torch.full((len(points.numbers),), scale, dtype=torch.float64)

    def _cross(self, points: _Points) -> "Tensor":
        import torch

        gram = None
        if self.graphs_ is not None and points.counts is not None:
            gram = torch.from_numpy(self.graphs_.cross(points.counts)).mT
        return self._covariance(gram, torch.from_numpy(self.rows_), points.numbers)

    def _among(self, points: _Points, rows: "Tensor") -> "Tensor":
        import torch

        gram = None
        if points.counts is not None:
            gram = torch.from_numpy(gram_among(points.counts, rows.numpy()))
        numbers = points.numbers[rows]
        return self._covariance(gram, numbers, numbers)

    def _covariance(self, gram: "Tensor | None", first: "Tensor", second: "Tensor") -> "Tensor":
        import torch

        from predictnas.predictors.wl_search import covariance

        found = self.hyperparameters_
        scale = torch.ones(0, dtype=torch.float64)
        if self.features_ is not None:
            scale = torch.from_numpy(found.lengthscales[self.features_.groups])
        scales = torch.from_numpy(found.scales)
        return covariance(scales, gram, first / scale, second / scale)

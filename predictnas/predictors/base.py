"""The contract of predictors."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from predictnas.errors import InputError
from predictnas.predictors.inputs import Inputs, read_inputs, read_targets
from predictnas.predictors.warp import YeoJohnson

if TYPE_CHECKING:
    from botorch.posteriors.posterior import Posterior
    from optuna import Trial
    from torch import Tensor

__all__ = ["PosteriorOver", "Predictor"]

PosteriorOver = Callable[["Tensor"], "Posterior"]

WARPS = {"yeo-johnson": None, "none": 1.0}
CHUNK_ROWS = 16384


class Predictor(RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A scikit-learn regressor from a table of architectures to their accuracy.

    A table is a DataFrame with a column ``graph`` of `encoders.ArchGraph` and any numeric columns
    (proxy scores, sizes), possibly none; tables without graphs and plain arrays of numbers are
    fine as well. Column order never matters. NaN, infinities, columns that were not there in
    `fit` and operations outside the vocabulary are refused by name. Everything is computed in
    float64 unless a predictor says otherwise, and nothing depends on global random state.

    Accuracies are skewed: most architectures lie close together below the best, a few are dead.
    Targets therefore pass through a monotone `YeoJohnson` warp, learned in `fit` and undone in
    every prediction: predictors see targets ``z`` of about zero mean and unit variance, users see
    their own unit.

    A subclass stores the parameters ``encoding``, ``operations`` and ``warp`` beside its own,
    checks its own in `_check_parameters`, and implements three methods in the unit of ``z``:
    `_fit` learns; `_predict` gives mean and standard deviation of a *new label*, observation
    noise included; `_posterior_over` gives BoTorch the joint posterior of the *noise-free*
    function. Fitted attributes end in an underscore and hold arrays, plain values or the
    dataclasses of this package, so that `save_predictor` can store them.

    Attributes
    ----------
    columns_ : tuple of str
        The columns seen in `fit`, in alphabetical order.
    feature_names_in_ : array of str
        The same in the order of the table; absent after fitting to an array.
    n_features_in_ : int
        Their number.
    warp_ : YeoJohnson
        The warp of the targets.
    fingerprint_ : str
        A hash of the training rows and labels, whatever their order.
    architectures_ : array ``(n,)``
        A number for every training row, equal where rows hold the same architecture.
    """

    encoding: str | Sequence[str]
    operations: Sequence[str] | None
    warp: str

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from labelled architectures, forgetting any earlier fit.

        Parameters
        ----------
        X
            A table of `n` architectures.
        y
            Their targets in any unit, shape ``(n,)``.

        Raises
        ------
        InputError
            If a parameter, the table or the targets cannot be used.
        """
        if self.warp not in list(WARPS):
            raise InputError(f"expected warp as one of {', '.join(WARPS)}, found {self.warp!r}")
        self._check_parameters()
        inputs = read_inputs(X)
        targets = read_targets(y, len(inputs))
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        self.columns_ = inputs.names()
        self.n_features_in_ = len(self.columns_)
        if isinstance(X, pd.DataFrame):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.warp_ = YeoJohnson.learn(targets, WARPS[self.warp])
        identities = inputs.identities()
        self.fingerprint_ = _fingerprint(inputs, identities, targets)
        self.architectures_ = np.unique(identities, return_inverse=True)[1]
        self._fit(inputs, self.warp_.transform(targets))
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict the targets of `n` architectures.

        Parameters
        ----------
        X
            A table with the columns of the training table.
        return_std
            Whether to return standard deviations too.

        Returns
        -------
        array ``(n,)`` or a pair of them
            The mean of a new label of each architecture, and its standard deviation: what is not
            known about the architecture and the noise of training it, together. Both are in the
            unit of the targets.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        InputError
            If the table cannot be used.
        """
        inputs = self._read(X)
        chunks = [
            self._predict(inputs.rows(start, start + CHUNK_ROWS))
            for start in range(0, len(inputs), CHUNK_ROWS)
        ]
        warped_mean, warped_std = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
        mean, std = self.warp_.moments(warped_mean, warped_std)
        return (mean, std) if return_std else mean

    def held_out_predictions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Predict the training labels without the help of their own architectures.

        Each label is predicted by what did not see it, nor another label of its architecture:
        the rest of the data behind a Gaussian process, members of an ensemble that were trained
        on others. Parameters that were chosen on all labels, such as lengthscales and the
        calibration, stay as they are.

        Returns
        -------
        pair of arrays ``(n,)``, or None
            Means and standard deviations in the order and unit of the training labels, NaN where
            everything has seen a label; None where a predictor has nothing of the kind.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        held_out = self._held_out()
        return None if held_out is None else self.warp_.moments(*held_out)

    def posterior(self, X: Any) -> "Posterior":
        """Return BoTorch's joint posterior of the noise-free targets of `n` architectures.

        Parameters
        ----------
        X
            A table with the columns of the training table.

        Returns
        -------
        botorch.posteriors.Posterior
            Mean, variance ``(n, 1)`` and joint samples ``(..., n, 1)`` in the unit of the targets,
            observation noise not included. Samples being joint, memory grows with the square of
            `n` where the predictor is a Gaussian process; `posterior_over` can take rows apart.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        InputError
            If the table cannot be used.
        """
        import torch

        posterior_over = self.posterior_over(X)
        return posterior_over(torch.arange(len(X)))

    def posterior_over(self, X: Any, *, warped: bool = False) -> PosteriorOver:
        """Prepare the joint posteriors of any rows of a table.

        What all rows need is computed once; after that, the posterior of a few rows is cheap.

        Parameters
        ----------
        X
            A table with the columns of the training table.
        warped
            Whether the posteriors are over warped targets, ``warp_.transform`` of the targets,
            which keep the order of architectures and are Gaussian where the predictor is.

        Returns
        -------
        callable
            Maps row numbers, an integer tensor ``(*batch, q)``, to a posterior over ``q`` rows
            for every batch.
        """
        from predictnas.predictors.posteriors import in_target_unit

        posterior_over = self._posterior_over(self._read(X))
        warp = self.warp_
        return posterior_over if warped else lambda rows: in_target_unit(posterior_over(rows), warp)

    def suggest(self, trial: "Trial") -> dict[str, Any]:  # noqa: ARG002
        """Suggest parameters to try instead of these, for `predictnas.tuning.tune`.

        A subclass that has parameters worth tuning overrides it; what it suggests may not depend
        on the values of these.

        Parameters
        ----------
        trial
            What draws values, by names that are those of the parameters.
        """
        return {}

    def _read(self, X: Any) -> Inputs:
        check_is_fitted(self)
        return read_inputs(X, self.columns_)

    def _check_parameters(self) -> None:
        """Raise InputError for a parameter of the subclass that cannot be used."""

    def _held_out(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return held-out means and standard deviations ``(n,)`` of warped training labels."""
        return None

    def _held_out_excess(self) -> NDArray[np.float64] | None:
        """Return by how much the variance of held-out means ``(n,)`` exceeds that of predictions.

        Of an ensemble, fewer members predict a label that they may not have seen than predict a
        new one, and their mean varies more. None for no excess.
        """
        return None

    @abstractmethod
    def _fit(self, inputs: Inputs, targets: NDArray[np.float64]) -> None:
        """Learn from `n` rows and their warped targets ``(n,)``."""

    @abstractmethod
    def _predict(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation ``(n,)`` of new warped labels, noise included."""

    @abstractmethod
    def _posterior_over(self, inputs: Inputs) -> PosteriorOver:
        """Return what maps row numbers ``(*batch, q)`` to posteriors of warped targets."""


def _fingerprint(inputs: Inputs, identities: Sequence[str], targets: NDArray[np.float64]) -> str:
    rows = sorted(
        f"{identity} {numbers.tobytes().hex()} {float(target).hex()}"
        for identity, numbers, target in zip(identities, inputs.numeric, targets, strict=True)
    )
    text = "\n".join([*inputs.columns, *rows])
    return hashlib.sha256(text.encode()).hexdigest()

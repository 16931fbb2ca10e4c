"""What a predictor is worth on architectures it was not fitted to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.model_selection import GroupKFold

from predictnas.errors import InputError
from predictnas.evaluation.calibration import Calibration, calibration
from predictnas.evaluation.correlation import Correlation, correlate

__all__ = ["CrossValidation", "ProbabilisticRegressor", "cross_validate"]

Floats = NDArray[np.float64]


class ProbabilisticRegressor(Protocol):
    """A scikit-learn regressor whose forecasts have standard deviations.

    It must also follow the rules that make :func:`sklearn.base.clone` work.
    """

    def fit(self, X: pd.DataFrame, y: Floats) -> Any:
        """Fit to features and targets."""

    def predict(self, X: pd.DataFrame, return_std: bool = False) -> Any:
        """Return means, and with `return_std` a pair of means and standard deviations."""


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Forecasts for every row by a predictor that had not seen it or its twins.

    Attributes
    ----------
    mean, std
        Out-of-fold forecasts in the order of the rows, shape ``(n,)``.
    fold
        Number of the fold that held the row out, shape ``(n,)``.
    correlation
        How the forecasts of all folds together rank the rows, with intervals that count
        architectures and hold for predictors fitted as these were.
    calibration
        How the standard deviations fit the errors.
    """

    mean: Floats
    std: Floats
    fold: NDArray[np.int64]
    correlation: Correlation
    calibration: Calibration

    @property
    def kendall(self) -> float:
        """Kendall's τ between forecasts and targets."""
        return self.correlation.kendall

    @property
    def spearman(self) -> float:
        """Spearman's ρ between forecasts and targets."""
        return self.correlation.spearman

    @property
    def folds(self) -> int:
        """Number of folds."""
        return int(self.fold.max()) + 1

    def to_dict(self) -> dict[str, Any]:
        """Return the measures, without the forecasts, as plain values for JSON."""
        return {
            "folds": self.folds,
            "correlation": self.correlation.to_dict(),
            "calibration": self.calibration.to_dict(),
        }


def cross_validate(
    predictor: ProbabilisticRegressor,
    X: pd.DataFrame,
    y: ArrayLike,
    groups: ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
    confidence: float = 0.95,
    on_fold: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Fit to all folds but one, predict that one, for each in turn.

    Rows of one group go to the same fold: an isomorphic twin in the training part would give the
    answer away.

    Parameters
    ----------
    predictor
        Cloned for every fold; itself left as it is.
    X
        Features, ``n`` rows.
    y
        Targets, shape ``(n,)``.
    groups
        Architecture keys, shape ``(n,)``.
    folds
        Number of folds, at least two.
    seed
        Deals the groups to the folds.
    confidence
        Coverage of the intervals of the rank correlations.
    on_fold
        Called after each fold with the number of folds done and in all.

    Raises
    ------
    InputError
        When lengths differ or there are fewer groups than folds.
    """
    targets, keys = np.asarray(y, dtype=np.float64), np.asarray(groups)
    if not targets.shape == keys.shape == (len(X),):
        raise InputError(
            f"cross-validation expects one target and one key per row: {len(X)} rows, found shapes "
            f"{targets.shape} and {keys.shape}"
        )
    if folds < 2:
        raise InputError(f"cross-validation needs at least 2 folds, found {folds}")
    distinct = len(np.unique(keys))
    if distinct < folds:
        raise InputError(
            f"cross-validation in {folds} folds needs as many distinct architectures, found "
            f"{distinct}; label more or ask for fewer folds"
        )
    mean, std = np.full(len(X), np.nan), np.full(len(X), np.nan)
    fold = np.zeros(len(X), dtype=np.int64)
    splits = GroupKFold(folds, shuffle=True, random_state=seed).split(X, groups=keys)
    for number, (train, held_out) in enumerate(splits):
        fitted = clone(predictor)
        fitted.fit(X.iloc[train], targets[train])
        mean[held_out], std[held_out] = fitted.predict(X.iloc[held_out], return_std=True)
        fold[held_out] = number
        if on_fold is not None:
            on_fold(number + 1, folds)
    (correlation,) = correlate(
        pd.DataFrame({"prediction": mean}), targets, groups=keys, confidence=confidence, top=(0.1,)
    )
    return CrossValidation(mean, std, fold, correlation, calibration(targets, mean, std))

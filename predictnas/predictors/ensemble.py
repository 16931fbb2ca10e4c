"""What predictors made of many members have in common."""

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.base import PosteriorOver, Predictor
from predictnas.predictors.calibration import calibrate
from predictnas.predictors.inputs import Inputs

if TYPE_CHECKING:
    from botorch.posteriors.ensemble import EnsemblePosterior
    from torch import Tensor

__all__ = ["EnsemblePredictor", "excess_share", "left_out", "unseen"]


class EnsemblePredictor(Predictor):
    r"""A predictor whose members disagree where they do not know.

    With the members' predictions :math:`f_s(x)`, their mean :math:`\bar f(x)` and the variance
    each member states itself, :math:`w_s(x)`, the law of total variance gives the spread
    :math:`v(x) = \mathrm{Var}_s f_s(x) + \mathrm{E}_s w_s(x)`. A new label has mean
    :math:`\bar f(x)` and variance :math:`\sigma^2 + \kappa v(x)`, with noise and factor fitted to
    held-out labels by `calibrate`. The posterior consists of the members, their distance from the
    mean scaled by :math:`\sqrt\kappa`, so that it is calibrated, too.

    A subclass implements `_fit`, which sets the attributes below by `_calibrate`, and `_members`.

    Attributes
    ----------
    noise_ : float
        The variance :math:`\sigma^2` of observation noise.
    factor_ : float
        The factor :math:`\kappa` of the spread.
    held_out_ : array ``(2, n)``
        Means and standard deviations of the training labels by members that did not see them.
    held_out_excess_ : array ``(n,)``
        By how much their means vary more than those of all members.
    """

    noise_: float
    factor_: float
    held_out_: NDArray[np.float64]
    held_out_excess_: NDArray[np.float64]

    def _calibrate(
        self,
        targets: NDArray[np.float64],
        means: NDArray[np.float64],
        spreads: NDArray[np.float64],
        excess: float = 0.0,
    ) -> None:
        """Calibrate to what members predicted of labels ``(n,)`` unseen, NaN where all saw one.

        The excess is that of the inverse number of members, see `excess_share`.
        """
        known = np.isfinite(means)
        residuals = targets[known] - means[known]
        self.noise_, self.factor_ = calibrate(residuals, spreads[known])
        self.held_out_ = np.stack([means, np.sqrt(self.noise_ + self.factor_ * spreads)])
        self.held_out_excess_ = excess * spreads

    @abstractmethod
    def _members(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the members' predictions ``(s, n)`` and mean stated variance ``(n,)``."""

    def _predict(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        members, stated = self._members(inputs)
        spread = members.var(axis=0, ddof=1) + stated
        return members.mean(axis=0), np.sqrt(self.noise_ + self.factor_ * spread)

    def _held_out(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        means, stds = self.held_out_
        return means, stds

    def _held_out_excess(self) -> NDArray[np.float64]:
        return self.held_out_excess_

    def _posterior_over(self, inputs: Inputs) -> PosteriorOver:
        import torch
        from botorch.posteriors.ensemble import EnsemblePosterior

        members, _ = self._members(inputs)
        mean = members.mean(axis=0)
        values = torch.from_numpy(mean + np.sqrt(self.factor_) * (members - mean))

        def posterior(rows: "Tensor") -> "EnsemblePosterior":
            # (s, *batch, q) to (*batch, s, q, 1)
            return EnsemblePosterior(values[:, rows].movedim(0, -2).unsqueeze(-1))

        return posterior


def left_out(
    architectures: NDArray[np.int64], folds: int, repeats: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Split labels into folds, several times over, and let each member leave one fold out.

    Parameters
    ----------
    architectures
        A number for every label; labels of one architecture stay in one fold, shape ``(n,)``.
    folds
        The number of folds of a split; as many as architectures where these are fewer.
    repeats
        The number of splits.
    generator
        The source of the splits.

    Returns
    -------
    array ``(s, n)``
        Whether a member leaves a label out. Of one architecture nothing can be left out.
    """
    number = int(architectures.max()) + 1
    folds_taken = min(folds, number)
    if folds_taken < 2:
        return np.zeros((folds * repeats, len(architectures)), dtype=np.bool_)
    splits = [generator.permutation(number) % folds_taken for _ in range(repeats)]
    every_fold = np.arange(folds_taken)[:, None]
    return np.concatenate([split[architectures] == every_fold for split in splits])


def excess_share(held_out: NDArray[np.bool_], repeats: int) -> float:
    """Return what share of the variance between members fewer of them leave in their mean.

    It is 1 / `repeats` for those that leave a label out, less 1 / `s` for all.

    Parameters
    ----------
    held_out
        Whether each of `s` members leaves a label out, from `left_out`.
    repeats
        The number of splits.
    """
    return 1 / repeats - 1 / len(held_out)


def unseen(
    predictions: NDArray[np.float64], held_out: NDArray[np.bool_], repeats: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance ``(n,)`` of the members that leave a label out, one of each split.

    Parameters
    ----------
    predictions
        What members predict of the training labels, shape ``(s, n)``.
    held_out
        Whether they leave them out, from `left_out`.
    repeats
        The number of splits, at least 2.

    Returns
    -------
    means, variances : arrays ``(n,)``
        NaN where nothing was left out.
    """
    if not held_out.any():
        return np.full(held_out.shape[1], np.nan), np.full(held_out.shape[1], np.nan)
    members = np.argsort(~held_out, axis=0, kind="stable")[:repeats]
    others = np.take_along_axis(predictions, members, axis=0)
    return others.mean(axis=0), others.var(axis=0, ddof=1)

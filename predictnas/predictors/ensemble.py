"""What predictors made of many members have in common."""

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.base import PosteriorOver, Predictor
from predictnas.predictors.inputs import Inputs

if TYPE_CHECKING:
    from botorch.posteriors.ensemble import EnsemblePosterior
    from torch import Tensor

__all__ = ["EnsemblePredictor"]


class EnsemblePredictor(Predictor):
    r"""A predictor whose members disagree where they do not know.

    With the members' predictions :math:`f_s(x)`, their mean :math:`\bar f(x)` and the variance
    each member states itself, :math:`w_s(x)`, the law of total variance gives the spread
    :math:`v(x) = \mathrm{Var}_s f_s(x) + \mathrm{E}_s w_s(x)`. A new label has mean
    :math:`\bar f(x)` and variance :math:`\sigma^2 + \kappa v(x)`, with noise and factor fitted to
    held-out labels by `calibrate`. The posterior consists of the members, their distance from the
    mean scaled by :math:`\sqrt\kappa`, so that it is calibrated, too.

    A subclass implements `_fit`, which sets `noise_` and `factor_`, and `_members`.

    Attributes
    ----------
    noise_ : float
        The variance :math:`\sigma^2` of observation noise.
    factor_ : float
        The factor :math:`\kappa` of the spread.
    """

    noise_: float
    factor_: float

    @abstractmethod
    def _members(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the members' predictions ``(s, n)`` and mean stated variance ``(n,)``."""

    def _predict(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        members, stated = self._members(inputs)
        spread = members.var(axis=0, ddof=1) + stated
        return members.mean(axis=0), np.sqrt(self.noise_ + self.factor_ * spread)

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

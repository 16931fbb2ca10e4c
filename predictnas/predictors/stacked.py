"""What stacks of predictors share: weights from held-out predictions, and a mixture."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from predictnas.predictors.base import PosteriorOver, Predictor
from predictnas.predictors.held_out import HeldOut
from predictnas.predictors.inputs import Inputs
from predictnas.predictors.stacking import combine, stack_weights, variance_factor

if TYPE_CHECKING:
    from botorch.posteriors.posterior import Posterior
    from torch import Tensor

__all__ = ["StackedPredictor"]

Floats = NDArray[np.float64]


class StackedPredictor(Predictor):
    """A mixture of members, weighted by what they predict of labels that they had not seen.

    A subclass fits its members in `_fit` and hands their held-out predictions to `_weigh`; it
    says what members make of a table in `_each` and `_posteriors`. It has the parameters
    ``strength`` and ``random_state``.

    Attributes
    ----------
    weights_ : array ``(m,)``
        The weights of the members, see `stack_weights`.
    factor_ : float
        The factor of the variance, see `variance_factor`.
    held_out_ : array ``(2, n)``
        Means and standard deviations of the stack for the training labels, held out; NaN where a
        member has none.
    held_out_excess_ : array ``(n,)``
        By how much these means vary more than predictions of new labels.
    """

    strength: float
    random_state: int

    def _weigh(self, held_out: Sequence[HeldOut], targets: Floats) -> None:
        """Learn weights and factor from what `m` members say of labels ``(n,)``, held out."""
        means, stds, excess = np.array(held_out).swapaxes(0, 1)
        known = np.isfinite(means).all(axis=0)
        rng = np.random.default_rng(self.random_state)
        self.weights_ = stack_weights(
            means[:, known],
            stds[:, known],
            targets[known],
            self.strength,
            rng,
            excess=excess[:, known],
        )
        mean, variance = combine(self.weights_, means, stds)
        self.factor_ = variance_factor((targets - mean)[known], variance[known])
        self.held_out_ = np.stack([mean, np.sqrt(self.factor_ * variance)])
        self.held_out_excess_: Floats = self.weights_**2 @ excess

    def _predict(self, inputs: Inputs) -> tuple[Floats, Floats]:
        means, stds = np.asarray(self._each(inputs)).swapaxes(0, 1)
        mean, variance = combine(self.weights_, means, stds)
        return mean, np.sqrt(self.factor_ * variance)

    def _held_out(self) -> tuple[Floats, Floats]:
        mean, std = self.held_out_
        return mean, std

    def _held_out_excess(self) -> Floats:
        return self.held_out_excess_

    def _posterior_over(self, inputs: Inputs) -> PosteriorOver:
        import torch

        from predictnas.predictors.mixture import MixturePosterior, stretched

        members = self._posteriors(inputs)
        weights = torch.from_numpy(self.weights_)
        factor = float(np.sqrt(self.factor_))

        def posterior(rows: "Tensor") -> "Posterior":
            mixture = MixturePosterior([member(rows) for member in members], weights)
            centre = mixture.mean
            return mixture.map(lambda each: stretched(each, centre, factor))

        return posterior

    @abstractmethod
    def _each(self, inputs: Inputs) -> Sequence[tuple[Floats, Floats]]:
        """Return mean and standard deviation ``(n,)`` of new warped labels by each member."""

    @abstractmethod
    def _posteriors(self, inputs: Inputs) -> Sequence[PosteriorOver]:
        """Return the posteriors of warped targets by each member."""

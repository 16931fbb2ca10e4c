"""The stack of predictors that is the default."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from predictnas.errors import InputError
from predictnas.predictors.base import PosteriorOver, Predictor
from predictnas.predictors.checks import check_number, check_whole_number
from predictnas.predictors.ensemble import left_out
from predictnas.predictors.inputs import GRAPH, Inputs
from predictnas.predictors.stacking import combine, stack_weights, variance_factor

if TYPE_CHECKING:
    from botorch.posteriors.posterior import Posterior
    from torch import Tensor

__all__ = ["AutoPredictor"]

Floats = NDArray[np.float64]

# Refits of a member that has no held-out predictions of its own.
FOLDS = 5
# The share of labels for which a member must have held-out predictions, lest it be refitted.
SMALLEST_SHARE = 0.5


class AutoPredictor(Predictor):
    r"""A stack of different predictors, weighted by what they make of labels they had not seen.

    Every member learns from all labels, in units of warped targets. Their weights come from
    held-out predictions (see `Predictor.held_out_predictions`; a member without them is refitted
    on folds of architectures, the same for all), by likelihood and order, drawn towards equal
    weights: see `stack_weights`. A new label has the mean :math:`\mu` of the weighted mixture and
    the variance :math:`\kappa v`, with `v` by the law of total variance and the factor
    :math:`\kappa` fitted to the residuals of the stack on held-out labels. The joint posterior is
    the mixture of the members' posteriors, stretched by :math:`\sqrt\kappa` around its mean:
    `MixturePosterior`, from which samples come in the proportions of the weights.

    Parameters
    ----------
    encoding
        Encodings for every member that takes them: one or several names of `encoders.ENCODERS`;
        None leaves every member its own.
    operations
        The operations that graphs may carry (`Space.operations`); None takes those of the
        training graphs.
    warp
        The warp of the targets: ``"yeo-johnson"`` or ``"none"``.
    members
        Names of predictors.
    strength
        How many labels the prior of equal weights is worth.
    random_state
        The seed of members and folds.

    Attributes
    ----------
    members_ : tuple of Predictor
        The fitted members.
    weights_ : array ``(members,)``
        Their weights.
    factor_ : float
        The factor :math:`\kappa`.
    held_out_ : array ``(2, n)``
        Means and standard deviations of the stack for the training labels, held out; NaN where a
        member has none.
    """

    encoding: str | Sequence[str] | None  # type: ignore[assignment]

    def __init__(
        self,
        encoding: str | Sequence[str] | None = None,
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        members: Sequence[str] = ("gp", "gnn", "boosting", "ridge", "forest"),
        strength: float = 20.0,
        random_state: int = 0,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.members = members
        self.strength = strength
        self.random_state = random_state

    def _check_parameters(self) -> None:
        from predictnas.predictors import PREDICTORS

        check_number("strength", self.strength, 0.0, 1e6)
        check_whole_number("random_state", self.random_state, 0)
        names = self.members
        if isinstance(names, str) or not names or len(set(names)) < len(names):
            raise InputError(f"expected members as different names of predictors, found {names!r}")
        for name in names:
            if name not in PREDICTORS or PREDICTORS[name] is type(self):
                choices = [each for each in PREDICTORS if PREDICTORS[each] is not type(self)]
                raise InputError(
                    f"expected members among {', '.join(choices)}, found {name!r}; name others"
                )

    def _fit(self, inputs: Inputs, targets: Floats) -> None:
        table = _frame(inputs)
        self.members_ = tuple(self._member(name).fit(table, targets) for name in self.members)
        held_out = [self._held_out_of(member, table, targets) for member in self.members_]
        means, stds = np.array(held_out).swapaxes(0, 1)
        known = np.isfinite(means).all(axis=0)
        rng = np.random.default_rng(self.random_state)
        self.weights_ = stack_weights(
            means[:, known], stds[:, known], targets[known], self.strength, rng
        )
        mean, variance = combine(self.weights_, means, stds)
        self.factor_ = variance_factor((targets - mean)[known], variance[known])
        self.held_out_ = np.stack([mean, np.sqrt(self.factor_ * variance)])

    def _member(self, name: str) -> Predictor:
        from predictnas.predictors import get_predictor

        member: Predictor = get_predictor(name)
        wanted = {
            "operations": self.operations,
            "warp": "none",  # targets are warped here
            "random_state": self.random_state,
        }
        if self.encoding is not None:
            wanted["encoding"] = self.encoding
        known = member.get_params(deep=False)
        member.set_params(**{key: wanted[key] for key in wanted if key in known})
        return member

    def _held_out_of(
        self, member: Predictor, table: pd.DataFrame, targets: Floats
    ) -> tuple[Floats, Floats]:
        held_out = member.held_out_predictions()
        # With many labels an architecture, few trees have seen none of them.
        if held_out is not None and np.isfinite(held_out[0]).mean() > SMALLEST_SHARE:
            return held_out
        mean, std = np.full((2, len(targets)), np.nan)
        generator = np.random.default_rng(self.random_state)
        for rows in left_out(self.architectures_, FOLDS, 1, generator):
            if not rows.any():
                continue
            part = clone(member).fit(table[~rows], targets[~rows])
            mean[rows], std[rows] = part.predict(table[rows], return_std=True)
        return mean, std

    def _predict(self, inputs: Inputs) -> tuple[Floats, Floats]:
        table = _frame(inputs)
        each = [member.predict(table, return_std=True) for member in self.members_]
        means, stds = np.array(each).swapaxes(0, 1)
        mean, variance = combine(self.weights_, means, stds)
        return mean, np.sqrt(self.factor_ * variance)

    def _held_out(self) -> tuple[Floats, Floats]:
        mean, std = self.held_out_
        return mean, std

    def _posterior_over(self, inputs: Inputs) -> PosteriorOver:
        import torch

        from predictnas.predictors.mixture import MixturePosterior, stretched

        table = _frame(inputs)
        members = [member.posterior_over(table) for member in self.members_]
        weights = torch.from_numpy(self.weights_)
        factor = float(np.sqrt(self.factor_))

        def posterior(rows: "Tensor") -> "Posterior":
            mixture = MixturePosterior([member(rows) for member in members], weights)
            centre = mixture.mean
            return mixture.map(lambda each: stretched(each, centre, factor))

        return posterior


def _frame(inputs: Inputs) -> pd.DataFrame:
    """Return a checked table as a table, for the members to read."""
    table = pd.DataFrame(inputs.numeric, columns=list(inputs.columns))
    if inputs.graphs is not None:
        table[GRAPH] = pd.Series(inputs.graphs, dtype=object)
    return table

"""Transfer from another task's labels of the same space."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from predictnas.errors import InputError
from predictnas.predictors.base import PosteriorOver, Predictor
from predictnas.predictors.checks import check_number, check_whole_number
from predictnas.predictors.features import NumericWarps
from predictnas.predictors.held_out import stack_member
from predictnas.predictors.inputs import Inputs
from predictnas.predictors.source_task import SourceTask
from predictnas.predictors.stacked import StackedPredictor

if TYPE_CHECKING:
    from optuna import Trial

__all__ = ["TransferPredictor", "garrote_slope", "slopes_without"]

Floats = NDArray[np.float64]

SOURCE = "source_prediction"
# A slope and its error cannot be told from fewer labels.
FEWEST_LABELS = 4


class TransferPredictor(StackedPredictor):
    r"""Any predictor, helped by what the labels of another task say, as far as that helps.

    With `s` the warped prediction for the other task, two copies of the predictor learn. One
    learns the warped targets :math:`z` from the table as it is. The other has `s` as a further
    column and learns what is left of the targets, :math:`z - \beta s`, so that where the tasks
    agree, it has little left to learn; :math:`\beta` is shrunk, and zero below one standard error,
    see `garrote_slope`. Their weights come from held-out predictions, by likelihood and order
    (`stack_weights`): labels of an unrelated task cost little. What is added to a held-out
    prediction is :math:`\beta_{-a} s`, with the slope over all other architectures; the second
    copy learns with :math:`\beta` throughout. Mean, variance and posterior are those of a mixture,
    as in `AutoPredictor`.

    Parameters
    ----------
    predictor
        An unfitted predictor, or its name.
    source
        What predicts the other task.
    encoding, operations
        Replace those of the predictor; None leaves them.
    warp
        The warp of the targets: ``"yeo-johnson"`` or ``"none"``.
    strength
        How many labels the prior of equal weights is worth.
    random_state
        The seed of the predictor and of folds.

    Attributes
    ----------
    members_ : tuple of Predictor
        The predictor without and with the other task, fitted.
    source_warp_ : NumericWarps
        The warp of predictions for the other task, clipped to the range of the training rows.
    slope_ : float
        :math:`\beta`, in units of warped targets and predictions.
    weights_ : array ``(2,)``
        The weights of the members.
    factor_ : float
        The factor of the variance.
    held_out_ : array ``(2, n)``
        Means and standard deviations for the training labels, held out.

    References
    ----------
    M. Feurer, B. Letham, F. Hutter, E. Bakshy. Practical transfer learning for Bayesian
    optimization. 2018 (arXiv:1802.02219), for stacks whose weights come from held-out order.
    """

    encoding: str | Sequence[str] | None  # type: ignore[assignment]

    def __init__(
        self,
        predictor: Predictor | str = "auto",
        source: SourceTask | None = None,
        encoding: str | Sequence[str] | None = None,
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        strength: float = 5.0,
        random_state: int = 0,
    ) -> None:
        self.predictor = predictor
        self.source = source
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.strength = strength
        self.random_state = random_state

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Suggest parameters of the predictor, and the warp, to try instead of these."""
        inner = self.predictor
        if isinstance(inner, str) or type(inner).suggest is Predictor.suggest:
            name = inner if isinstance(inner, str) else type(inner).__name__
            raise InputError(
                f"expected an unfitted predictor with something to tune, found {name}; leave "
                "tuning out, or transfer to one such as gp or boosting"
            )
        # The predictor's own warp is set to none, as targets are warped here.
        return {
            name if name == "warp" else f"predictor__{name}": value
            for name, value in inner.suggest(trial).items()
        }

    def _check_parameters(self) -> None:
        check_number("strength", self.strength, 0.0, 1e6)
        check_whole_number("random_state", self.random_state, 0)
        if not isinstance(self.source, SourceTask):
            raise InputError(
                f"expected source as a SourceTask, found {type(self.source).__name__}; "
                "make one with SourceTask.learn"
            )
        self._unfitted()

    def _unfitted(self) -> Predictor:
        """Return a copy of the predictor for warped targets, with what replaces its own."""
        from predictnas.predictors import get_predictor

        given = self.predictor
        if not isinstance(given, (str, Predictor)) or isinstance(given, TransferPredictor):
            raise InputError(
                "expected predictor as the name of a predictor or an unfitted one, found "
                f"{type(given).__name__}; give a name such as auto"
            )
        copy: Predictor = get_predictor(given) if isinstance(given, str) else clone(given)
        replaced = {
            "encoding": self.encoding,
            "operations": self.operations,
            "warp": "none",  # targets are warped here
            "random_state": self.random_state,
        }
        known = copy.get_params(deep=False)
        wanted = {k: v for k, v in replaced.items() if k in known and v is not None}
        copy.set_params(**wanted)
        return copy

    def _fit(self, inputs: Inputs, targets: Floats) -> None:
        assert self.source is not None
        table = inputs.frame()
        predictions = self._source_predictions(table)
        self.source_warp_ = NumericWarps.learn(predictions[:, None])
        source = self.source_warp_.transform(predictions[:, None])[:, 0]
        self.slope_ = garrote_slope(source, targets)
        known = self.slope_ * source
        helped = table.assign(**{SOURCE: predictions})
        self.members_ = (
            self._unfitted().fit(table, targets),
            self._unfitted().fit(helped, targets - known),
        )
        architectures, seed = self.architectures_, self.random_state
        alone = stack_member(self.members_[0], table, targets, architectures, seed)
        rest = stack_member(self.members_[1], helped, targets - known, architectures, seed)
        added = slopes_without(source, targets, architectures) * source
        self._weigh([alone, rest._replace(mean=rest.mean + added)], targets)

    def _source_predictions(self, table: pd.DataFrame) -> Floats:
        assert self.source is not None
        if SOURCE in table.columns:
            raise InputError(
                f"expected a table without a column {SOURCE!r}, which is made here, found one; "
                "rename it"
            )
        return self.source.predict(table)

    def _both(self, inputs: Inputs) -> tuple[pd.DataFrame, pd.DataFrame, Floats]:
        """Return the tables of the two members, and what the second one is to add."""
        table = inputs.frame()
        predictions = self._source_predictions(table)
        known = self.slope_ * self.source_warp_.transform(predictions[:, None])[:, 0]
        return table, table.assign(**{SOURCE: predictions}), known

    def _each(self, inputs: Inputs) -> list[tuple[Floats, Floats]]:
        table, helped, known = self._both(inputs)
        alone, rest = self.members_
        mean, std = rest.predict(helped, return_std=True)
        return [alone.predict(table, return_std=True), (mean + known, std)]

    def _posteriors(self, inputs: Inputs) -> list[PosteriorOver]:
        import torch

        from predictnas.predictors.mixture import shifted

        table, helped, known = self._both(inputs)
        alone, rest = (
            member.posterior_over(each)
            for member, each in zip(self.members_, (table, helped), strict=True)
        )
        addition = torch.from_numpy(known)
        return [alone, lambda rows: shifted(rest(rows), addition[rows].unsqueeze(-1))]


def garrote_slope(x: Floats, y: Floats) -> float:
    r"""Return a slope of `y` over `x`, shrunk, and zero below one standard error.

    With the least-squares slope `b` and its variance :math:`v`, it is the nonnegative garrote

    .. math:: \beta = b \max(0,\ 1 - v / b^2)

    This is no test: it is not zero in about a third of cases where `x` says nothing of `y`,
    though small then.

    Parameters
    ----------
    x, y
        Shape ``(n,)``; with fewer than four rows, or without spread in `x`, the slope is 0.

    References
    ----------
    L. Breiman. Better subset regression using the nonnegative garrote. Technometrics 37 (4), 1995.
    """
    x, y = x - x.mean(), y - y.mean()
    moments = np.array([[len(x), 0.0, 0.0, x @ x, x @ y, y @ y]])
    return float(_garrote(moments)[0])


def slopes_without(x: Floats, y: Floats, architectures: NDArray[np.int64]) -> Floats:
    """Return for every row the `garrote_slope` over the rows of all other architectures.

    Sums over all rows less those of an architecture give its slope, without a refit.

    Parameters
    ----------
    x, y
        Shape ``(n,)``.
    architectures
        A number for every row, equal where rows hold the same architecture, shape ``(n,)``.

    Returns
    -------
    array ``(n,)``
        Equal for rows of one architecture.
    """
    x, y = x - x.mean(), y - y.mean()
    rows = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    sums = np.zeros((int(architectures.max()) + 1, rows.shape[1]))
    np.add.at(sums, architectures, rows)
    return _garrote(rows.sum(axis=0) - sums)[architectures]


def _garrote(moments: Floats) -> Floats:
    """Return slopes ``(k,)`` of sums ``(k, 6)`` of 1, x, y, x², xy and y²."""
    count, x, y, xx, xy, yy = moments.T
    each = np.maximum(count, 1)
    xx, xy, yy = xx - x * x / each, xy - x * y / each, yy - y * y / each
    usable = (count >= FEWEST_LABELS) & (xx > np.finfo(np.float64).eps * count)
    xx = np.where(usable, xx, 1.0)
    slope = xy / xx
    variance = np.maximum(yy - slope * xy, 0.0) / np.maximum(count - 2, 1) / xx
    kept = usable & (slope**2 > variance)
    shrunk: Floats = np.where(kept, slope - variance / np.where(kept, slope, 1.0), 0.0)
    return shrunk

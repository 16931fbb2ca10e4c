"""The stack of predictors that is the default."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.predictors.base import PosteriorOver, Predictor
from predictnas.predictors.checks import check_number, check_whole_number
from predictnas.predictors.held_out import HeldOut, stack_member
from predictnas.predictors.inputs import Inputs, read_inputs
from predictnas.predictors.pretrained_flow import PretrainedFlow
from predictnas.predictors.sharing import Sharing
from predictnas.predictors.smoothing import STEPS, ColumnSmoother
from predictnas.predictors.stacked import StackedPredictor
from predictnas.predictors.suggestions import suggest_encoding, suggest_warp

if TYPE_CHECKING:
    from optuna import Trial

__all__ = ["AutoPredictor"]

Floats = NDArray[np.float64]
Result = TypeVar("Result")

# What members learn from architectures without labels, by the names of their parameters.
PRETRAINED, UNLABELLED = "pretrained", "unlabelled"
# Members of which there is a second one on smoothed columns: those that gain most from them, and
# whose own held-out predictions tell the stack whether they gain.
SMOOTHED = ("gp", "gnn")
# What takes longest to learn and to predict, in these orders, and therefore begins first where
# members work side by side.
SLOWEST_TO_LEARN = ("gnn", "gp-deep", "mlp", "gp", "gp-wl", "boosting")
SLOWEST_TO_PREDICT = ("gp-wl", "gnn", "gp-deep", "gp", "forest", "mlp", "boosting")


class AutoPredictor(StackedPredictor):
    r"""A stack of different predictors, weighted by what they make of labels they had not seen.

    Every member learns from all labels, in units of warped targets. Their weights come from
    held-out predictions (see `Predictor.held_out_predictions`; a member without them is refitted
    on folds of architectures, the same for all), by likelihood and order, drawn towards equal
    weights: see `stack_weights`. A new label has the mean :math:`\mu` of the weighted mixture and
    the variance :math:`\kappa v`, with `v` by the law of total variance and the factor
    :math:`\kappa` fitted to the residuals of the stack on held-out labels. The joint posterior is
    the mixture of the members' posteriors, stretched by :math:`\sqrt\kappa` around its mean:
    `MixturePosterior`, from which samples come in the proportions of the weights.

    Members may learn from architectures without labels too, see `pretrain`. Where these have
    numeric columns, as proxy scores, members named gp and gnn come twice: as they are, and on
    columns without the noise of single scores, see `ColumnSmoother`.

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
    pretrained
        First weights of graph networks among the members, as `pretrain` sets them; None for none.
    unlabelled
        Graphs without labels for the members that learn from these, as `pretrain` sets them; None
        for none.
    smoother
        Smooths numeric columns, as `pretrain` sets it; None for none.
    random_state
        The seed of members and folds.

    Attributes
    ----------
    members_ : tuple of Predictor
        The fitted members, those on smoothed columns last.
    smoothed_ : int
        How many of them read smoothed columns.
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
        strength: float = 5.0,
        pretrained: PretrainedFlow | None = None,
        unlabelled: Sequence[ArchGraph] | None = None,
        smoother: ColumnSmoother | None = None,
        random_state: int = 0,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.members = members
        self.strength = strength
        self.pretrained = pretrained
        self.unlabelled = unlabelled
        self.smoother = smoother
        self.random_state = random_state

    def pretrain(self, X: Any, *, steps: int = 2000) -> Self:
        """Let the members learn from architectures without labels that can, see their `pretrain`.

        Parameters
        ----------
        X
            A table of architectures with a graph column.
        steps
            The number of steps of 128 architectures, of graph networks; those that smooth columns
            take 600 at most.

        Returns
        -------
        AutoPredictor
            This predictor, as fitted or unfitted as it was.

        Raises
        ------
        InputError
            If the table cannot be used, or no member can be pretrained.
        """
        self._check_parameters()
        check_whole_number("steps", steps, 1)
        if not self._takes(PRETRAINED) and not self._takes(UNLABELLED):
            raise self._nothing_to_pretrain()
        if name := self._takes(PRETRAINED):
            network = self._member(name).set_params(**{PRETRAINED: None})
            self.pretrained = network.pretrain(X, steps=steps).pretrained
        if name := self._takes(UNLABELLED):
            self.unlabelled = self._member(name).pretrain(X).unlabelled
        inputs = read_inputs(X)
        self.smoother = None
        if inputs.columns and self._smoothed():
            self.smoother = ColumnSmoother.learn(
                inputs, self.operations, steps=min(steps, STEPS), seed=self.random_state
            )
        return self

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Suggest parameters to try instead of these.

        Encodings are those of all members. Which members count is no matter of tuning: that is
        what their weights say.
        """
        return {
            "encoding": suggest_encoding(trial),
            "warp": suggest_warp(trial),
            "strength": trial.suggest_float("strength", 1.0, 25.0, log=True),
        }

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
        for parameter in (PRETRAINED, UNLABELLED):
            if getattr(self, parameter) is not None and not self._takes(parameter):
                raise self._nothing_to_pretrain()
        if self.smoother is None:
            return
        if not isinstance(self.smoother, ColumnSmoother):
            raise InputError(
                "expected smoother as what pretrain sets, or None, found "
                f"{type(self.smoother).__name__}; call pretrain"
            )
        if not self._smoothed():
            raise InputError(
                f"expected a member among {', '.join(SMOOTHED)} to read smoothed columns, found "
                f"{', '.join(self.members)}; add one, or leave pretraining out"
            )

    def _smoothed(self) -> list[str]:
        """Return the members of which a second one may read smoothed columns."""
        return [name for name in self.members if name in SMOOTHED]

    def _takes(self, parameter: str) -> str | None:
        """Return the first member that has a parameter, None where there is none."""
        having = (n for n in self.members if parameter in self._member(n).get_params(deep=False))
        return next(having, None)

    def _nothing_to_pretrain(self) -> InputError:
        return InputError(
            "expected members that learn from architectures without labels, such as gnn and gp, "
            f"found {', '.join(self.members)}; add some, or leave pretraining out"
        )

    def _fit(self, inputs: Inputs, targets: Floats) -> None:
        smoothed = self._smoothed() if self.smoother is not None and inputs.graphs else []
        self.smoothed_ = len(smoothed)
        members = [self._member(name) for name in (*self.members, *smoothed)]
        tables = [each.frame() for each in self._tables(inputs, len(members))]

        shared = Sharing()

        def learn(number: int) -> HeldOut:
            table = tables[number]
            with shared:
                member = members[number].fit(table, targets)
            return stack_member(member, table, targets, self.architectures_, self.random_state)

        held_out = _side_by_side(learn, members, SLOWEST_TO_LEARN)
        self.members_ = tuple(members)
        self._weigh(held_out, targets)

    def _member(self, name: str) -> Any:
        from predictnas.predictors import get_predictor

        member = get_predictor(name)
        wanted = {
            "operations": self.operations,
            "warp": "none",  # targets are warped here
            "random_state": self.random_state,
            PRETRAINED: self.pretrained,
            UNLABELLED: self.unlabelled,
        }
        if self.encoding is not None:
            wanted["encoding"] = self.encoding
        known = member.get_params(deep=False)
        member.set_params(**{key: wanted[key] for key in wanted if key in known})
        return member

    def _tables(self, inputs: Inputs, members: int) -> list[Inputs]:
        """Return the table of every member: smoothed for the last ones, else as it is."""
        tables = [inputs] * (members - self.smoothed_)
        if self.smoothed_:
            assert self.smoother is not None
            tables += [self.smoother.transform(inputs)] * self.smoothed_
        return tables

    def _each(self, inputs: Inputs) -> list[tuple[Floats, Floats]]:
        tables = self._tables(inputs, len(self.members_))

        shared = Sharing()

        def predicted(number: int) -> tuple[Floats, Floats]:
            with shared:
                mean, std = self.members_[number].predict(tables[number], return_std=True)
            return mean, std

        return _side_by_side(predicted, self.members_, SLOWEST_TO_PREDICT)

    def _posteriors(self, inputs: Inputs) -> list[PosteriorOver]:
        tables = self._tables(inputs, len(self.members_))
        with Sharing():
            return [
                member.posterior_over(table)
                for member, table in zip(self.members_, tables, strict=True)
            ]


def _side_by_side(
    function: Callable[[int], Result], members: Sequence[Predictor], slowest: Sequence[str]
) -> list[Result]:
    """Apply a function to the numbers of members in threads; return results in their order."""
    from predictnas.predictors import PREDICTORS
    from predictnas.predictors.threads import in_threads

    first = [PREDICTORS[name] for name in slowest]
    types = [type(member) for member in members]
    order = sorted(
        range(len(members)), key=lambda number: [*first, types[number]].index(types[number])
    )
    results = dict(zip(order, in_threads(function, order), strict=True))
    return [results[number] for number in range(len(members))]

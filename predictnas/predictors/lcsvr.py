"""Support vector regression on the beginning of learning curves."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from predictnas.errors import InputError
from predictnas.predictors.checks import check_number, check_whole_number
from predictnas.predictors.ensemble import (
    EnsemblePredictor,
    excess_share,
    left_out,
    unseen,
)
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import Inputs
from predictnas.predictors.suggestions import suggest_encoding, suggest_warp

if TYPE_CHECKING:
    from optuna import Trial

__all__ = ["LCSVRPredictor", "curve_columns", "with_differences"]

# The penalty C, and the inverse squared width of the kernel where the features have one group.
PENALTIES = (1.0, 5.0, 25.0)
GAMMAS = (0.03, 0.1, 0.3, 1.0)


class LCSVRPredictor(EnsemblePredictor):
    r"""Support vector regression on the beginning of a learning curve and on the architecture.

    The features are the values :math:`y_1, \ldots, y_\tau` of a curve as far as it was observed,
    their first and second differences, all other numeric columns, and encodings of the graph.
    A :math:`\nu`-SVR with an RBF kernel of the rows of `Features` maps them to the targets. Penalty
    and width of the kernel are those with the smallest squared error on folds of architectures.
    The training architectures are split into folds, several times over; each member leaves one
    fold out. What members predict of labels that they did not see calibrates the variance, see
    `EnsemblePredictor`.

    Parameters
    ----------
    encoding
        One or several names of `encoders.ENCODERS`; an empty tuple to leave the graph out.
    operations
        The operations that graphs may carry (`Space.operations`); None takes those of the
        training graphs.
    warp
        The warp of the targets: ``"yeo-johnson"`` or ``"none"``.
    curve
        The columns that hold the metric at early epochs: a prefix of their names, which end in
        the number of the epoch, ``curve_accuracy_5``; or the names in the order of time. Columns
        that differ in more than the number belong to different curves.
    nu
        The fraction :math:`\nu` of labels that are support vectors at least, in (0, 1].
    folds
        The number of folds of a split, at least 2; as many as architectures where these are fewer.
    repeats
        The number of splits, at least 2. There are ``folds * repeats`` members.
    random_state
        The seed of the splits.

    Attributes
    ----------
    curves_ : tuple of tuples of str
        The columns of every curve in the order of time.
    features_ : Features
        The map from tables with differences to rows.
    rows_ : array ``(n, d)``
        The training rows.
    penalty_, gamma_ : float
        The penalty `C`, and :math:`\gamma` of the kernel :math:`\exp(-\gamma \|x - x'\|^2)`.
    coefficients_ : array ``(s, n)``
        The coefficient of every training row in every member, 0 where it is no support vector.
    intercepts_ : array ``(s,)``
        What members predict far away from all rows.
    noise_, factor_, held_out_, held_out_excess_
        See `EnsemblePredictor`.

    References
    ----------
    B. Baker, O. Gupta, R. Raskar, N. Naik. Accelerating neural architecture search using
    performance prediction. 2017 (arXiv:1705.10823).
    """

    def __init__(
        self,
        encoding: str | Sequence[str] = ("graf",),
        operations: Sequence[str] | None = None,
        warp: str = "yeo-johnson",
        curve: str | Sequence[str] = "curve_",
        nu: float = 0.5,
        folds: int = 5,
        repeats: int = 3,
        random_state: int = 0,
    ) -> None:
        self.encoding = encoding
        self.operations = operations
        self.warp = warp
        self.curve = curve
        self.nu = nu
        self.folds = folds
        self.repeats = repeats
        self.random_state = random_state

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Suggest parameters to try instead of these."""
        return {
            "encoding": suggest_encoding(trial, optional=True),
            "warp": suggest_warp(trial),
            "nu": trial.suggest_float("nu", 0.2, 0.8),
        }

    def _check_parameters(self) -> None:
        if not isinstance(self.curve, Sequence) or not len(self.curve):
            raise InputError(
                f"expected curve as a prefix or names of columns, found {self.curve!r}"
            )
        check_number("nu", self.nu, 0.0, 1.0)
        check_whole_number("folds", self.folds, 2)
        check_whole_number("repeats", self.repeats, 2)
        check_whole_number("random_state", self.random_state, 0)

    def _fit(self, inputs: Inputs, targets: NDArray[np.float64]) -> None:
        self.curves_ = curve_columns(inputs.columns, self.curve)
        table = with_differences(inputs, self.curves_)
        self.features_ = Features.learn(table, self.encoding, self.operations)
        self.rows_ = self.features_.transform(table)
        generator = np.random.default_rng(self.random_state)
        held_out = left_out(self.architectures_, self.folds, self.repeats, generator)
        squared = _squared_distances(self.rows_, self.rows_)
        self.penalty_, self.gamma_ = self._chosen(squared, targets, held_out[: self.folds])
        gram = np.exp(-self.gamma_ * squared)
        fitted = [self._member(gram, targets, ~left, self.penalty_) for left in held_out]
        self.coefficients_ = np.array([coefficients for coefficients, _ in fitted])
        self.intercepts_ = np.array([intercept for _, intercept in fitted])
        self._calibrate(
            targets,
            *unseen(self._outputs(gram), held_out, self.repeats),
            excess_share(held_out, self.repeats),
        )

    def _chosen(
        self,
        squared: NDArray[np.float64],
        targets: NDArray[np.float64],
        folds: NDArray[np.bool_],
    ) -> tuple[float, float]:
        """Return the penalty and gamma of the smallest squared error on folds ``(f, n)``."""
        groups = int(self.features_.groups.max()) + 1
        candidates = [(penalty, gamma / groups) for gamma in GAMMAS for penalty in PENALTIES]
        if not folds.any():
            return candidates[len(candidates) // 2]
        errors = []
        for penalty, gamma in candidates:
            gram = np.exp(-gamma * squared)
            error = 0.0
            for left in folds[folds.any(axis=1)]:
                coefficients, intercept = self._member(gram, targets, ~left, penalty)
                predicted = gram[left] @ coefficients + intercept
                error += float(((targets[left] - predicted) ** 2).sum())
            errors.append(error)
        return candidates[int(np.argmin(errors))]

    def _member(
        self,
        gram: NDArray[np.float64],
        targets: NDArray[np.float64],
        rows: NDArray[np.bool_],
        penalty: float,
    ) -> tuple[NDArray[np.float64], float]:
        """Return coefficients ``(n,)`` and intercept of a machine trained on some rows."""
        from sklearn.svm import NuSVR

        numbers = np.flatnonzero(rows)
        machine = NuSVR(kernel="precomputed", nu=float(self.nu), C=penalty)
        # Without a number of its own it draws one from NumPy's global state, to no effect.
        machine.random_state = 0
        machine.fit(gram[np.ix_(numbers, numbers)], targets[numbers])
        coefficients = np.zeros(len(targets))
        coefficients[numbers[machine.support_]] = machine.dual_coef_[0]
        return coefficients, float(machine.intercept_[0])

    def _outputs(self, gram: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the outputs ``(s, m)`` of all members from the kernel ``(m, n)``."""
        outputs: NDArray[np.float64] = self.coefficients_ @ gram.T + self.intercepts_[:, None]
        return outputs

    def _members(self, inputs: Inputs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = self.features_.transform(with_differences(inputs, self.curves_))
        gram = np.exp(-self.gamma_ * _squared_distances(rows, self.rows_))
        return self._outputs(gram), np.zeros(len(inputs))


def curve_columns(
    columns: Sequence[str], curve: str | Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """Return the columns of every learning curve in the order of time.

    Parameters
    ----------
    columns
        The names of the numeric columns of a table.
    curve
        A prefix of names that end in the number of an epoch, or all names in the order of time.

    Raises
    ------
    InputError
        If there are no such columns.

    Examples
    --------
    >>> curve_columns(["curve_loss_2", "curve_loss_10", "params"], "curve_")
    (('curve_loss_2', 'curve_loss_10'),)
    """
    if not isinstance(curve, str):
        missing = [name for name in curve if name not in columns]
        if missing:
            raise _no_curve(columns, ", ".join(map(str, missing)))
        return (tuple(curve),)
    curves: dict[str, list[tuple[int, str]]] = {}
    for name in columns:
        if name.startswith(curve):
            stem, epoch = re.fullmatch(r"(.*?)(\d*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
            curves.setdefault(stem, []).append((int(epoch or 0), name))
    if not curves:
        raise _no_curve(columns, f"{curve}*")
    return tuple(tuple(name for _, name in sorted(curves[stem])) for stem in sorted(curves))


def with_differences(inputs: Inputs, curves: Sequence[Sequence[str]]) -> Inputs:
    """Return a table with first and second differences of curves beside its numeric columns."""
    column_of = {name: inputs.numeric[:, index] for index, name in enumerate(inputs.columns)}
    for names in curves:
        values = np.stack([column_of[name] for name in names])
        for order in (1, 2):
            differences = np.diff(values, n=order, axis=0)
            for name, difference in zip(names[order:], differences, strict=True):
                column_of[f"difference {order} at {name}"] = difference
    return Inputs(inputs.graphs, np.stack(list(column_of.values()), axis=1), tuple(column_of))


def _no_curve(columns: Sequence[str], expected: str) -> InputError:
    found = ", ".join(columns) or "no numeric column"
    return InputError(
        f"expected columns {expected} with a learning curve, found {found}; add the metric at "
        "early epochs to the features (--features graph,curve:5), or name its columns with the "
        "parameter curve"
    )


def _squared_distances(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    norms = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)
    squared: NDArray[np.float64] = np.maximum(norms - 2 * first @ second.T, 0.0)
    return squared

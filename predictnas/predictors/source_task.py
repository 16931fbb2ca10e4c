"""What the labels of another task say of architectures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.errors import InputError
from predictnas.predictors.base import Predictor
from predictnas.predictors.held_out import held_out_of
from predictnas.predictors.inputs import read_inputs, read_targets

__all__ = ["SourceTask"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceTask:
    """A predictor of another task, whose predictions mean the same for every architecture.

    What a predictor says of an architecture that it learned from leans on that one's label, noise
    included; of any other it cannot. Whoever learns how far to trust predictions from the first
    kind trusts those of the second too much. So an architecture with labels of the other task is
    predicted by what did not see them (`Predictor.held_out_predictions`, or refits on folds).

    It is never changed: copies of an estimator that holds it share it.

    Attributes
    ----------
    predictor
        Fitted to the labels of the other task.
    identities
        The architectures that it learned from, see `Inputs.identities`; none where they are not
        known.
    held_out
        What is predicted of these, held out, shape ``(k,)``.
    """

    predictor: Predictor
    identities: tuple[str, ...] = ()
    held_out: Floats = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def learn(cls, predictor: Predictor, X: Any, y: Any, *, seed: int = 0) -> Self:
        """Fit a predictor to the labels of another task.

        Parameters
        ----------
        predictor
            Fitted here.
        X, y
            A table of `n` architectures and their labels on the other task, in any unit.
        seed
            Deals architectures to folds where the predictor lacks held-out predictions.

        Raises
        ------
        InputError
            If the predictor cannot be fitted.
        """
        inputs = read_inputs(X)
        targets = read_targets(y, len(inputs))
        predictor.fit(X, targets)
        table = inputs.frame()
        held_out, _ = held_out_of(
            predictor, table, targets, predictor.architectures_, seed, complete=True
        )
        # Of what cannot be held out, a lone architecture, the predictor itself has to tell.
        lone = ~np.isfinite(held_out)
        if lone.any():
            held_out[lone] = predictor.predict(table[lone])
        names, rows = np.unique(inputs.identities(), return_inverse=True)
        means = np.bincount(rows, weights=held_out) / np.bincount(rows)
        return cls(predictor, tuple(names.tolist()), means)

    def __sklearn_clone__(self) -> Self:
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that it reads."""
        return self.predictor.columns_

    def check_columns(self, names: Sequence[str]) -> None:
        """Raise InputError unless a table with columns of these names can be predicted."""
        missing = [name for name in self.columns if name not in names]
        if missing:
            names_missing = ", ".join(missing)
            instead = "" if self.identities else ", or transfer from labels, which takes graphs"
            raise InputError(
                "expected the columns that the predictor of the other task reads, found "
                f"{names_missing} missing; add {names_missing} to the table (--features){instead}"
            )

    def predict(self, table: pd.DataFrame) -> Floats:
        """Predict the other task's labels of `n` architectures, shape ``(n,)``.

        Raises
        ------
        InputError
            If a column is missing, or the predictor cannot use one.
        """
        self.check_columns(list(table.columns))
        X = table[list(self.columns)]
        found: Floats = np.array(self.predictor.predict(X))
        known = {name: row for row, name in enumerate(self.identities)}
        rows = np.array([known.get(name, -1) for name in read_inputs(X).identities()])
        found[rows >= 0] = self.held_out[rows[rows >= 0]]
        return found

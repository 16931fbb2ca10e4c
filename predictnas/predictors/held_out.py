"""What a predictor says of its training labels without their help, whatever it takes."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from predictnas.predictors.base import Predictor
from predictnas.predictors.ensemble import left_out

__all__ = ["HeldOut", "held_out_of", "stack_member"]

Floats = NDArray[np.float64]


class HeldOut(NamedTuple):
    """What a member of a stack says of `n` labels that it had not seen.

    Attributes
    ----------
    mean, std
        Means and standard deviations ``(n,)``, NaN where it has none.
    excess
        By how much the variance of the means exceeds that of predictions of new labels, ``(n,)``,
        because fewer parts of the member gave them.
    """

    mean: Floats
    std: Floats
    excess: Floats


# Refits of a predictor that has no held-out predictions of its own.
FOLDS = 5
# The share of labels for which it must have held-out predictions, lest it be refitted.
SMALLEST_SHARE = 0.5


def held_out_of(
    predictor: Predictor,
    table: pd.DataFrame,
    targets: Floats,
    architectures: NDArray[np.int64],
    seed: int,
    *,
    complete: bool = False,
) -> tuple[Floats, Floats]:
    """Return means and standard deviations ``(n,)`` of training labels by what did not see them.

    They are the predictor's own (`Predictor.held_out_predictions`), or those of refits on folds of
    architectures, which depend on the seed alone.

    Parameters
    ----------
    predictor
        Fitted to the table and the targets.
    table, targets
        The `n` training rows and their labels.
    architectures
        A number for every row, equal where rows hold the same architecture, shape ``(n,)``.
    seed
        Deals architectures to folds.
    complete
        Whether refits fill in what the predictor's own lack, however little that is.

    Returns
    -------
    pair of arrays ``(n,)``
        In the unit of the targets; NaN where a label cannot be held out, or, unless `complete`,
        where the predictor's own are.
    """
    mean, std = np.full((2, len(targets)), np.nan)
    own = _own(predictor)
    if own is not None:
        mean, std = own
        if not complete:
            return mean, std
    missing = ~np.isfinite(mean)
    for fold in left_out(architectures, FOLDS, 1, np.random.default_rng(seed)):
        rows = fold & missing
        if not rows.any():
            continue
        part = clone(predictor).fit(table[~fold], targets[~fold])
        mean[rows], std[rows] = part.predict(table[rows], return_std=True)
    return mean, std


def stack_member(
    predictor: Predictor,
    table: pd.DataFrame,
    targets: Floats,
    architectures: NDArray[np.int64],
    seed: int,
) -> HeldOut:
    """Return what a stack has to know of a member: `held_out_of`, and the excess of its variance.

    Parameters
    ----------
    predictor
        Fitted to the table and the targets, which it does not warp.
    table, targets, architectures, seed
        As for `held_out_of`.
    """
    own, none = _own(predictor), np.zeros(len(targets))
    if own is None:
        # Refits are as large as what predicts.
        return HeldOut(*held_out_of(predictor, table, targets, architectures, seed), none)
    excess = predictor._held_out_excess()
    return HeldOut(*own, none if excess is None else excess)


def _own(predictor: Predictor) -> tuple[Floats, Floats] | None:
    """Return the predictor's own held-out predictions, None where they are too few."""
    held_out = predictor.held_out_predictions()
    # With many labels an architecture, few trees have seen none of them.
    if held_out is None or np.isfinite(held_out[0]).mean() <= SMALLEST_SHARE:
        return None
    mean, std = (np.array(values) for values in held_out)
    return mean, std

"""Taking what is known of another task over to the labels of one's own."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.errors import InputError
from predictnas.fitting import load_for_space
from predictnas.predictors import Predictor, SourceTask, TransferPredictor, get_predictor
from predictnas.sources import read_label_source
from predictnas.spaces import Space
from predictnas.tables import LabelTable, label_table

__all__ = ["agreement", "read_source_task", "transferred"]

SAVED = ".npz"
LEARNER = "gnn"
"""Predictor of the other task where its labels are given: graphs alone, any number of labels."""

Floats = NDArray[np.float64]

# Order alone tells from so many different labels on; the closest tasks stay well below this τ.
FEWEST_ORDERED = 20
SAME_ORDER = 0.999
# Labels are equal if they differ by less than this share of the standard deviation of labels.
TOLERANCE = 1e-3
FEWEST_EQUAL = 3
# What an accuracy may be written as instead: factor and addition.
UNITS = ((1.0, 0.0), (100.0, 0.0), (0.01, 0.0), (-1.0, 100.0), (-1.0, 1.0))
# Standard deviations within which a predictor has most of its own labels, but not another task's.
CLAIMED = 2.0
MEASURES = {"accuracy", "acc", "error", "loss", "top1", "valid", "validation", "val", "test"}


def read_source_task(
    source: str,
    target: str,
    space: Space,
    *,
    own: LabelTable | None = None,
    seed: int = 0,
    on_step: Callable[[str], None] | None = None,
) -> SourceTask:
    """Learn another task from its labels, or load a predictor of it.

    Parameters
    ----------
    source
        Labels as for :func:`~predictnas.sources.read_label_source`, or a file ``.npz`` that
        ``predictnas fit`` wrote. Such a predictor is taken as it is: which architectures it
        learned from it does not tell, so that nothing is held out.
    target
        Column with the labels of the other task; a predictor has its own.
    space
        The space, which has to be that of the other task.
    own
        The labels to predict; these themselves, in whatever unit, and what else was measured of
        the same trainings are refused as another task's. So is a predictor that has most of them
        within the error that it states, whatever it was fitted to.
    seed
        Of the predictor that learns the labels.
    on_step
        Called with a line on how far the tasks agree, or why that cannot be told.

    Raises
    ------
    InputError
        If the source cannot be read, is about another space or holds the labels to predict.
    """
    tell = on_step or (lambda _: None)
    if source.endswith(SAVED):
        predictor, metadata = load_for_space(Path(source), space)
        if own is not None:
            if _predicts_as_its_own(predictor, own, str(metadata.get("target"))):
                raise InputError(
                    f"--transfer {source}: expected a predictor of another task, found one that "
                    f"may have been fitted to the labels to predict ({metadata.get('target')}); "
                    "transfer from the labels of the other task"
                )
            tell(f"{source}: not held out for architectures that this predictor was fitted to")
        return SourceTask(predictor)
    try:
        table = label_table(read_label_source(source), space, target)
    except InputError as error:
        raise InputError(f"--transfer {source}: {error}") from None
    if own is not None:
        _check_another_task(table, own, source)
        shared, tau = agreement(table, own)
        found = f"Kendall τ {tau:.2f}" if np.isfinite(tau) else "no Kendall τ"
        tell(f"{source}: {found} between the tasks on {shared} shared architectures")
    learner = get_predictor(LEARNER, operations=space.operations)
    if "random_state" in learner.get_params():
        learner.set_params(random_state=seed)
    return SourceTask.learn(learner, table.features(proxies=False), table.targets, seed=seed)


def transferred(predictor: Predictor, source: SourceTask, *, seed: int = 0) -> TransferPredictor:
    """Return a predictor helped by another task.

    Parameters
    ----------
    predictor
        Unfitted.
    source
        What predicts the other task.
    seed
        Of the predictor and of folds.
    """
    operations = predictor.get_params(deep=False).get("operations")
    return TransferPredictor(predictor, source, operations=operations, random_state=seed)


def agreement(other: LabelTable, own: LabelTable) -> tuple[int, float]:
    """Return how many architectures two tables share, and Kendall's τ-b of their mean labels.

    τ is NaN where there are fewer than two, or all labels of one table are equal.
    """
    labels = _shared(other.keys, other.targets, own.keys, own.targets)
    return len(labels), _kendall(labels)


def _check_another_task(table: LabelTable, own: LabelTable, source: str) -> None:
    """Raise InputError if a table holds the labels to predict, or others of these trainings."""
    found = None
    if _same_labels(table, own):
        found = "those to predict"
    elif _same_task(table.target, own.target) and own.target in table.frame.columns:
        rows = np.flatnonzero(np.isfinite(table.frame[own.target]))
        keys = [table.keys[row] for row in rows]
        values = table.frame[own.target].to_numpy(dtype=np.float64)[rows]
        if _same(_shared(keys, values, own.keys, own.targets)):
            found = f"those of the same trainings as {own.target!r}"
    if found is not None:
        raise InputError(
            f"expected labels of another task to transfer from, found {found} in "
            f"column {table.target!r} of {source}; name another column with --transfer-target"
        )


def _same_task(other: str, own: str) -> bool:
    """Return whether two columns seem to be measures of one task: their names say no more."""
    names = set(re.split(r"[\W_]+", other.lower())), set(re.split(r"[\W_]+", own.lower()))
    left, right = (name - MEASURES for name in names)
    if "test" in names[0]:  # no reason to read it, however long the others were trained
        left, right = (
            {word for word in name if not re.fullmatch(r"epoch\d*|\d+", word)}
            for name in (left, right)
        )
    return left == right


def _same_labels(other: LabelTable, own: LabelTable) -> bool:
    """Return whether two tables hold labels of the same trainings, in whatever unit or order."""
    if _same(_shared(other.keys, other.targets, own.keys, own.targets)):
        return True
    # Means over other seeds differ; then single labels tell. Equal means, as of dead
    # architectures, count once.
    _, first = np.unique(own.targets, return_index=True)
    counted = {own.keys[row] for row in first}
    pairs = pd.merge(_single(other), _single(own), on="key", suffixes=("_other", "_own"))
    pairs = pairs[pairs["key"].isin(counted)]
    if pairs["key"].nunique() < FEWEST_EQUAL:
        return False
    tolerance = TOLERANCE * float(own.targets.std())
    for factor, addition in UNITS:
        gap = (factor * pairs["label_other"] + addition - pairs["label_own"]).abs()
        if (gap <= tolerance).groupby(pairs["key"]).any().mean() > 0.5:
            return True
    return False


def _single(table: LabelTable) -> pd.DataFrame:
    """Return the single labels of a table with the keys of their architectures."""
    single = table.replicates
    if single is None:
        return pd.DataFrame({"key": table.keys, "label": table.targets})
    return pd.DataFrame({"key": np.array(table.keys)[single.rows], "label": single.labels})


def _shared(keys: list[str], labels: Floats, own_keys: list[str], own_labels: Floats) -> Floats:
    """Return the mean labels ``(k, 2)`` of the architectures that are labelled on both sides."""
    both = pd.concat(
        [pd.Series(labels).groupby(keys).mean(), pd.Series(own_labels).groupby(own_keys).mean()],
        axis=1,
        join="inner",
    )
    return np.asarray(both.to_numpy(dtype=np.float64))


def _same(labels: Floats) -> bool:
    """Return whether labels ``(k, 2)`` are the same but for unit, order and a few exceptions."""
    # Tables of two tasks may agree that dead architectures are at chance: ties count once.
    _, first = np.unique(labels[:, 1], return_index=True)
    other, own = labels[first].T
    if len(own) < 2:
        return False
    maps = list(UNITS)
    if len(own) > FEWEST_EQUAL and np.ptp(other) > 0:
        slope, intercept = np.polyfit(other - other.mean(), own, 1)
        maps.append((float(slope), float(intercept - slope * other.mean())))
    gaps = [np.median(np.abs(slope * other + addition - own)) for slope, addition in maps]
    if min(gaps) <= TOLERANCE * own.std():
        return True
    ordered = len(own) >= FEWEST_ORDERED
    return ordered and abs(_kendall(np.column_stack([other, own]))) > SAME_ORDER


def _kendall(labels: Floats) -> float:
    from scipy.stats import kendalltau

    if len(labels) < 2 or (np.ptp(labels, axis=0) == 0).any():
        return float("nan")
    return float(kendalltau(labels[:, 0], labels[:, 1]).statistic)


def _predicts_as_its_own(predictor: Any, own: LabelTable, target: str) -> bool:
    """Return whether a predictor has most labels within the error that it states.

    Where a table lacks what it reads, the name of its target has to tell.
    """
    numbers = [name for name in predictor.columns_ if name != "graph"]
    if not set(numbers) <= set(own.frame.columns) - {own.target}:
        return _same_task(target, own.target)
    X = own.features(graph="graph" in predictor.columns_, proxies=numbers)
    complete = np.isfinite(own.frame[numbers].to_numpy(dtype=np.float64)).all(axis=1)
    if not complete.any():
        return _same_task(target, own.target)
    mean, std = predictor.predict(X[complete].reset_index(drop=True), return_std=True)
    return bool((np.abs(own.targets[complete] - mean) <= CLAIMED * std).mean() >= 0.5)

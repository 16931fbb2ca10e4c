"""Taking what is known of another task over to the labels of one's own."""

from pathlib import Path

import numpy as np

from predictnas.errors import InputError
from predictnas.fitting import load_for_space
from predictnas.predictors import Predictor, SourceTask, TransferPredictor, get_predictor
from predictnas.sources import read_label_source
from predictnas.spaces import Space
from predictnas.tables import LabelTable, label_table

__all__ = ["read_source_task", "transferred"]

SAVED = ".npz"
LEARNER = "gnn"
"""Predictor of the other task where its labels are given: graphs alone, any number of labels."""


def read_source_task(
    source: str,
    target: str,
    space: Space,
    *,
    own: LabelTable | None = None,
    seed: int = 0,
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
        The labels to predict; these themselves are refused as another task's.
    seed
        Of the predictor that learns the labels.

    Raises
    ------
    InputError
        If the source cannot be read, is about another space or holds the labels to predict.
    """
    if source.endswith(SAVED):
        predictor, _ = load_for_space(Path(source), space)
        return SourceTask(predictor)
    try:
        table = label_table(read_label_source(source), space, target)
    except InputError as error:
        raise InputError(f"--transfer {source}: {error}") from None
    if own is not None and _same_labels(table, own):
        raise InputError(
            f"expected labels of another task to transfer from, found those to predict in "
            f"column {table.target!r} of {source}; name another column with --transfer-target"
        )
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


def _same_labels(other: LabelTable, own: LabelTable) -> bool:
    """Return whether two tables label the architectures that both hold alike, and differently."""
    known = dict(zip(other.keys, other.targets.tolist(), strict=True))
    ours = dict(zip(own.keys, own.targets.tolist(), strict=True))
    shared = [key for key in ours if key in known]
    labels = np.array([(known[key], ours[key]) for key in shared]).reshape(-1, 2)
    return bool(len(set(labels[:, 1])) > 1 and (labels[:, 0] == labels[:, 1]).all())

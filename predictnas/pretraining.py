"""Pretraining predictors on architectures without labels."""

import numpy as np
import pandas as pd

from predictnas.errors import InputError
from predictnas.predictors import PREDICTORS, Predictor
from predictnas.scoring import filled
from predictnas.sources import read_label_source
from predictnas.spaces import Space

__all__ = ["can_be_pretrained", "pretrained", "pretraining_table"]


def can_be_pretrained(predictor: Predictor) -> bool:
    """Return whether a predictor learns from architectures without labels."""
    return hasattr(predictor, "pretrain")


def pretraining_table(
    source: str, space: Space, *, target: str | None = None, seed: int = 0
) -> pd.DataFrame:
    """Return the architectures to pretrain on.

    Parameters
    ----------
    source
        How many architectures to draw from the space, distinct by key, whose graphs alone count;
        or a table with a column ``arch`` and perhaps ``proxy_*`` columns, as ``predictnas score``
        writes it, or a study.
    space
        The space of the architectures.
    target
        A column that is to be predicted, and left out here.
    seed
        Of the draw.

    Returns
    -------
    DataFrame
        ``graph`` and the ``proxy_*`` columns, undefined scores filled.

    Raises
    ------
    InputError
        If the table cannot be read, or an architecture is not of the space.
    """
    if source.isdecimal():
        if int(source) < 2:
            raise InputError(f"expected 2 architectures or more to pretrain on, found {source}")
        archs = space.sample(int(source), np.random.default_rng(seed), distinct=True)
        return pd.DataFrame({"graph": pd.Series(space.graphs(archs), dtype=object)})
    frame = read_label_source(source).drop_duplicates("arch").reset_index(drop=True)
    try:
        archs = space.parse_all([str(text) for text in frame["arch"]])
    except InputError as error:
        raise InputError(f"--pretrain {source}, {error}") from None
    wrong = np.flatnonzero(~space.is_valid(archs))
    if wrong.size:
        raise InputError(
            f"--pretrain {source}, row {wrong[0] + 1}: {frame['arch'][wrong[0]]!r} is not a valid "
            f"architecture of {space.name}"
        )
    words = [
        str(name)
        for name in frame
        if str(name).startswith("proxy_") and not pd.api.types.is_numeric_dtype(frame[name])
    ]
    if words:
        raise InputError(
            f"--pretrain {source}: the scores must be numbers, column {words[0]!r} holds text"
        )
    graphs = pd.Series(space.graphs(archs), dtype=object, name="graph")
    scores = filled(frame).drop(columns=target or [], errors="ignore")
    return pd.concat([graphs, scores], axis=1)


def pretrained(predictor: Predictor, table: pd.DataFrame) -> Predictor:
    """Pretrain an unfitted predictor, and return it.

    Parameters
    ----------
    predictor
        One that can be pretrained, or one of whose members can.
    table
        See :func:`pretraining_table`.

    Raises
    ------
    InputError
        If it cannot be pretrained.
    """
    if not can_be_pretrained(predictor):
        able = [name for name, known in PREDICTORS.items() if hasattr(known, "pretrain")]
        raise InputError(
            f"expected a predictor that can be pretrained, {', '.join(able)}, found "
            f"{type(predictor).__name__}; name one of these, or leave --pretrain out"
        )
    learned: Predictor = predictor.pretrain(table)
    return learned

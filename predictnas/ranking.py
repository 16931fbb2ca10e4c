"""Ranking candidates without training any, and measuring how well scores rank."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import proxies
from predictnas.errors import InputError
from predictnas.evaluation import Correlation, correlate
from predictnas.fitting import load_for_space, predict_architectures, scores_of
from predictnas.scoring import ProxyScorer, proxy_ranking
from predictnas.spaces import Space
from predictnas.tables import label_table, read_table

__all__ = ["correlate_columns", "rank_candidates"]


def rank_candidates(
    space: Space,
    archs: NDArray[np.int64],
    *,
    scorer: Callable[[list[str]], ProxyScorer],
    predictor: Path | None = None,
    proxy_names: list[str] | None = None,
    scores: Path | None = None,
    on_score: Callable[[], None] | None = None,
) -> pd.DataFrame:
    """Order candidates, best first.

    Parameters
    ----------
    space, archs
        The candidates, ``(n, choices)``; isomorphic ones are ranked once.
    scorer
        Makes the scorer for named proxies.
    predictor
        File of a fitted predictor; None: rank by proxies.
    proxy_names
        Proxies to aggregate; None: the default ranking's.
    scores
        Table with proxy scores computed before.
    on_score
        Called after each architecture scored.

    Returns
    -------
    DataFrame
        ``rank`` from 1, ``arch``, and ``predicted_mean`` and ``predicted_std`` in the unit of
        the labels, or the ``proxy_*`` columns and ``rank_score``, their aggregate.
    """
    _, first = np.unique(space.keys(archs), return_index=True)
    archs = archs[np.sort(first)]
    table = pd.DataFrame({"arch": space.format_all(archs)})
    known = None if scores is None else read_table(scores)
    if predictor is not None:
        model, metadata = load_for_space(predictor, space)
        mean, std = predict_architectures(
            model,
            metadata["columns"],
            space,
            archs,
            scores=known,
            scorer=scorer,
            on_score=on_score,
        )
        table["predicted_mean"], table["predicted_std"] = mean, std
        order = np.argsort(-mean, kind="stable")
    else:
        names = proxy_names or list(proxies.DEFAULT_RANKING)
        found = _proxy_table(space, archs, names, known, scorer, on_score)
        table = pd.concat([table, found], axis=1)
        table["rank_score"] = proxy_ranking(found)
        order = np.argsort(-table["rank_score"].to_numpy(), kind="stable")
    table = table.iloc[order].reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def correlate_columns(
    labels: pd.DataFrame, space: Space, target: str, scores: Sequence[Path]
) -> list[Correlation]:
    """Correlate every numeric column of a label table with its target.

    Parameters
    ----------
    labels
        Table with an ``arch`` column.
    space
        Space of the architectures.
    target
        Column that holds the truth.
    scores
        Tables to join by architecture; where the label table has a column of the same name, the
        joined one is called ``NAME@FILE``.

    Raises
    ------
    InputError
        If the tables do not fit the space or one another.
    """
    table = label_table(labels, space, target)
    columns = table.frame.drop(columns=target)
    texts = space.format_all(table.archs)
    for path in scores:
        extra = read_table(path)
        try:
            archs = space.format_all(space.parse_all([str(text) for text in extra["arch"]]))
        except InputError as error:
            raise InputError(f"{path}, {error}") from None
        numbers = extra.select_dtypes("number").set_axis(archs, axis=0)
        numbers = numbers[~numbers.index.duplicated()]
        if not numbers.index.isin(texts).any():
            raise InputError(f"{path}: none of its architectures is in the labels")
        aligned = numbers.reindex(texts).reset_index(drop=True)
        aligned.columns = [
            f"{name}@{path.name}" if name in columns else str(name) for name in aligned.columns
        ]
        columns = pd.concat([columns, aligned], axis=1)
    directions = {
        column: proxies.PROXIES[name].direction
        for column in map(str, columns)
        if (name := column.partition("@")[0].removeprefix("proxy_")) in proxies.PROXIES
    }
    return correlate(columns, table.targets, directions=directions, groups=np.array(table.keys))


def _proxy_table(
    space: Space,
    archs: NDArray[np.int64],
    names: list[str],
    known: pd.DataFrame | None,
    scorer: Callable[[list[str]], ProxyScorer],
    on_score: Callable[[], None] | None,
) -> pd.DataFrame:
    columns = [f"proxy_{name}" for name in names]
    if known is None:
        return scorer(names).table(archs, on_score)[columns]
    missing = [column for column in columns if column not in known.columns]
    if missing:
        raise InputError(f"the scores have no column {missing[0]!r}; compute it, or leave it out")
    words = [column for column in columns if not pd.api.types.is_numeric_dtype(known[column])]
    if words:
        raise InputError(f"the scores must be numbers, column {words[0]!r} holds text")
    return scores_of(known, space.format_all(archs))[columns]

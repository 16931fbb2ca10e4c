"""Ranking candidates without training any, and measuring how well scores rank."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import proxies
from predictnas.errors import InputError
from predictnas.evaluation import Correlation, correlate
from predictnas.fitting import load_for_space, mean_scores, predict_architectures, scores_of
from predictnas.scoring import ProxyScorer, expanded, proxy_ranking
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
        Proxies to rank by, or aggregates of proxies; None: the default ranking's.
    scores
        Table with proxy scores computed before, of these or of isomorphic architectures. Rows of
        one architecture are averaged; with a column ``seed``, so are those of isomorphic ones, as
        :func:`predictnas.tables.label_table` does for labels.
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
    known = None if scores is None else _spelt_as(scores, space, archs)
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
        names = expanded(proxy_names or proxies.DEFAULT_RANKING)
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
        Tables to join by architecture, by an isomorphic one where they lack it, averaged as in
        `rank_candidates`; where the label table has a column of the same name, the joined one is
        called ``NAME@FILE``.

    Raises
    ------
    InputError
        If the tables do not fit the space or one another.
    """
    table = label_table(labels, space, target)
    columns = table.frame.drop(columns=target)
    for path in scores:
        extra = _means(path, space)
        rows = _rows_of(table.archs, extra, space, path)
        if not (rows >= 0).any():
            raise InputError(f"{path}: none of its architectures is in the labels")
        numbers = extra.select_dtypes("number").drop(columns="seed", errors="ignore")
        aligned = numbers.reset_index(drop=True).reindex(rows)
        aligned = aligned.reset_index(drop=True)
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


def _spelt_as(scores: Path, space: Space, archs: NDArray[np.int64]) -> pd.DataFrame:
    """Read the scores of architectures, spelt as these are and not as an isomorphic one."""
    known = _means(scores, space)
    rows = _rows_of(archs, known, space, scores)
    texts = np.array(space.format_all(archs), dtype=object)
    return known.iloc[rows[rows >= 0]].assign(arch=texts[rows >= 0])


def _means(scores: Path, space: Space) -> pd.DataFrame:
    """Read one row an architecture; with a column ``seed``, isomorphic ones have one of them."""
    table = read_table(scores)
    held = _held(table, space, scores)
    table["arch"] = space.format_all(held)
    return mean_scores(table, space.keys(held) if "seed" in table else table["arch"].tolist())


def _held(table: pd.DataFrame, space: Space, path: Path) -> NDArray[np.int64]:
    """Read the architectures of a table's rows."""
    try:
        return space.parse_all([str(text) for text in table["arch"]])
    except InputError as error:
        raise InputError(f"{path}, {error}") from None


def _rows_of(
    archs: NDArray[np.int64], table: pd.DataFrame, space: Space, path: Path
) -> NDArray[np.int64]:
    """Return which row of a table holds each architecture, or an isomorphic one; −1: none."""
    held = _held(table, space, path)
    by_text: dict[str, int] = {}
    by_key: dict[str, int] = {}
    for row, (text, key) in enumerate(zip(space.format_all(held), space.keys(held), strict=True)):
        by_text.setdefault(text, row)
        by_key.setdefault(key, row)
    wanted = zip(space.format_all(archs), space.keys(archs), strict=True)
    return np.array([by_text.get(text, by_key.get(key, -1)) for text, key in wanted], np.int64)


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

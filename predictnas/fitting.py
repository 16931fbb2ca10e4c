"""Training a predictor on a label table, and ranking candidates with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import proxies
from predictnas.errors import InputError
from predictnas.evaluation import CrossValidation, NoiseCeiling, cross_validate, noise_ceiling
from predictnas.predictors import Predictor, get_predictor, load_predictor
from predictnas.scoring import ProxyScorer, filled
from predictnas.spaces import Space
from predictnas.tables import LabelTable, curve_inputs, is_curve_input, with_epoch_columns
from predictnas.tables.curves import group_means, read_curves
from predictnas.tuning import Tuning, tune

__all__ = [
    "FittedPredictor",
    "feature_table",
    "fit_predictor",
    "load_for_space",
    "mean_scores",
    "predict_architectures",
    "reads_curves",
    "scores_of",
]


@dataclass(frozen=True, eq=False)
class FittedPredictor:
    """A predictor trained on all usable rows of a label table, and how well it did held out.

    Parameters
    ----------
    predictor
        Fitted to every usable row.
    validation
        Cross-validation by isomorphism class on the same rows, or None where there are fewer
        classes than folds.
    num_labels
        Rows it was fitted to.
    num_incomplete
        Rows left out because a proxy score or an epoch of a curve is missing.
    columns
        Numeric columns that it reads beside the graph.
    ceiling
        How well single trainings agree, or None where labels have no repetitions.
    tuning
        What tuning found, or None where it was not asked for.
    """

    predictor: Predictor
    validation: CrossValidation | None
    num_labels: int
    num_incomplete: int
    columns: list[str]
    ceiling: NoiseCeiling | None
    tuning: Tuning | None = None


def fit_predictor(
    table: LabelTable,
    predictor: str,
    *,
    features: str = "all",
    limit: int | None = None,
    folds: int = 5,
    seed: int = 0,
    trials: int | None = None,
    cache: Path | None = None,
    prepare: Callable[[Predictor], Predictor] | None = None,
    on_trial: Callable[[], None] | None = None,
    on_fold: Callable[[int, int], None] | None = None,
) -> FittedPredictor:
    """Train a predictor on a label table and cross-validate it.

    Parameters
    ----------
    table
        The labels.
    predictor
        Name in :data:`~predictnas.predictors.PREDICTORS`.
    features
        Inputs, see :func:`feature_table`.
    limit
        Use at most so many rows, drawn at random.
    folds
        Folds of the cross-validation.
    seed
        Seed of folds, of the draw and of the predictor.
    trials
        Settings to try by :func:`~predictnas.tuning.tune` before fitting; None tunes nothing.
    cache, on_trial
        See there.
    prepare
        Makes of the unfitted predictor the one to fit, such as a pretrained one.
    on_fold
        Called with the fold's number and the number of folds, for progress displays.

    Raises
    ------
    InputError
        If a name is unknown or no row is usable.
    """
    model = get_predictor(predictor, operations=table.space.operations)
    if "random_state" in model.get_params():
        model.set_params(random_state=seed)
    if prepare is not None:
        model = prepare(model)
    X = feature_table(table, features)
    rows = np.flatnonzero(np.isfinite(X.drop(columns="graph", errors="ignore")).all(axis=1))
    incomplete = len(X) - len(rows)
    if not len(rows):
        raise InputError(
            "every row lacks a proxy score or an epoch; compute them or use --features graph"
        )
    if limit is not None and limit < len(rows):
        if limit < 1:
            raise InputError(f"--limit must be at least 1, found {limit}")
        drawn = np.random.default_rng(seed).choice(len(rows), limit, replace=False)
        rows = rows[np.sort(drawn)]
    X = X.iloc[rows].reset_index(drop=True)
    y = table.targets[rows]
    groups = table.twins[rows]
    tuning = None
    if trials is not None:
        # Other folds than those that the result is measured on.
        tuning = tune(model, X, y, groups, trials, seed=seed + 1, cache=cache, on_trial=on_trial)
        model.set_params(**tuning.parameters)
    validation = None
    if len(set(groups)) >= folds:
        validation = cross_validate(model, X, y, groups, folds=folds, seed=seed, on_fold=on_fold)
    columns = [str(column) for column in X.columns if column != "graph"]
    ceiling = None if table.replicates is None else noise_ceiling(table.replicates.matrix())
    fitted = model.fit(X, y)
    return FittedPredictor(fitted, validation, len(rows), incomplete, columns, ceiling, tuning)


def feature_table(table: LabelTable, features: str) -> pd.DataFrame:
    """Return the inputs of a predictor that a text names.

    Parameters
    ----------
    table
        The labels.
    features
        Names of columns separated by commas; ``graph`` is the graph, ``proxies`` stands for every
        ``proxy_*`` column, and ``all`` for both. ``curve:5`` is the first five epochs of every
        learning curve, ``curve:25%`` the first quarter, ``curve_NAME:5`` is of one curve: see
        :func:`~predictnas.tables.curve_inputs`.

    Returns
    -------
    DataFrame
        A row for every row of the table; proxy scores and epochs may be missing (NaN).

    Raises
    ------
    InputError
        If a column or an epoch is not there, is the target or gives it away, or none is named.
    """
    names = _names(features)
    if "all" in names:
        names += ["graph", "proxies"]
    curves = [name for name in names if is_curve_input(name)]
    columns = [name for name in names if name not in ("all", "graph", "proxies", *curves)]
    if "proxies" in names:
        scores = [name for name in table.proxy_columns if name != table.target]
        columns += [name for name in scores if name not in columns]
    parts = [curve_inputs(table, text) for text in curves]
    if "graph" in names or columns or not parts:
        parts.insert(0, table.features(graph="graph" in names, proxies=columns))
    found = pd.concat(parts, axis=1)
    return found.loc[:, ~found.columns.duplicated()]


def reads_curves(features: str) -> bool:
    """Return whether a text of :func:`feature_table` names learning curves."""
    return any(is_curve_input(name) for name in _names(features))


def load_for_space(path: Path, space: Space) -> tuple[Predictor, dict[str, Any]]:
    """Load a predictor that was fitted to architectures of ``space``, and its metadata.

    Raises
    ------
    InputError
        If the file cannot be loaded or belongs to another space.
    """
    predictor, metadata = load_predictor(path)
    if not isinstance(metadata.get("columns"), list):
        raise InputError(f"{path}: does not say which columns it reads; write it with fit")
    if metadata.get("space") != space.name:
        raise InputError(
            f"{path}: fitted to architectures of {metadata.get('space')}, not of {space.name}"
        )
    return predictor, metadata


def predict_architectures(
    predictor: Predictor,
    columns: list[str],
    space: Space,
    archs: NDArray[np.int64],
    *,
    scores: pd.DataFrame | None = None,
    scorer: Callable[[list[str]], ProxyScorer] | None = None,
    on_score: Callable[[], None] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predict mean and standard deviation for architectures, in the unit of the labels.

    Parameters
    ----------
    predictor, columns
        As loaded; the numeric columns that it reads.
    space, archs
        The candidates, ``(n, choices)``.
    scores
        Table with an ``arch`` column and the numeric columns, or lists ``curve_*`` for epochs;
        means are taken where it has several rows of one architecture.
    scorer
        Makes the scorer for named proxies, for columns that ``scores`` lacks.
    on_score
        Called after each architecture scored.

    Raises
    ------
    InputError
        If a column is to be had neither from the scores nor from a proxy of ours.
    """
    graphs = pd.Series(space.graphs(archs), dtype=object, name="graph")
    found = pd.DataFrame(index=graphs.index)
    missing = list(columns)
    if scores is not None:
        rows = with_epoch_columns(scores_of(scores, space.format_all(archs)), columns)
        known = [column for column in columns if column in rows.columns]
        found = rows[known]
        missing = [column for column in columns if column not in known]
    if missing:
        found = pd.concat([found, _computed(missing, archs, scorer, on_score)], axis=1)
    inputs = [graphs] if "graph" in predictor.columns_ else []
    mean, std = predictor.predict(pd.concat([*inputs, found[columns]], axis=1), return_std=True)
    return mean, std


def scores_of(scores: pd.DataFrame, texts: list[str]) -> pd.DataFrame:
    """Return the rows of a score table that belong to architectures, in their order.

    Where several rows spell one architecture, its row holds their means: see `mean_scores`.

    Raises
    ------
    InputError
        If the table lacks one of them, or a curve to be averaged is no list of numbers.
    """
    by_arch = mean_scores(scores, scores["arch"].tolist()).set_index("arch")
    absent = [text for text in texts if text not in by_arch.index]
    if absent:
        raise InputError(f"the scores lack {len(absent)} candidates, the first {absent[0]}")
    return by_arch.loc[texts].reset_index(drop=True)


def mean_scores(scores: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """Return one row for every group of rows, with the means that labels of several seeds have.

    Parameters
    ----------
    scores
        Table with an ``arch`` column, perhaps a column ``seed``, numbers and lists ``curve_*``;
        a row that repeats architecture and seed of an earlier one does not count.
    groups
        What each row belongs to.

    Returns
    -------
    DataFrame
        In order of first occurrence. Numbers are means over those that are there; a mean curve is
        NaN from where one of its curves ends, and all other columns are of the first row.

    Raises
    ------
    InputError
        If a curve to be averaged is no list of numbers.
    """
    if "seed" in scores:
        counts = ~scores.duplicated(["arch", "seed"]).to_numpy()
    else:
        counts = np.ones(len(scores), dtype=bool)
    rows, distinct = pd.factorize(np.array(groups, dtype=object)[counts])
    scores = scores[counts].reset_index(drop=True)
    if len(distinct) == len(scores):
        return scores
    numbers = scores.drop(columns="seed", errors="ignore").select_dtypes("number")
    # A curve as text, as in CSV, is refused where it is wanted.
    lists = [
        name
        for name in scores.columns.difference(numbers.columns, sort=False)
        if not pd.api.types.is_string_dtype(scores[name])
    ]
    curves = read_curves(scores[lists])
    means = {name: list(group_means(curve, rows)) for name, curve in curves.items()}
    _, first = np.unique(rows, return_index=True)
    found = scores.iloc[first].reset_index(drop=True)
    return found.assign(**numbers.groupby(rows).mean(), **means)


def _names(features: str) -> list[str]:
    return [name.strip() for name in features.split(",") if name.strip()]


def _computed(
    columns: list[str],
    archs: NDArray[np.int64],
    scorer: Callable[[list[str]], ProxyScorer] | None,
    on_score: Callable[[], None] | None,
) -> pd.DataFrame:
    names = [column.removeprefix("proxy_") for column in columns]
    strangers = [
        column
        for column, name in zip(columns, names, strict=True)
        if not column.startswith("proxy_") or name not in proxies.PROXIES
    ]
    if strangers or scorer is None:
        raise InputError(
            f"the predictor reads the columns {', '.join(strangers or columns)}, which are not "
            "proxies that can be computed here; give a table that has them with --scores"
        )
    return filled(scorer(names).table(archs, on_score))

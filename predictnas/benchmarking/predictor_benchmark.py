"""What predictors are worth on a label table, for numbers of labels and random training sets."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata as distributions
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from predictnas import __version__
from predictnas.errors import InputError
from predictnas.evaluation import calibration, constant_nll, correlate
from predictnas.evaluation.json_values import json_value
from predictnas.fitting import feature_table
from predictnas.predictors import Predictor, plain_parameters
from predictnas.search import LABEL_DRIVEN, design_of_table, get_design
from predictnas.tables import LabelTable

__all__ = ["Job", "PredictorBenchmark", "complete_rows"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 5
"""Folds in which a predictor without held-out predictions of its own is refitted for them."""


class Job(NamedTuple):
    """One fit: a predictor, how many labels it gets, and which training set."""

    predictor: str
    size: int
    repeat: int


@dataclass(frozen=True, eq=False)
class PredictorBenchmark:
    """An experiment: every predictor on every number of labels, for several training sets.

    Isomorphic architectures count as one (see :attr:`~predictnas.tables.LabelTable.twins`), in
    the spelling and with the label that stand first in the table, so that no test architecture
    has a twin that was trained on. In every repeat the
    architectures are put into an order; the first ones are the training set, and smaller sets
    are parts of larger ones. All predictors get the same sets, so that they can be compared
    pairwise. All other architectures are the test set, or the last `max_test` of that order.

    Parameters
    ----------
    table
        The labels.
    predictors
        Unfitted predictors by the names that records give them. Where one has a
        ``random_state``, a repeat sets it to `seed` plus its number; where its ``operations``
        are None, they are those of the space.
    sizes
        Numbers of labels.
    repeats
        Number of training sets.
    features
        Inputs, as for :func:`~predictnas.fitting.feature_table`.
    complete
        Whether to leave out architectures without all proxy scores even where these are no
        inputs, so that sets of inputs are compared on the same architectures.
    design
        How training sets are chosen, see :data:`~predictnas.search.DESIGNS`. One that looks at
        labels is told those of what it has chosen, see
        :func:`~predictnas.search.design_of_table`.
    max_test
        Size of the test set; None: all that is left.
    seed
        Of the orders.

    Raises
    ------
    InputError
        If a number is out of range, a size leaves nothing to test on, or no row is usable.
    """

    table: LabelTable
    predictors: Mapping[str, Predictor]
    sizes: Sequence[int]
    repeats: int
    features: str = "all"
    complete: bool = False
    design: str = "random"
    max_test: int | None = None
    seed: int = 0
    rows: Ints = field(init=False, repr=False)
    X: pd.DataFrame = field(init=False)
    y: Floats = field(init=False)
    _orders: dict[int, Ints] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        get_design(self.design)
        for name, number in (("repeats", self.repeats), ("max_test", self.max_test or 1)):
            if number < 1:
                raise InputError(f"{name} must be at least 1, found {number}")
        if not self.predictors or not self.sizes:
            raise InputError("a benchmark needs a predictor and a number of labels, found none")
        inputs = feature_table(self.table, self.features)
        usable = complete_rows(inputs)
        if self.complete:
            usable &= complete_rows(self.table.features())
        rows = np.flatnonzero(usable)
        _, first = np.unique(self.table.twins[rows], return_index=True)
        rows = rows[np.sort(first)]
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "X", inputs.iloc[rows].reset_index(drop=True))
        object.__setattr__(self, "y", self.table.targets[rows])
        if not len(rows):
            raise InputError(
                "every row lacks a proxy score or an epoch; compute them or use --features graph"
            )
        held = self.max_test or 2
        if not 1 <= min(self.sizes) <= max(self.sizes) <= len(rows) - held:
            raise InputError(
                f"expected from 1 to {len(rows) - held} labels, since {len(rows)} distinct "
                f"architectures are usable and {held} or more are to be tested on, found "
                f"{min(self.sizes)} to {max(self.sizes)}"
            )

    def jobs(self) -> list[Job]:
        """Return all jobs, repeat by repeat, so that what is done first can be compared."""
        return [
            Job(name, size, repeat)
            for repeat in range(self.repeats)
            for size in dict.fromkeys(self.sizes)
            for name in self.predictors
        ]

    @cached_property
    def conditions(self) -> dict[str, Any]:
        """What every record depends on beside its predictor, size and repeat."""
        digest = hashlib.sha256("\n".join(map(str, self.X.columns)).encode())
        if "graph" in self.X:
            digest.update("\n".join(graph.to_json() for graph in self.X["graph"]).encode())
        digest.update(self.X.drop(columns="graph", errors="ignore").to_numpy(np.float64).tobytes())
        digest.update(self.y.tobytes())
        return {
            "space": self.table.space.name,
            "target": self.table.target,
            "features": [str(column) for column in self.X.columns],
            "architectures": len(self.X),
            "data": digest.hexdigest()[:16],
            "design": self.design,
            "max_test": self.max_test,
            "seed": self.seed,
            "versions": {
                "predictnas": __version__,
                **{name: distributions.version(name) for name in ("torch", "scikit-learn")},
            },
        }

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of every predictor, as plain values."""
        found = {}
        for name, predictor in self.predictors.items():
            values = plain_parameters(predictor)
            values.pop("random_state", None)
            found[name] = {"predictor": type(predictor).__name__, **json_value(values)}
        return found

    def split(self, size: int, repeat: int) -> tuple[Ints, Ints]:
        """Return the rows of a training set and of its test set."""
        generator = np.random.default_rng([self.seed, repeat])
        order = generator.permutation(len(self.X))
        # The last ones stay for the test whatever the size; sets are chosen from the others.
        held = order[len(order) - (self.max_test or 0) :]
        pool = order[: len(order) - len(held)]
        chosen = pool[self._chosen(pool, size, repeat)]
        return chosen, held if self.max_test else np.setdiff1d(pool, chosen)

    def _chosen(self, pool: Ints, size: int, repeat: int) -> Ints:
        """Return which of the rows of a pool are the training set."""
        X, y, seed = self.X.iloc[pool], self.y[pool], repeat + self.seed
        if self.design not in LABEL_DRIVEN:
            return design_of_table(self.design, X, y, size, seed=seed)
        # It fits a predictor in every round: all sizes are parts of one order, made once.
        if size > len(self._orders.get(repeat, ())):
            most = max(size, *self.sizes)
            self._orders[repeat] = design_of_table(self.design, X, y, most, seed=seed)
        return self._orders[repeat][:size]

    def measure(self, job: Job) -> dict[str, Any]:
        """Fit a predictor to a training set, test it, and return the record.

        Returns
        -------
        dict
            The job; ``kendall``, ``spearman``, ``precision`` and ``ndcg`` at the top 1, 5 and
            10 % on the test set; ``coverage`` of central intervals, ``nll`` and ``sharpness``;
            ``baseline_nll``, that of the same means with the constant deviation that fits the
            test set best, and ``constant_nll``, with the one that is known beforehand: the root
            mean square of residuals on the training set, each predicted by what had not seen it
            (the predictor's own held-out predictions, or a cross-validation where it has none);
            seconds.

        Raises
        ------
        InputError
            If the predictor cannot be fitted; the message names the job.
        """
        train, test = self.split(job.size, job.repeat)
        predictor = clone(self.predictors[job.predictor])
        known = predictor.get_params(deep=False)
        if "random_state" in known:
            predictor.set_params(random_state=self.seed + job.repeat)
        if known.get("operations", ()) is None:
            predictor.set_params(operations=self.table.space.operations)
        X, y = self.X.iloc[train], self.y[train]
        start = time.perf_counter()
        try:
            predictor.fit(X, y)
        except InputError as error:
            raise InputError(f"{job.predictor} with {job.size} labels: {error}") from None
        fitted = time.perf_counter()
        mean, std = predictor.predict(self.X.iloc[test], return_std=True)
        predicted = time.perf_counter()
        truth = self.y[test]
        (ranking,) = correlate(pd.DataFrame({"prediction": mean}), truth)
        honesty = calibration(truth, mean, std)
        record = {
            **job._asdict(),
            "test": len(test),
            "kendall": ranking.kendall,
            "spearman": ranking.spearman,
            "precision": ranking.precision,
            "ndcg": ranking.ndcg,
            "coverage": honesty.coverage,
            "nll": honesty.nll,
            "baseline_nll": honesty.baseline_nll,
            "constant_nll": constant_nll(truth, mean, _held_out_residuals(predictor, X, y)),
            "sharpness": honesty.sharpness,
            "seconds_fit": fitted - start,
            "seconds_predict": predicted - fitted,
        }
        plain: dict[str, Any] = json_value(record)
        return plain


def complete_rows(inputs: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows of a table of inputs have all their numbers, shape ``(n,)``."""
    numbers = inputs.drop(columns="graph", errors="ignore").to_numpy(dtype=np.float64)
    complete: NDArray[np.bool_] = np.isfinite(numbers).all(axis=1)
    return complete


def _held_out_residuals(predictor: Predictor, X: pd.DataFrame, y: Floats) -> Floats:
    """Return label minus prediction of what had not seen it; empty where there is one label."""
    held_out = predictor.held_out_predictions()
    if held_out is not None:
        residuals = y - held_out[0]
        return residuals[np.isfinite(residuals)]
    # Architectures are distinct here, so any split keeps twins together.
    fold = np.arange(len(y)) % min(FOLDS, len(y))
    residuals = np.zeros(0)
    for number in range(min(FOLDS, len(y)) if len(y) > 1 else 0):
        kept = fold != number
        part = clone(predictor).fit(X[kept], y[kept])
        residuals = np.append(residuals, y[~kept] - part.predict(X[~kept]))
    return residuals

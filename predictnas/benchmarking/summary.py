"""Means over the repeats of a benchmark, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictnas.evaluation import MeanInterval, mean_interval

__all__ = ["Summary", "summarise"]

MEASURES = (
    *("kendall", "spearman", "nll", "baseline_nll", "constant_nll", "sharpness"),
    *("seconds_fit", "seconds_predict"),
)
SHARES = ("precision", "ndcg", "coverage")


@dataclass(frozen=True, eq=False)
class Summary:
    """What a predictor reaches with a number of labels.

    Attributes
    ----------
    predictor, size
        The predictor and the number of labels.
    repeats
        Number of training sets behind the means.
    measures
        Mean over the training sets of every measure of a record, with Student's 95 % t interval;
        measures at several shares go by names such as ``precision, top 10 %``. Where a measure
        is undefined for a training set, its mean is too.
    """

    predictor: str
    size: int
    repeats: int
    measures: dict[str, MeanInterval]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        measures = {name: interval.to_dict() for name, interval in self.measures.items()}
        return {
            "predictor": self.predictor,
            "size": self.size,
            "repeats": self.repeats,
            "measures": measures,
        }


def summarise(records: Sequence[Mapping[str, Any]]) -> list[Summary]:
    """Average records over their repeats.

    Parameters
    ----------
    records
        As :meth:`~predictnas.benchmarking.PredictorBenchmark.measure` returns them, in any order.

    Returns
    -------
    list of Summary
        One for each predictor and size, predictors as they first occur, sizes ascending.
    """
    names = list(dict.fromkeys(record["predictor"] for record in records))
    found = []
    for name in names:
        sizes = sorted({record["size"] for record in records if record["predictor"] == name})
        for size in sizes:
            chosen = [r for r in records if (r["predictor"], r["size"]) == (name, size)]
            flat = [_flat(record) for record in chosen]
            measures = {
                measure: mean_interval(np.array([row[measure] for row in flat], dtype=np.float64))
                for measure in flat[0]
            }
            found.append(Summary(name, size, len(chosen), measures))
    return found


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    shares = {
        f"{measure}, {share}": value
        for measure in SHARES
        for share, value in record[measure].items()
    }
    return {measure: record[measure] for measure in MEASURES} | shares

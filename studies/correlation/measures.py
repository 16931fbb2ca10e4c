"""What the study of proxy correlations measures of scores."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import proxies
from predictnas.evaluation import (
    Bootstrapped,
    Resamples,
    kendall_tau,
    ranking_quality,
    seed_agreement,
    spearman,
)

__all__ = [
    "NAMES",
    "PUBLISHED",
    "SIZES",
    "Scores",
    "ScoresByProxy",
    "by_proxy",
    "compare_published",
    "measure_aggregates",
    "measure_proxies",
    "measure_stability",
]

# Times and memory depend on the machine and on what else it does.
NAMES = [name for name, proxy in proxies.PROXIES.items() if not proxy.measured]
DIRECTIONS = {name: proxies.PROXIES[name].direction for name in NAMES}
SIZES = ("params", "flops")
PUBLISHED = {
    "params": "proxy_params",
    "flops": "proxy_flops",
    "grad_norm": "proxy_grad_norm",
    "snip": "proxy_snip",
    "grasp": "proxy_grasp",
    "synflow": "proxy_synflow",
    "fisher": "proxy_fisher",
    "plain": "proxy_plain",
    "l2_norm": "proxy_l2_norm",
    "jacob_cov": "proxy_jacov",
    "epe_nas": "proxy_epe_nas",
    "naswot": "proxy_nwot",
    "zen": "proxy_zen",
}


class Scores(NamedTuple):
    """Scores of a proxy: values and what was computed at all, shape (seeds, cells) each."""

    values: NDArray[np.float64]
    computed: NDArray[np.bool_]

    def part(self, rows: Any) -> "Scores":
        """Return the scores of some cells."""
        return Scores(self.values[:, rows], self.computed[:, rows])


# Proxy name → scores.
ScoresByProxy = Mapping[str, Scores]


def known(*scores: Scores) -> tuple[list[int], NDArray[np.bool_]]:
    """Return the seeds from which most cells have all of the scores, and those cells."""
    computed = np.logical_and.reduce([each.computed for each in scores])
    counts = computed.sum(axis=1)
    seeds = [int(seed) for seed in np.flatnonzero(counts == counts.max())]
    return seeds, computed[seeds].all(axis=0)


def by_proxy(tables: Sequence[pd.DataFrame]) -> dict[str, Scores]:
    """Return the scores of tables with the same rows by proxy."""
    found = {}
    for name in NAMES:
        values = [table[f"proxy_{name}"].to_numpy(dtype=np.float64) for table in tables]
        computed = [table[f"status_{name}"].fillna("").ne("").to_numpy() for table in tables]
        scores = Scores(np.array(values), np.array(computed))
        if scores.computed.any():
            found[name] = scores
    return found


def aggregated(
    scores: ScoresByProxy, names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return an aggregate of scores from every seed, and which cells it ranks."""
    seeds, rows = known(*(scores[name] for name in names))
    directions = {name: DIRECTIONS[name] for name in names}
    pools = [{name: scores[name].values[seed][rows] for name in names} for seed in seeds]
    return np.array([proxies.rank_aggregate(pool, directions) for pool in pools]), rows


def measure_proxies(
    scores: ScoresByProxy, target: NDArray[np.float64], resamples: int
) -> dict[str, Any]:
    """Return how every proxy ranks the cells, in its declared direction."""
    found = {}
    for name, each in scores.items():
        seeds, rows = known(each)
        drawn = Resamples(int(rows.sum()), resamples=resamples, seed=0)
        quality = ranking_quality(
            each.values[seeds][:, rows], target[rows], drawn, direction=DIRECTIONS[name]
        )
        found[name] = {"direction": DIRECTIONS[name], "cells": int(rows.sum())}
        found[name] |= {"seeds": len(seeds)} | quality.to_dict()
    return found


def measure_aggregates(
    scores: ScoresByProxy, target: NDArray[np.float64], rows: NDArray[np.bool_], resamples: int
) -> dict[str, Any]:
    """Return how aggregates, and sizes beside them, rank a part of the cells."""
    part, labels = {name: each.part(rows) for name, each in scores.items()}, target[rows]
    found = {}
    for title, names in {**proxies.AGGREGATES, **{name: (name,) for name in SIZES}}.items():
        if not all(name in part and part[name].computed.any() for name in names):
            continue
        values, ranked = aggregated(part, names)
        drawn = Resamples(int(ranked.sum()), resamples=resamples, seed=0)
        quality = ranking_quality(values, labels[ranked], drawn)
        found[title] = {"cells": int(ranked.sum()), "seeds": len(values)} | quality.to_dict()
    return {"n": int(rows.sum()), "rankings": found}


def compare_published(
    scores: ScoresByProxy, table: pd.DataFrame, target: NDArray[np.float64], resamples: Resamples
) -> dict[str, Any]:
    """Compare our scores with the table's, on the cells that have both."""
    found = {}
    for name, column in PUBLISHED.items():
        if name not in scores or column not in table:
            continue
        seeds, _ = known(scores[name])
        ours = DIRECTIONS[name] * scores[name].values[seeds]
        theirs = DIRECTIONS[name] * table[column].to_numpy(dtype=np.float64)
        rows = np.isfinite(ours).all(axis=0) & np.isfinite(theirs)

        def mean(other: NDArray[np.float64], ours: Any = ours, rows: Any = rows) -> Bootstrapped:
            return Bootstrapped.mean(
                [resamples.measure(spearman, row, other, rows=rows) for row in ours]
            )

        our_order, their_order = (
            mean(target),
            resamples.measure(spearman, theirs, target, rows=rows),
        )
        found[name] = {
            "n": int(rows.sum()),
            "seeds": len(seeds),
            "ours": our_order.to_dict(),
            "theirs": their_order.to_dict(),
            "difference": (our_order - their_order).to_dict(),
            "between": mean(theirs).to_dict(),
        }
    return found


def measure_stability(
    main: ScoresByProxy,
    further: ScoresByProxy,
    batches: Mapping[int, ScoresByProxy],
    target: NDArray[np.float64],
    batch_size: int,
) -> dict[str, Any]:
    """Return how much the scores of a part of the cells change with the seed and the batch size."""
    count = len(target)
    found = {}
    for name, scores in main.items():
        runs = [scores.part(slice(count))] + ([further[name]] if name in further else [])
        values, computed = (np.vstack(each) for each in zip(*runs, strict=True))
        complete = computed.all(axis=1)
        entry: dict[str, Any] = {"seeds": None, "n_seeds": int(complete.sum()), "batch_sizes": {}}
        if complete.sum() > 1:
            entry["seeds"] = seed_agreement(values[complete])
        for size, others in batches.items():
            if name not in others or not complete[0]:
                continue
            pair = np.vstack([values[:1], others[name].values])
            both = np.isfinite(pair).all(axis=0)
            change = spearman(pair[1][both], target[both]) - spearman(pair[0][both], target[both])
            entry["batch_sizes"][str(size)] = {
                "kendall": kendall_tau(pair[0][both], pair[1][both]),
                "spearman_change": DIRECTIONS[name] * change,
            }
        found[name] = entry
    return {"cells": count, "batch_sizes": [batch_size, *batches], "proxies": found}

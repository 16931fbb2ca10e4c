"""Scores from a table: which rows count for a candidate."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictnas.ranking import correlate_columns, rank_candidates
from predictnas.scoring import ProxyScorer
from predictnas.spaces import Space

ONE, TWIN, OTHER = (1, 3, 0, 0, 0, 1), (1, 0, 3, 0, 0, 1), (3,) * 6


def _no_scorer(names: list[str]) -> ProxyScorer:
    raise AssertionError(names)


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        # Labels of several seeds are means over twins too, and so are scores.
        ({"seed": [0, 1, 2, 0]}, {ONE: 5.0, OTHER: 4.0}),
        ({}, {ONE: 2.0, OTHER: 4.0}),
    ],
)
def test_scores_of_one_architecture_are_averaged(
    tmp_path: Path,
    space: Space,
    seeds: dict[str, list[int]],
    expected: dict[tuple[int, ...], float],
) -> None:
    frame = pd.DataFrame(
        {
            "arch": space.format_all(np.array([ONE, ONE, TWIN, OTHER])),
            "proxy_params": [1.0, 3.0, 11.0, 4.0],
            **seeds,
        }
    )
    frame.to_parquet(tmp_path / "scores.parquet")
    found = rank_candidates(
        space,
        np.array([ONE, OTHER]),
        scorer=_no_scorer,
        proxy_names=["params"],
        scores=tmp_path / "scores.parquet",
    )
    scores = dict(zip(found["arch"], found["proxy_params"], strict=True))
    assert scores == {space.format(np.array(arch)): value for arch, value in expected.items()}


def test_scores_of_several_seeds_are_averaged_before_they_are_correlated(
    tmp_path: Path, space: Space
) -> None:
    archs = space.sample(8, np.random.default_rng(0))
    texts = space.format_all(archs)
    accuracy = np.arange(8.0)
    labels = pd.DataFrame({"arch": texts, "valid_accuracy": accuracy})
    # The first seed ranks them the wrong way round; the mean of both, the right way.
    scores = pd.DataFrame(
        {
            "arch": texts * 2,
            "seed": np.repeat([0, 1], 8),
            "proxy_noisy": np.concatenate([-accuracy, 3 * accuracy]),
        }
    )
    scores.to_parquet(tmp_path / "scores.parquet")
    (found,) = correlate_columns(labels, space, "valid_accuracy", [tmp_path / "scores.parquet"])
    assert (found.column, found.n, found.kendall) == ("proxy_noisy", 8, 1.0)

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from predictnas.benchmarking import PredictorBenchmark
from predictnas.predictors import get_predictor
from predictnas.spaces import Space
from predictnas.tables import LabelTable, label_table


@pytest.fixture(scope="session")
def labels(space: Space) -> LabelTable:
    """Cells, isomorphic ones among them, with accuracies that twins do not quite share."""
    archs = space.sample(260, np.random.default_rng(0), distinct=False)
    archs = np.unique(archs, axis=0)
    rng = np.random.default_rng(1)
    quality = (archs == 3).sum(axis=1) + 0.5 * (archs == 2).sum(axis=1)
    frame = pd.DataFrame(
        {
            "arch": space.format_all(archs),
            "valid_accuracy": 80 + 2 * quality + 0.3 * rng.normal(size=len(archs)),
            "proxy_good": quality + rng.normal(size=len(archs)),
            "proxy_partial": np.where(archs[:, 0] == 0, np.nan, rng.normal(size=len(archs))),
        }
    )
    return label_table(frame, space, "valid_accuracy")


@pytest.fixture
def experiment(labels: LabelTable) -> Callable[..., PredictorBenchmark]:
    def experiment(**changed: Any) -> PredictorBenchmark:
        settings: dict[str, Any] = {
            "predictors": {"forest": get_predictor("forest", trees=10)},
            "sizes": [8, 20],
            "repeats": 2,
            "features": "graph,proxy_good",
        }
        return PredictorBenchmark(**({"table": labels} | settings | changed))

    return experiment


@pytest.fixture
def with_seeds(labels: LabelTable) -> LabelTable:
    """Every cell trained with three seeds."""
    parts = []
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(size=len(labels))
        part = labels.frame.assign(arch=labels.space.format_all(labels.archs), seed=seed)
        parts.append(part.assign(valid_accuracy=part["valid_accuracy"] + noise))
    return label_table(pd.concat(parts), labels.space, "valid_accuracy")

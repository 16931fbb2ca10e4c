from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from predictnas.predictors import Predictor, SourceTask, TransferPredictor, get_predictor
from predictnas.spaces.nasbench201 import NasBench201

# Smaller than the defaults where a predictor's cost allows it; others run as they are.
FAST: dict[str, dict[str, Any]] = {
    "mlp": {"steps": 60},
    "gnn": {"width": 12, "steps": 50},
    "forest": {"trees": 40},
    "gp-deep": {"steps": 20},
    "boosting": {"trees": 40},
    "lcsvr": {"curve": "proxy_"},
    "auto": {"members": ("gp", "forest")},
}


@pytest.fixture(scope="session")
def make(source: SourceTask) -> Callable[..., Predictor]:
    def make(name: str, **parameters: Any) -> Predictor:
        if name == "transfer":
            return TransferPredictor(**{"predictor": "gp", "source": source} | parameters)
        return get_predictor(name, **FAST.get(name, {}) | parameters)

    return make


@pytest.fixture(scope="session")
def source(cells: Callable[..., tuple[pd.DataFrame, np.ndarray]]) -> SourceTask:
    """Another task, whose accuracy is monotone in that of `cells`, without noise."""
    table, accuracy = cells(150, seed=5)
    predictor = get_predictor("ridge", operations=(*NasBench201.operations, "attention"))
    return SourceTask.learn(predictor, table[["graph"]], 1000 * np.exp(accuracy - 92))


@pytest.fixture(scope="session")
def cells() -> Callable[..., tuple[pd.DataFrame, np.ndarray]]:
    """Distinct cells with two numeric columns, and a skewed accuracy in percent with noise."""
    space = NasBench201()

    def cells(n: int, seed: int = 0, noise: float = 0.0) -> tuple[pd.DataFrame, np.ndarray]:
        rng = np.random.default_rng(seed)
        archs = space.sample(n, rng, distinct=True)
        names = np.asarray(space.operations)[archs]
        convolutions = (names == "nor_conv_3x3") + 0.6 * (names == "nor_conv_1x1")
        weight = np.array([1.0, 0.8, 0.8, 1.2, 0.8, 1.0])
        quality = convolutions @ weight - 0.5 * (names == "none") @ weight
        quality += 0.5 * (names[:, 0] == "skip_connect") * (names[:, 5] == "nor_conv_3x3")
        accuracy = 92 - 3 * np.exp(-0.6 * quality) + noise * rng.standard_normal(n)
        table = pd.DataFrame(
            {
                "graph": space.graphs(archs),
                "proxy_heavy": np.exp(3 * quality + rng.standard_normal(n)),
                "proxy_noise": rng.standard_normal(n),
            }
        )
        return table, accuracy

    return cells

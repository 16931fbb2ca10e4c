"""Rank correlation and calibration on published accuracies, where they are at hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from predictnas.predictors import get_predictor
from predictnas.spaces.nasbench201 import NasBench201

TABLE = Path(__file__).parents[4] / "shared" / "data" / "nasbench201_cifar10.parquet"

pytestmark = pytest.mark.skipif(not TABLE.exists(), reason=f"{TABLE.name} is not there")


@pytest.fixture(scope="module")
def accuracies():
    space = NasBench201()
    table = pd.read_parquet(TABLE)
    scores = [name for name in table if name.startswith("proxy_")]
    table = table[table[scores].notna().all(axis=1)].sample(700, random_state=0)
    graphs = pd.Series(space.graphs(space.parse_all(list(table["arch"]))), index=table.index)
    return table[scores].assign(graph=graphs), table["valid_accuracy"].to_numpy()


# Means over random labels are .05 higher; see the limits as what no seed should fall below.
@pytest.mark.parametrize(
    ("name", "graphs_only", "with_proxies"),
    [("gp", 0.64, 0.76), ("mlp", 0.66, 0.75), ("forest", 0.58, 0.74), ("gnn", 0.77, 0.79)],
)
def test_a_hundred_labels_rank_the_rest(name, graphs_only, with_proxies, accuracies):
    table, accuracy = accuracies
    for columns, limit in ((["graph"], graphs_only), (list(table), with_proxies)):
        predictor = get_predictor(name, operations=NasBench201.operations)
        predictor.fit(table[columns][:100], accuracy[:100])
        mean, std = predictor.predict(table[columns][100:], return_std=True)
        assert kendalltau(mean, accuracy[100:]).statistic > limit
        covered = np.mean(np.abs(mean - accuracy[100:]) < 1.645 * std)
        assert 0.8 < covered < 0.99

"""Which inputs a text names, and what fitting a table reports."""

import numpy as np
import pandas as pd
import pytest

from predictnas import fitting
from predictnas.errors import InputError
from predictnas.spaces import Space
from predictnas.tables import LabelTable, label_table


@pytest.fixture
def table(space: Space) -> LabelTable:
    archs = np.unique(space.sample(90, np.random.default_rng(0)), axis=0)
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "arch": space.format_all(archs),
            "valid_accuracy": 80 + (archs == 3).sum(axis=1) + 0.1 * rng.normal(size=len(archs)),
            "proxy_a": rng.normal(size=len(archs)),
            "proxy_b": rng.normal(size=len(archs)),
            "depth": rng.normal(size=len(archs)),
        }
    )
    return label_table(frame, space, "valid_accuracy")


@pytest.mark.parametrize(
    ("features", "columns"),
    [
        ("all", ["graph", "proxy_a", "proxy_b"]),
        ("graph,proxies", ["graph", "proxy_a", "proxy_b"]),
        ("graph", ["graph"]),
        ("proxies", ["proxy_a", "proxy_b"]),
        ("proxy_b, graph", ["graph", "proxy_b"]),
        ("depth", ["depth"]),
        ("depth,all", ["graph", "depth", "proxy_a", "proxy_b"]),
        ("proxy_b,proxies", ["proxy_b", "proxy_a"]),
    ],
)
def test_features_by_name(features: str, columns: list[str], table: LabelTable) -> None:
    assert list(fitting.feature_table(table, features).columns) == columns


def test_the_target_is_no_proxy_among_the_inputs(table: LabelTable) -> None:
    proxy = LabelTable(table.space, table.archs, table.frame, "proxy_a")
    assert list(fitting.feature_table(proxy, "all").columns) == ["graph", "proxy_b"]
    with pytest.raises(InputError, match="'proxy_a' is the target"):
        fitting.feature_table(proxy, "graph,proxy_a")


@pytest.mark.parametrize("features", ["grpah", "", "graph,proxy_c"])
def test_unknown_features_are_refused(features: str, table: LabelTable) -> None:
    with pytest.raises(InputError, match=r"no numeric column|needs inputs"):
        fitting.feature_table(table, features)


def test_twins_stay_in_one_fold(table: LabelTable) -> None:
    assert len(set(table.twins)) < len(table)
    fitted = fitting.fit_predictor(table, "forest", features="graph")
    assert fitted.validation is not None
    for twin in set(table.twins):
        assert len(set(fitted.validation.fold[table.twins == twin])) == 1


def test_candidates_are_predicted_from_the_inputs_of_training(table: LabelTable) -> None:
    scores = table.frame.assign(arch=table.space.format_all(table.archs))
    for features in ("all", "graph", "proxies"):
        fitted = fitting.fit_predictor(table, "forest", features=features)
        mean, std = fitting.predict_architectures(
            fitted.predictor, fitted.columns, table.space, table.archs[:5], scores=scores
        )
        X = fitting.feature_table(table, features)[:5]
        np.testing.assert_array_equal((mean, std), fitted.predictor.predict(X, return_std=True))

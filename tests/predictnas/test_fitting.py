"""Which inputs a text names, and what fitting a table reports."""

import numpy as np
import pandas as pd
import pytest

from predictnas import fitting
from predictnas.errors import InputError
from predictnas.spaces import Space
from predictnas.tables import LabelTable, curve_inputs, label_table, with_epoch_columns


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


def test_scores_of_several_seeds_are_the_means_that_fitting_reads(space: Space) -> None:
    one, other = space.format_all([(3,) * 6, (2,) * 6])
    frame = pd.DataFrame(
        {
            "arch": [one, other, one, one],
            "seed": [0, 0, 1, 1],  # the last row repeats
            "valid_accuracy": [50.0, 60.0, 70.0, 70.0],
            "proxy_a": [1.0, 5.0, 4.0, 4.0],
            "proxy_b": [np.nan, 7.0, 8.0, 8.0],
            "curve_e": [[10.0, 20.0], [1.0, 2.0], [30.0, 40.0], [30.0, 40.0]],
        }
    )
    found = with_epoch_columns(fitting.scores_of(frame, [other, one]), ["curve_e_1", "curve_e_2"])
    columns = ["proxy_a", "proxy_b", "curve_e_1", "curve_e_2"]
    assert found[columns].to_numpy().tolist() == [[5.0, 7.0, 1.0, 2.0], [2.5, 8.0, 20.0, 30.0]]
    labels = label_table(frame, space, "valid_accuracy")
    fitted = pd.concat([labels.frame, curve_inputs(labels, "curve:1")], axis=1)[columns[:3]]
    np.testing.assert_array_equal(found[columns[:3]], fitted[::-1])
    # Where one seed ended before, no mean is known.
    frame["curve_e"] = [[10.0, 20.0], [1.0, 2.0], [30.0], None]
    found = with_epoch_columns(fitting.scores_of(frame, [one]), ["curve_e_1"])
    assert found["curve_e_1"].tolist() == [20.0]
    with pytest.raises(InputError, match="expected 2 epochs or more in every row of 'curve_e'"):
        with_epoch_columns(fitting.scores_of(frame, [one]), ["curve_e_2"])


def test_rows_without_seeds_are_averaged_by_their_spelling(space: Space) -> None:
    one, other = space.format_all([(3,) * 6, (2,) * 6])
    curve = ["[1, 2]", "[3, 4]", "[5, 6]"]  # as CSV has it; nobody wants it
    frame = pd.DataFrame({"arch": [one, other, one], "proxy_a": [1, 5, 4], "curve_e": curve})
    assert fitting.scores_of(frame, [one, other])["proxy_a"].tolist() == [2.5, 5.0]

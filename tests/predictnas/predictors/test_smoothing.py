import numpy as np
import pandas as pd
import pytest

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.predictors.inputs import read_inputs
from predictnas.predictors.smoothing import ColumnSmoother


@pytest.fixture(scope="module")
def scored(cells):
    """Cells with a column that is a function of the graph and noise as large, and the function."""
    table, accuracy = cells(400)
    signal = (accuracy - accuracy.mean()) / accuracy.std()
    noise = np.random.default_rng(0).standard_normal(400)
    table = table[["graph"]].assign(noisy=signal + noise, other=np.arange(400.0))
    return table, signal


@pytest.fixture(scope="module")
def smoother(scored):
    table, _ = scored
    return ColumnSmoother.learn(read_inputs(table[["graph", "noisy"]]), None, steps=150, seed=0)


def test_noise_goes_and_signal_stays(scored, smoother):
    table, signal = scored
    smoothed = smoother.transform(read_inputs(table[["graph", "noisy"]])).numeric[:, 0]
    # Half of the variance is noise: the column itself correlates by 1 / sqrt(2).
    assert np.corrcoef(table["noisy"], signal)[0, 1] == pytest.approx(0.71, abs=0.05)
    assert np.corrcoef(smoothed, signal)[0, 1] > 0.85


def test_graphs_are_enough_and_other_columns_stay(scored, smoother):
    table, _ = scored
    smoothed = smoother.transform(read_inputs(table))
    assert smoothed.columns == ("noisy", "other")
    np.testing.assert_array_equal(smoothed.numeric[:, 1], table["other"])
    alone = smoother.transform(read_inputs(table[["graph"]]))
    assert alone.columns == ("noisy",)
    np.testing.assert_array_equal(alone.numeric[:, 0], smoothed.numeric[:, 0])
    part = smoother.transform(read_inputs(table[["graph"]][7:9]))
    np.testing.assert_allclose(part.numeric, alone.numeric[7:9], rtol=1e-12)


def test_isomorphic_graphs_get_one_value(smoother):
    operations, edges = (
        ("input", "nor_conv_3x3", "nor_conv_1x1", "output"),
        ((0, 1), (0, 2), (1, 3), (2, 3)),
    )
    one = ArchGraph(operations, edges)
    swapped = (operations[0], operations[2], operations[1], operations[3])
    other = ArchGraph(swapped, edges)
    table = pd.DataFrame({"graph": pd.Series([one, other], dtype=object)})
    first, second = smoother.transform(read_inputs(table)).numeric
    np.testing.assert_allclose(first, second, rtol=1e-12)


def test_missing_parts_are_named(scored):
    table, _ = scored
    for part, found in (("graph", "found graph"), ("noisy", "found noisy")):
        with pytest.raises(InputError, match=found):
            ColumnSmoother.learn(read_inputs(table[[part]]), None, seed=0)


def test_unknown_operations_are_named(scored, smoother):
    table, _ = scored
    strange = ArchGraph(("input", "attention", "output"), ((0, 1), (1, 2)))
    strangers = table[["graph"]][:1].assign(graph=[strange])
    with pytest.raises(InputError, match="attention"):
        smoother.transform(read_inputs(strangers))

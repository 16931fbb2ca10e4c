import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.svm import NuSVR

from predictnas.errors import InputError
from predictnas.predictors import LCSVRPredictor
from predictnas.predictors.ensemble import left_out
from predictnas.predictors.inputs import read_inputs
from predictnas.predictors.lcsvr import curve_columns, with_differences


def curves(n, epochs, seed=0):
    """Curves that saturate, with noise, and what they tend to."""
    rng = np.random.default_rng(seed)
    final, speed = 90 + rng.standard_normal(n), rng.uniform(0.02, 0.1, n)
    time = np.array(epochs)
    values = final[:, None] * (1 - 0.5 * np.exp(-speed[:, None] * time))
    values += 0.02 * rng.standard_normal(values.shape)
    return pd.DataFrame(values, columns=[f"curve_accuracy_{epoch}" for epoch in epochs]), final


def test_features_are_values_first_and_second_differences_and_the_rest():
    table = pd.DataFrame(
        {
            "curve_9": [1.0, 2.0],
            "curve_10": [4.0, 2.0],
            "curve_100": [9.0, 3.0],
            "width": [16.0, 32.0],
        }
    )
    inputs = read_inputs(table)
    found = with_differences(inputs, curve_columns(inputs.columns, "curve_"))
    expected = {
        "curve_9": [1.0, 2.0],
        "curve_10": [4.0, 2.0],
        "curve_100": [9.0, 3.0],
        "difference 1 at curve_10": [3.0, 0.0],
        "difference 1 at curve_100": [5.0, 1.0],
        "difference 2 at curve_100": [2.0, 1.0],
        "width": [16.0, 32.0],
    }
    assert set(found.columns) == set(expected)
    for name, column in zip(found.columns, found.numeric.T, strict=True):
        assert column.tolist() == expected[name]


def test_columns_are_in_order_of_time_and_belong_to_curves():
    names = ["curve_loss_10", "curve_loss_2", "curve_top1_5", "params", "curve"]
    assert curve_columns(names, "curve_") == (("curve_loss_2", "curve_loss_10"), ("curve_top1_5",))
    assert curve_columns(names, ("params", "curve_loss_10")) == (("params", "curve_loss_10"),)


def test_tables_without_a_curve_are_refused(cells):
    table, accuracy = cells(8)
    message = r"columns curve_\* with a learning curve, found proxy_heavy, proxy_noise; add the"
    with pytest.raises(InputError, match=message):
        LCSVRPredictor().fit(table, accuracy)
    with pytest.raises(InputError, match="columns epoch_1 with a learning curve, found proxy"):
        LCSVRPredictor(curve=["proxy_heavy", "epoch_1"]).fit(table, accuracy)
    for curve in (5, "", ()):
        with pytest.raises(InputError, match="expected curve as a prefix or names of columns"):
            LCSVRPredictor(curve=curve).fit(table, accuracy)


def test_members_are_those_of_scikit_learn():
    table, final = curves(40, [1, 2, 4])
    predictor = LCSVRPredictor(warp="none", nu=0.4, folds=4).fit(table[:30], final[:30])
    rows = predictor.rows_
    assert rows.shape == (30, 6)  # three values, two first and one second difference
    np.testing.assert_allclose(rows.var(axis=0), 1.0)
    members, _ = predictor._members(read_inputs(table))
    new = predictor.features_.transform(with_differences(read_inputs(table), predictor.curves_))
    targets = predictor.warp_.transform(final[:30])
    held_out = left_out(predictor.architectures_, 4, 3, np.random.default_rng(0))
    for member, left in zip(members, held_out, strict=True):
        machine = NuSVR(gamma=predictor.gamma_, nu=0.4, C=predictor.penalty_)
        expected = machine.fit(rows[~left], targets[~left]).predict(new)
        # Both stop where the optimality conditions hold up to 1e-3.
        np.testing.assert_allclose(member, expected, atol=2e-2)
    assert not predictor.coefficients_[held_out].any()


def test_extrapolation_is_better_than_the_last_value():
    table, final = curves(300, [5, 10, 15, 20])
    predictor = LCSVRPredictor().fit(table[:100], final[:100])
    mean, std = predictor.predict(table[100:], return_std=True)
    found = spearmanr(mean, final[100:]).statistic
    assert found > 0.8 > spearmanr(table["curve_accuracy_20"][100:], final[100:]).statistic
    assert 0.8 < np.mean(np.abs(mean - final[100:]) < 1.645 * std) < 0.98

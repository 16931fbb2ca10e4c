import numpy as np
import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.tables import check_units, in_percent, read_table, write_table
from predictnas.tables.units import is_accuracy


def table(*values, name="valid_accuracy"):
    return pd.DataFrame({"arch": [str(row) for row in range(len(values))], name: values})


@pytest.mark.parametrize(
    "values",
    [
        (91.2, 10.0, 55.0),
        (0.912, 0.1, 0.55),
        (0.912, 1.0, 0.0),
        (1.0, 1.0, 0.9999999988, 27.9, 72.0),  # chance among 100 classes
        (0.8333333314, 0.8333333327, 10.3, 46.0),  # among 120
        (0.0498, 0.0348, 95.3, 81.0),  # among about 2,000
        (0.1, 0.35, 0.62, 1.4, 3.0, 20.0),  # percentages that go down that far
        (np.nan, 90.0),
        (np.nan, np.nan),
    ],
)
def test_consistent_columns_pass(values):
    check_units(table(*values))


@pytest.mark.parametrize(
    ("values", "count", "first"),
    [
        ((91.2, 0.93, 90.0), 1, "0.93"),
        ((91.2, 0.912, 0.55, 10.0), 2, "0.912"),
        ((91.2, 0.5, 0.25, 10.0), 2, "0.5"),  # each alone might be chance
        ((91.2, np.nan, 0.87), 1, "0.87"),
    ],
)
def test_mixed_units_are_refused(values, count, first):
    known = np.isfinite(values).sum()
    message = (
        f"'valid_accuracy' mixes fractions and percent: {count} of {known} .*{first} beside 91"
    )
    with pytest.raises(InputError, match=message) as error:
        check_units(table(*values), source="labels.csv")
    assert str(error.value).startswith("labels.csv: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("units", ["percent", {"valid_accuracy": "percent"}])
def test_units_that_are_noted_must_be_those_of_the_values(units):
    check_units(table(91.2, 10.0), units)
    check_units(table(1.0, 1.0), units)
    with pytest.raises(InputError, match="should be in percent, but no value is above 1"):
        check_units(table(0.912, 0.1), units)
    with pytest.raises(InputError, match="should hold fractions, found 91.2"):
        check_units(table(91.2, 10.0), {"valid_accuracy": "fraction"})
    check_units(table(0.912, 0.1), {"test_accuracy": "percent"})


@pytest.mark.parametrize("wrong", [-1.0, 100.5])
def test_what_is_no_accuracy_is_refused(wrong):
    with pytest.raises(InputError, match=f"from 0 to 100 percent, found {wrong:g} in 'valid_acc"):
        check_units(table(50.0, wrong), "percent")
    check_units(table(0.5, wrong))  # nothing says that it should be one


def columns(**values):
    return pd.DataFrame(
        {"arch": [str(row) for row in range(len(next(iter(values.values()))))]} | values
    )


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (
            {"valid_accuracy": [91.2, 55.0], "test_accuracy": [0.913, 0.55]},
            "'test_accuracy' holds fractions, up to 0.913",
            "'valid_accuracy' percent, up to 91.2",
        ),
        (
            {"train_accuracy": [1.0, 0.93], "valid_accuracy": [1.3, 72.0]},
            "'train_accuracy' holds fractions, up to 1",
            "'valid_accuracy' percent, up to 72",
        ),
        (
            {"valid_accuracy": [91.2], "test_accuracy": [0.913]},
            "'test_accuracy' holds fractions, up to 0.913",
            "'valid_accuracy' percent, up to 91.2",
        ),
    ],
)
def test_columns_in_two_units_are_refused(values, low, high):
    with pytest.raises(InputError, match=f"labels.csv: {low}, and {high}; bring both to percent"):
        check_units(columns(**values), source="labels.csv")


@pytest.mark.parametrize(
    "values",
    [
        {"valid_accuracy": [91.2, 55.0], "test_accuracy": [0.0, 0.0]},
        {"valid_accuracy": [0.912, 0.55], "test_accuracy": [0.913, 0.56]},
        {"valid_accuracy": [0.98, 0.87], "test_accuracy": [1.1, 0.93]},  # untrained, 100 classes
        {"valid_accuracy": [0.98, 0.87], "test_accuracy": [2.4, 1.93]},
        {"valid_accuracy_epoch0": [0.5, 0.5], "valid_accuracy": [40.0, 61.0]},  # chance of 200
        {"valid_accuracy": [91.2, 55.0], "valid_accuracy_std": [0.31, 0.24]},
        {"valid_accuracy": [91.2, 55.0], "proxy_early_accuracy": [0.31, 0.24]},
        {"valid_accuracy": [91.2, 55.0], "accuracy_known": [True, False]},
        {"valid_accuracy": [0.912, 0.55], "accuracy_seconds": [120.0, 90.0]},
        {"valid_accuracy": [0.912, 0.55], "accuracy_of_source": [3000.0, -2.0]},
    ],
)
def test_columns_that_may_be_in_one_unit_pass(values):
    check_units(columns(**values))


def test_fractions_that_are_noted_may_stand_beside_percent():
    mixed = columns(valid_accuracy=[91.2, 55.0], test_accuracy=[0.913, 0.55])
    check_units(mixed, {"test_accuracy": "fraction"})
    check_units(mixed, {"test_accuracy": "fraction", "valid_accuracy": "percent"})
    with pytest.raises(InputError, match="'test_accuracy' holds fractions"):
        check_units(mixed, {"valid_accuracy": "percent"})


CURVES = [[9.0, 40.0, 91.2], np.array([10.0, 55.0]), None, [], [0.7, 30.0, np.nan]]


def test_curves_in_one_unit_pass():
    frame = columns(curve_valid_accuracy=CURVES, valid_accuracy=[91.2, 55.0, 70.0, 40.0, 30.0])
    check_units(frame, "percent")
    check_units(frame.assign(curve_valid_accuracy="[0.1 0.9]"))  # as CSV has them
    check_units(columns(curve_valid_accuracy=[None, []]))
    check_units(columns(curve_valid_loss=[[0.7, 2.0], [30.0]]))


def test_curves_in_mixed_units_are_refused():
    mixed = columns(curve_valid_accuracy=[*CURVES, [0.09, 0.93], [0.1, 0.62]])
    message = "'curve_valid_accuracy' mixes .* 2 of 5 curves .* such as 0.93 beside 91.2"
    with pytest.raises(InputError, match=message) as error:
        check_units(mixed)
    assert "\n" not in str(error.value)


def test_curves_are_in_the_unit_of_their_column():
    curves = [[0.09, 0.4, 0.92], [0.1, 0.55]]
    frame = columns(valid_accuracy=[91.2, 55.0], curve_valid_accuracy=curves)
    with pytest.raises(InputError, match="'curve_valid_accuracy' holds fractions, up to 0.92, and"):
        check_units(frame)
    check_units(frame.assign(valid_accuracy=frame["valid_accuracy"] / 100))
    with pytest.raises(InputError, match="'curve_valid_accuracy' should be in percent, but no"):
        check_units(frame, "percent")


@pytest.mark.parametrize("name", ["acc", "val_acc", "testAcc", "top1acc", "acc@1", "ACC", "acc5"])
def test_targets_may_be_called_acc(name):
    assert is_accuracy(name, short=True)
    assert not is_accuracy(name)


@pytest.mark.parametrize(
    "name",
    ["accelerator_ms", "access", "vaccine", "gmacc", "loss", "time", "acc_loss", "accStd"],
)
def test_other_targets_are_no_accuracies(name):
    assert not is_accuracy(name, short=True)


def test_other_columns_have_their_own_units():
    check_units(table(0.93, 91.2, -4.0, name="seconds"))
    check_units(table("high", "low", "low"))


def test_tables_are_checked_when_they_are_read(tmp_path):
    write_table(table(0.93, 91.2), tmp_path / "mixed.csv", metadata={})
    with pytest.raises(InputError, match="mixed.csv: 'valid_accuracy' mixes fractions"):
        read_table(tmp_path / "mixed.csv")
    units = {"units": {"valid_accuracy": "percent"}}
    write_table(table(0.93, 0.91), tmp_path / "belied.parquet", metadata=units)
    with pytest.raises(InputError, match="belied.parquet: 'valid_accuracy' should be in percent"):
        read_table(tmp_path / "belied.parquet")


def test_fractions_become_percent():
    values = np.array([[0.5, np.nan], [1.0, 0.0]])
    np.testing.assert_array_equal(in_percent(values, "fraction", "a"), 100 * values)
    assert in_percent(values, "percent", "a") is values
    with pytest.raises(InputError, match="'a' should hold fractions, found 91 and 1 more outside"):
        in_percent(np.array([0.5, 91.0, -0.1]), "fraction", "a")
    with pytest.raises(InputError, match="unknown unit 'points'; choose from: percent, fraction"):
        in_percent(values, "points", "a")

"""Epochs of learning curves as columns, worked by hand."""

import numpy as np
import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.tables import curve_inputs, is_curve_input, label_table, with_epoch_columns

ONE, TWIN, OTHER = (1, 3, 0, 0, 0, 1), (1, 0, 3, 0, 0, 1), (3,) * 6


def table(space, target="valid_accuracy", **columns):
    """Two seeds of one cell, a third in another spelling, one of another cell, one without."""
    archs = [ONE, ONE, TWIN, OTHER, (2,) * 6]
    frame = pd.DataFrame(
        {
            "arch": space.format_all(archs),
            "seed": [0, 1, 2, 0, 0],
            "valid_accuracy": [50.0, 56.0, 80.0, 90.0, 70.0],
            "curve_valid_accuracy": [
                [10.0, 20.0, 40.0, 50.0],
                [16.0, 30.0, 41.0, 56.0],
                [40.0, 70.0, 60.0, 80.0],
                [20.0, 60.0, 85.0, 90.0],
                None,
            ],
            "curve_loss": [[2.0, 1.5, 1.0, 0.5]] * 3 + [[3.0, 1.0], [2.0, 1.0, 0.5, 0.25]],
            **columns,
        }
    )
    return label_table(frame, space, target)


def test_columns_are_means_over_seeds_epoch_by_epoch(space):
    found = curve_inputs(table(space), "curve_valid_accuracy:2")
    expected = {
        "curve_valid_accuracy_1": [22.0, 20.0, np.nan],
        "curve_valid_accuracy_2": [40.0, 60.0, np.nan],
    }
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected))


def test_all_curves_are_taken_where_none_is_named(space):
    found = curve_inputs(table(space), "curve:3")
    names = [f"curve_{name}_{k}" for name in ("valid_accuracy", "loss") for k in (1, 2, 3)]
    assert list(found) == names
    # One curve is shorter than asked for, one is not there at all.
    np.testing.assert_array_equal(found["curve_loss_3"], [1.0, np.nan, 0.5])
    np.testing.assert_array_equal(found["curve_valid_accuracy_3"], [47.0, 85.0, np.nan])


@pytest.mark.parametrize(
    ("text", "epochs"), [("curve:25%", 1), ("curve:50%", 2), ("curve:99%", 3), ("curve:1%", 1)]
)
def test_shares_are_of_the_longest_curve_and_rounded_down(space, text, epochs):
    assert curve_inputs(table(space), text).shape == (3, 2 * epochs)


@pytest.mark.parametrize("text", ["curve_valid_accuracy:4", "curve:100%", "curve:4"])
def test_the_last_epoch_of_the_target_is_refused(space, text):
    message = "epoch 4 of 'curve_valid_accuracy' gives the target 'valid_accuracy' away.* than 4"
    with pytest.raises(InputError, match=message):
        curve_inputs(table(space), text)
    # Not so where it is the curve of something else.
    assert curve_inputs(table(space), "curve_loss:4").shape == (3, 4)


def test_the_last_epoch_counts_for_the_rows_that_end_there(space):
    # One training was cut off after two epochs: for it, they are the label.
    curve = [[10.0, 20.0, 40.0, 50.0]] * 3 + [[20.0, 90.0], [1.0, 2.0, 3.0, 4.0]]
    short = table(space, curve_valid_accuracy=curve)
    assert len(curve_inputs(short, "curve_valid_accuracy:1")) == 3
    with pytest.raises(InputError, match="epoch 2 of 'curve_valid_accuracy' gives the target"):
        curve_inputs(short, "curve_valid_accuracy:2")


def test_a_curve_whose_first_epoch_gives_the_target_away_is_to_be_left_out(space):
    labels = [50.0, 56.0, 80.0, 90.0, 70.0]
    told = table(space, curve_told=[[label, 1.0] for label in labels])
    with pytest.raises(InputError, match="epoch 1 of 'curve_told' .* leave this curve out"):
        curve_inputs(told, "curve_told:2")


def test_epochs_that_equal_the_target_are_refused_whatever_they_are_called(space):
    # The labels of three epochs, beside curves of four.
    early = [40.0, 41.0, 60.0, 85.0, 3.0]
    with pytest.raises(InputError, match="epoch 3 of 'curve_valid_accuracy' gives .* 'early' away"):
        curve_inputs(table(space, "early", early=early), "curve:3")
    found = curve_inputs(table(space, "early", early=early), "curve:2")
    assert found.shape == (3, 4)
    # Some are equal by chance, or dead from the first epoch on, which tells nothing.
    dead = [[10.0, 20.0, 40.0, 50.0]] * 3 + [[90.0] * 4, [1.0, 2.0, 3.0, 4.0]]
    assert curve_inputs(table(space, curve_valid_accuracy=dead), "curve_valid_accuracy:3").size == 9


@pytest.mark.parametrize("convert", [lambda x: 100 - x, lambda x: x / 100, lambda x: 1 - x / 100])
@pytest.mark.parametrize("known", [3, 4])
def test_epochs_that_are_the_target_in_another_unit_are_refused(space, convert, known):
    targets = [61.3, 90.1, 70.7, 55.9][:known]
    # The first two epochs tell little; one curve ends before the third.
    curves = [[5.0, 7.0, convert(y)] for y in targets] + [[6.0, 1.0]]
    frame = pd.DataFrame(
        {
            "arch": space.format_all([(k,) * 6 for k in range(known + 1)]),
            "accuracy": [*targets, 30.0],
            "curve_e": curves,
        }
    )
    labels = label_table(frame, space, "accuracy")
    with pytest.raises(InputError, match="epoch 3 of 'curve_e' gives the target 'accuracy' away"):
        curve_inputs(labels, "curve:100%")
    assert curve_inputs(labels, "curve:2").shape == (known + 1, 2)


def test_two_points_are_on_a_line_and_tell_nothing(space):
    loss = [[2.0, 1.5]] * 3 + [[3.0, 1.0], None]
    assert curve_inputs(table(space, curve_loss=loss), "curve_loss:2").shape == (3, 2)


def test_epochs_that_follow_the_target_closely_are_inputs(space):
    targets = np.array([10.0, 20.0, 30.0, 40.0])
    frame = pd.DataFrame(
        {
            "arch": space.format_all([(k,) * 6 for k in range(4)]),
            "accuracy": targets,
            "curve_e": [[value] for value in targets + np.array([0.0, 0.01, 0.0, 0.0])],
        }
    )
    assert len(curve_inputs(label_table(frame, space, "accuracy"), "curve:1")) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("curve:0", "such as curve:5, curve:25% or curve_valid_accuracy:5, found 'curve:0'"),
        ("curve:five", "such as curve:5, .* found 'curve:five'"),
        ("curve:5e", "such as curve:5, .* found 'curve:5e'"),
        ("curve:5", "'curve_valid_accuracy' has 4 epochs, found 'curve:5'; ask for fewer"),
        ("curve:101%", "gives the target|has 4 epochs"),
        ("curve_test:2", "no curve 'curve_test'; its curves are: curve_valid_accuracy, curve_loss"),
    ],
)
def test_what_cannot_be_had_is_refused(space, text, message):
    assert is_curve_input(text)
    with pytest.raises(InputError, match=message):
        curve_inputs(table(space), text)


def test_tables_without_curves_are_refused(space):
    frame = pd.DataFrame({"arch": [space.format(ONE)], "valid_accuracy": [50.0]})
    with pytest.raises(InputError, match="curve:3 needs learning curves, found none: columns cur"):
        curve_inputs(label_table(frame, space, "valid_accuracy"), "curve:3")


def test_lists_are_spread_over_the_columns_that_are_wanted():
    frame = pd.DataFrame({"proxy_a": [1.0, 2.0], "curve_loss": [[3.0, 2.0], [5.0, 4.0, 3.5]]})
    found = with_epoch_columns(frame, ["curve_loss_2", "proxy_a", "curve_gain_1"])
    assert list(found) == ["proxy_a", "curve_loss", "curve_loss_2"]
    assert found["curve_loss_2"].tolist() == [2.0, 4.0]
    # Epochs count from 1: this is no epoch, and not the last one.
    assert list(with_epoch_columns(frame, ["curve_loss_0"])) == list(frame)
    given = frame.assign(curve_loss_2=7.0)
    assert with_epoch_columns(given, ["curve_loss_2"])["curve_loss_2"].tolist() == [7.0, 7.0]
    with pytest.raises(InputError, match="3 epochs or more in every row of 'curve_loss', found fe"):
        with_epoch_columns(frame, ["curve_loss_3"])

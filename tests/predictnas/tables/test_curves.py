import numpy as np
import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.tables import write_table
from predictnas.tables.curves import group_means, read_curves


def test_shorter_curves_end_in_nan():
    frame = pd.DataFrame({"arch": list("abc"), "curve_loss": [[3.0, 2.0], None, np.array([1])]})
    (curve,) = read_curves(frame).values()
    np.testing.assert_array_equal(curve, [[3, 2], [np.nan, np.nan], [1, np.nan]])
    assert read_curves(frame[["arch"]]) == {}


def test_means_of_groups():
    curves = np.array([[1.0, 2.0], [5.0, 6.0], [3.0, np.nan]])
    means = group_means(curves, np.array([0, 1, 0]))
    np.testing.assert_array_equal(means, [[2.0, np.nan], [5.0, 6.0]])


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv_cannot_hold_them(tmp_path, suffix):
    frame = pd.DataFrame({"arch": ["a"], "curve_loss": [[3.0, 2.0]]})
    with pytest.raises(InputError, match="CSV has no place for the lists in 'curve_loss'"):
        write_table(frame, tmp_path / f"labels{suffix}", metadata={})
    assert not list(tmp_path.iterdir())

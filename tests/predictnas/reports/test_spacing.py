import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictnas.reports.spacing import scale_floor, spread


def test_spread_by_hand():
    assert spread([0.0, 5.0], [1.0]) == [0.0, 5.0]
    assert spread([2.0, 2.0], [1.0]) == pytest.approx([1.5, 2.5])
    # One that resists three times as much moves a third as far.
    assert spread([2.0, 2.0], [1.0], [3.0, 1.0]) == pytest.approx([1.75, 2.75])


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_spread_keeps_gaps_and_the_centre(wanted):
    places = spread(wanted, [0.5] * (len(wanted) - 1))
    assert (np.diff(places) >= 0.5 - 1e-9).all()
    assert np.mean(places) == pytest.approx(np.mean(wanted), abs=1e-9)


def test_scale_floor_leaves_out_the_dead_only():
    alive = np.linspace(80, 90, 30)
    assert scale_floor(alive) == 80
    assert 60 < scale_floor(np.concatenate([[10.0, 10.0], alive])) < 80
    assert scale_floor(np.array([10.0])) == 10

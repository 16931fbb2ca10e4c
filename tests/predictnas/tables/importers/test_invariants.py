import contextlib
from itertools import permutations

import numpy as np
import pytest

from predictnas.errors import InputError
from predictnas.spaces import get_space
from predictnas.tables.importers.invariants import (
    check_cells,
    check_trained_cells,
    isomorphic_agreement,
)

EDGES = ("0->1", "0->2", "1->2", "0->3", "1->3", "2->3")
# 0->1 and 2->3 exchanged, 0->2 and 1->3 exchanged: every path from the output to the input.
REVERSED = (5, 4, 2, 3, 1, 0)


def test_the_benchmark_holds(cells):
    space, archs, labels = cells
    checks = check_cells(space, archs, labels, chance=10.0, source="x")
    assert checks["unreachable"] == 60
    assert checks["isomorphic"] >= 100
    assert checks["isomorphic_agreement"] > 0.99
    assert tuple(space.choices) == EDGES


def test_every_wrong_order_of_the_edges_is_refused(cells):
    space, archs, labels = cells
    passed = []
    for order in permutations(range(6)):
        with contextlib.suppress(InputError):
            check_cells(space, archs[:, order], labels, chance=10.0, source="x")
            passed.append(order)
    # A cell read backwards has the same paths; so little tells it apart that it may pass.
    assert set(passed) <= {(0, 1, 2, 3, 4, 5), REVERSED}
    assert (0, 1, 2, 3, 4, 5) in passed


def test_isomorphic_cells_tell_the_order_where_all_have_a_path(simulated, exchanged):
    space = get_space("nasbench201")
    archs = space.iterate()
    archs = archs[np.isin(archs, (1, 2, 3)).all(axis=1)]  # three operations, no zero: 729
    labels = simulated(space, archs)
    checks = check_cells(space, archs, labels, chance=10.0, source="x")
    assert checks["unreachable"] == 0
    assert checks["isomorphic"] >= 100
    by_start = archs[:, (0, 1, 3, 2, 4, 5)]
    with pytest.raises(InputError, match="agree better with the edges in the order 0->1, 0->2, 0-"):
        check_cells(space, by_start, labels, source="x")
    with pytest.raises(InputError, match="agree better with nor_conv_1x1 and skip_connect exch"):
        check_cells(space, exchanged(archs, 1, 2), labels, source="x")


@pytest.mark.parametrize(("one", "other"), [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)])
def test_exchanged_zeros_and_identities_are_refused(cells, one, other, exchanged):
    space, archs, labels = cells
    with pytest.raises(InputError, match="x: the order of the edges or the codes of the operation"):
        check_cells(space, exchanged(archs, one, other), labels, chance=10.0, source="x")


@pytest.mark.parametrize("name", ["nasbench201", "transnas101-micro"])
def test_chance_is_what_cells_without_a_path_share(cells, name):
    space = get_space(name)
    dead = np.array([[0] * 6, [0, 0, 1, 0, 1, 1], [1, 0, 0, 0, 0, 1]])
    alive = np.array([[1] * 6, [0, 0, 0, 3, 0, 0]])
    archs = np.concatenate([dead, alive])

    def check(*labels, chance=10.0):
        return check_cells(space, archs, labels, chance=chance, source="x")

    assert check(10.0, 10.0, 10.0, 80.0, 90.0)["unreachable"] == 3
    check(9.712, 9.712, 9.712, 9.9, 90.0)  # the frequency of the commonest class
    check(3.0, 3.0, 3.0, 80.0, 90.0, chance=None)
    with pytest.raises(InputError, match="3 cells without a path .* about 10, but .* has 30"):
        check(30.0, 30.0, 30.0, 80.0, 90.0)
    with pytest.raises(InputError, match="3 cells without a path .* about 10, but .* has 80"):
        check(10.0, 80.0, 10.0, 70.0, 90.0)
    with pytest.raises(InputError, match="1 cells with a path .* the label of those without, 10"):
        check(10.0, 10.0, 10.0, 10.0, 90.0)
    with pytest.raises(InputError, match="1 cells with a path"):
        check_cells(space, alive, [10.0, 80.0], chance=10.0, source="x")


def test_agreement_by_hand():
    # Ranks 1, 2 | 3, 4 | 5: within pairs the squares sum to 1 over 4 − 2; the variance is 2.
    agreement, count = isomorphic_agreement(["a", "a", "b", "b", "c"], [5.0, 6.0, 7.0, 8.0, 9.0])
    assert (agreement, count) == (pytest.approx(1 - 0.5 / 2), 4)
    agreement, count = isomorphic_agreement(["a", "a", "b", "b"], [1.0, 1.0, 2.0, 2.0])
    assert (agreement, count) == (1.0, 4)
    agreement, count = isomorphic_agreement(["a", "b"], [1.0, 2.0])
    assert np.isnan(agreement)
    assert count == 0


def test_agreement_of_nothing_is_zero():
    rng = np.random.default_rng(0)
    keys = [str(key) for key in rng.integers(0, 1000, 4000)]
    agreement, count = isomorphic_agreement(keys, rng.normal(size=4000))
    assert abs(agreement) < 0.05
    assert count > 3000


def test_transnas_identities_from_the_input_are_operations(simulated):
    """There the reversed cell is told apart too, as identities from node 0 reduce."""
    space = get_space("transnas101-micro")
    archs = np.random.default_rng(0).permutation(space.iterate())[:1200]
    labels = simulated(space, archs, noise=1.0)
    assert check_cells(space, archs, labels, source="x")["isomorphic_agreement"] > 0.9
    with pytest.raises(InputError, match="agree better with the edges in the order 2->3, 1->3"):
        check_cells(space, archs[:, REVERSED], labels, source="x")


class TestTrainedCells:
    """What holds at every scale and on every task: less than of a published table."""

    def test_right_ones_hold(self, cells):
        space, archs, labels = cells
        checks = check_trained_cells(space, archs, labels, source="x")
        assert checks["unreachable"] == 60
        assert checks["isomorphic_agreement"] > 0.99

    @pytest.mark.parametrize("other", [1, 2, 3, 4])
    def test_exchanged_zeros_are_refused(self, cells, other, exchanged):
        space, archs, labels = cells
        with pytest.raises(
            InputError, match=r"x: the order of the edges or .* cells without a pat"
        ):
            check_trained_cells(space, exchanged(archs, 0, other), labels, source="x")

    def test_every_other_order_is_refused(self, cells):
        space, archs, labels = cells
        passed = []
        for order in permutations(range(6)):
            with contextlib.suppress(InputError):
                check_trained_cells(space, archs[:, order], labels, source="x")
                passed.append(order)
        assert set(passed) <= {(0, 1, 2, 3, 4, 5), REVERSED}
        assert (0, 1, 2, 3, 4, 5) in passed

    def test_exchanged_identities_are_refused(self, simulated, exchanged):
        space = get_space("nasbench201")
        archs = space.iterate()
        archs = archs[np.isin(archs, (1, 2, 3)).all(axis=1)]
        labels = simulated(space, archs)
        with pytest.raises(
            InputError, match="agree better with nor_conv_1x1 and skip_connect exch"
        ):
            check_trained_cells(space, exchanged(archs, 1, 2), labels, source="x")
        with pytest.raises(InputError, match="agree better with none and skip_connect exchanged"):
            # Over ten percent labels do not tell which cells cannot learn.
            check_trained_cells(space, exchanged(archs, 0, 1), 60 + labels / 4, source="x")

    def test_cells_that_cannot_learn_are_about_the_lowest(self):
        space = get_space("nasbench201")
        dead = np.array([[0] * 6, [0, 0, 1, 0, 1, 1], [1, 0, 0, 0, 0, 1]])
        alive = np.array([[1] * 6, [0, 0, 0, 3, 0, 0], [3] * 6, [2] * 6])
        archs = np.concatenate([dead, alive])

        def check(*labels):
            check_trained_cells(space, archs, labels, source="x")

        check(10.05, 10.22, 10.05, 10.05, 80.0, 90.0, 85.0)  # one of the others learned nothing
        check(4.0, 16.0, 9.0, 70.0, 80.0, 90.0, 85.0)  # classes of few images, not equally many
        check(90.0, 90.0, 90.0, 91.0, 93.0, 92.0, 90.0)  # one class of many images
        check(9.0, 12.0, 10.0, 8.0, 11.0, 9.5, 10.5)  # nothing was learned
        with pytest.raises(
            InputError, match=r"3 cells without .* has 80, and the median .* is 10;"
        ):
            check(10.0, 10.0, 80.0, 70.0, 80.0, 90.0, 85.0)
        with pytest.raises(
            InputError, match="1 of 4 others are below 82, the median of those: .* 10"
        ):
            check(82.0, 82.0, 81.0, 10.0, 80.0, 90.0, 85.0)

    def test_labels_of_noise_are_let_pass(self):
        """Isomorphic cells then agree a little better with some wrong reading, by chance."""
        space = get_space("nasbench201")
        archs = np.random.default_rng(0).permutation(space.iterate())[:600]
        for seed in range(20):
            labels = np.random.default_rng(seed).normal(50, 2, 600)
            check_trained_cells(space, archs, labels, source="x")

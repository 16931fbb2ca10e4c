import numpy as np
import pytest

from predictnas.errors import InputError
from predictnas.spaces import get_space
from predictnas.tables.importers.parameters import check_parameter_order, check_parameters

SCALE = {"input_shape": (3, 32, 32), "num_classes": 10, "scale": {"channels": 16, "cells": 5}}


@pytest.mark.parametrize(("one", "other"), [(2, 3), (2, 4), (3, 4)])
def test_exchanged_operations_with_weights_have_other_parameters(
    cells, one, other, parameters, exchanged
):
    space, archs, _ = cells
    counts = parameters(archs)
    assert check_parameters(space, archs, counts, **SCALE, source="x") == 8
    wrong = exchanged(archs, one, other)
    with pytest.raises(InputError, match=r"has [\d,]+ parameters there, and [\d,]+ in the network"):
        check_parameters(space, wrong, counts, **SCALE, source="x")


def test_parameters_are_counted_by_hand(parameters):
    space = get_space("nasbench201")
    full = np.array([[3] * 6])
    assert parameters(full) == 1_531_546
    assert check_parameters(space, full, [1_531_546], **SCALE, source="x") == 1
    with pytest.raises(InputError, match="has 1,531,547 parameters there, and 1,531,546 in the"):
        check_parameters(space, full, [1_531_547], **SCALE, source="x")
    assert check_parameters(space, full, [np.nan], **SCALE, source="x") == 0


def test_one_wrong_count_of_many_is_let_pass(cells, parameters):
    space, archs, _ = cells
    counts = parameters(archs).astype(float)
    counts[0] += 1e5
    assert check_parameters(space, archs, counts, **SCALE, source="x") == 8


def test_the_order_of_parameters_needs_no_scale():
    space = get_space("transnas101-micro")
    archs = space.sample(40, np.random.default_rng(0))
    counts = 3 + 9.0 * (archs == 3).sum(axis=1) + (archs == 2).sum(axis=1)
    assert check_parameter_order(space, archs, counts, source="x") == 24
    swapped = np.array([0, 1, 3, 2])[archs]
    with pytest.raises(InputError, match="not in the order .* of transnas101-micro .rank corr"):
        check_parameter_order(space, swapped, counts, source="x")
    assert check_parameter_order(space, archs[:5], counts[:5], source="x") == 0


@pytest.mark.parametrize(("one", "other"), [(1, 2), (2, 3), (2, 4), (3, 4)])
def test_the_order_in_nasbench201_is_the_same_at_every_scale(one, other, exchanged):
    space = get_space("nasbench201")
    archs = space.sample(300, np.random.default_rng(0), distinct=True)
    counts = 500 + 9 * 64.0 * (archs == 3).sum(axis=1) + 64 * (archs == 2).sum(axis=1)
    assert check_parameter_order(space, archs, counts, source="x") == 24
    # As rounded as 0.1 M, where many are the same.
    assert check_parameter_order(space, archs, np.round(counts, -3), source="x") == 24
    assert check_parameter_order(space, archs, np.ones(300), source="x") == 0
    with pytest.raises(InputError, match="not in the order .* of nasbench201 .rank correlation"):
        check_parameter_order(space, exchanged(archs, one, other), counts, source="x")

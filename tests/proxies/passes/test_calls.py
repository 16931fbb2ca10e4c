import inspect

import pytest
import torch
from torch.nn import functional

from proxies.passes.calls import bound_batch_norm, bound_conv2d

X = torch.ones(1, 4, 5, 6)
WEIGHT = torch.ones(4, 2, 3, 2)


@pytest.mark.parametrize(
    ("args", "kwargs", "geometry"),
    [
        ((X, WEIGHT), {}, ((1, 1), (0, 0), (1, 1), 1)),
        ((X, WEIGHT, None, 2, (1, 0), [2, 1], 2), {}, ((2, 2), (1, 0), (2, 1), 2)),
        ((X,), {"weight": WEIGHT, "padding": "valid", "groups": 2}, ((1, 1), (0, 0), (1, 1), 2)),
        ((), {"input": X, "weight": WEIGHT, "stride": (3,)}, ((3, 3), (0, 0), (1, 1), 1)),
        # 3 − 1 = 2 rows and 2 · (2 − 1) = 2 columns to add.
        ((X, WEIGHT, None, 1, "same", (1, 2)), {}, ((1, 1), (1, 1), (1, 2), 1)),
    ],
)
def test_geometry(args, kwargs, geometry):
    call = bound_conv2d(args, kwargs)
    assert call.input is X
    assert call.weight is WEIGHT
    assert call.geometry == geometry


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        # One column to add: more on one side. And an image without a batch.
        ((X, WEIGHT), {"padding": "same"}),
        ((X[0], WEIGHT), {}),
    ],
)
def test_other_forms_are_not_bound(args, kwargs):
    assert bound_conv2d(args, kwargs) is None


def test_the_bias_is_kept():
    bias = torch.ones(4)
    assert bound_conv2d((X, WEIGHT, bias), {}).bias is bias
    assert bound_conv2d((X, WEIGHT), {"bias": bias}).bias is bias
    assert bound_conv2d((X, WEIGHT), {}).bias is None


def test_batch_norm_is_bound_as_python_would():
    signature = inspect.signature(functional.batch_norm)
    mean, variance = torch.zeros(4), torch.ones(4)
    for args, kwargs in (
        ((X, mean, variance), {}),
        ((X, None, None, mean, variance, True, 0.3, 0.2), {}),
        ((X,), {"running_mean": mean, "running_var": variance, "training": True, "eps": 1.0}),
    ):
        expected = signature.bind(*args, **kwargs)
        expected.apply_defaults()
        found = bound_batch_norm(functional.batch_norm, args, kwargs)
        assert found.keys() == expected.arguments.keys()
        for name, value in expected.arguments.items():
            assert found[name] is value or found[name] == value


def test_batch_norm_has_two_orders_of_arguments():
    mean, variance, weight, bias = torch.zeros(4), torch.ones(4), 2 * torch.ones(4), torch.ones(4)
    args = (X, weight, bias, mean, variance, True, 0.3, 0.2, False)
    found = bound_batch_norm(torch.batch_norm, args, {})
    assert found == {
        "input": X,
        "weight": weight,
        "bias": bias,
        "training": True,
        "running_mean": mean,
        "running_var": variance,
        "momentum": 0.3,
        "eps": 0.2,
    }


def test_other_functions_are_no_batch_norm():
    assert bound_batch_norm(functional.layer_norm, (X, (6,)), {}) is None

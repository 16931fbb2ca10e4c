import pytest
import torch
from torch import nn
from torch.nn import functional

from proxies.isolation import lent
from proxies.passes.pooling import AveragePool, pooled, spread

# Kernel size, stride, padding, rounding up, padding counts, divisor.
OVERLAPPING = {
    "cell": ((3, 3), (1, 1), (1, 1), False, False, None),
    "padding counts": ((3, 3), (1, 1), (1, 1), False, True, None),
    "no padding": ((3, 3), (1, 1), (0, 0), False, False, None),
    "strides": ((3, 5), (2, 1), (1, 2), False, False, None),
    "divisor": ((3, 3), (1, 1), (1, 1), False, False, 4),
    "one direction": ((1, 3), (1, 2), (0, 1), False, False, None),
}
OTHERS = {
    "apart": ((2, 2), (2, 2), (0, 0), False, False, None),
    "rounded up": ((3, 3), (2, 2), (0, 0), True, False, None),
    "large": ((7, 7), (1, 1), (3, 3), False, False, None),
}


@pytest.fixture(name="x")
def _x():
    torch.manual_seed(0)
    return torch.randn(4, 6, 9, 8).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("geometry", [*OVERLAPPING.values(), *OTHERS.values()])
def test_means_and_their_derivatives_are_pytorchs(x, geometry):
    leaf = x.clone().requires_grad_()
    expected = functional.avg_pool2d(leaf, *geometry)
    delta = torch.randn_like(expected)
    (by_x,) = torch.autograd.grad(expected, leaf, delta)
    torch.testing.assert_close(pooled(x, geometry), expected.detach())
    torch.testing.assert_close(spread(delta, x, geometry), by_x)
    # A gradient in another layout, as behind a mean over positions.
    torch.testing.assert_close(spread(delta.contiguous(), x, geometry), by_x)


@pytest.mark.parametrize("name", [*OVERLAPPING, *OTHERS])
def test_only_overlapping_windows_are_convolutions(x, name):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        pooled(x, (OVERLAPPING | OTHERS)[name])
    called = {event.key for event in profile.key_averages()}
    assert ("aten::convolution" in called) == (name in OVERLAPPING)
    assert ("aten::avg_pool2d" in called) == (name in OTHERS)


@pytest.mark.parametrize("geometry", OVERLAPPING.values())
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_and_layouts_are_pytorchs_bit_by_bit(x, geometry, dtype):
    for images in (x.to(dtype), x.contiguous()):
        assert torch.equal(pooled(images, geometry), functional.avg_pool2d(images, *geometry))


def test_second_derivatives(x):
    double = x[:2, :2, :4, :3].double().requires_grad_()
    geometry = OVERLAPPING["cell"]

    def squared(images):
        return AveragePool.apply(images, geometry) ** 2

    assert torch.autograd.gradcheck(squared, double)
    assert torch.autograd.gradgradcheck(squared, double)


def test_values_that_are_not_finite_stay_in_their_windows(x):
    x[0, 0, 0, 0] = float("inf")
    x[1, 1, 4, 4] = float("nan")
    geometry = OVERLAPPING["cell"]
    torch.testing.assert_close(
        pooled(x, geometry), functional.avg_pool2d(x, *geometry), equal_nan=True
    )


def test_lent_models_pool_by_module_and_function_alike(x):
    class Pooling(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.AvgPool2d(3, 1, 1, count_include_pad=False)

        def forward(self, images):
            return self.layer(images), functional.avg_pool2d(images, 3, 1, 1, False, False)

    model = Pooling()
    expected = model.layer(x)
    with lent(model, torch.device("cpu"), 0, training=True, channels_last=True):
        for output in model(x.clone().requires_grad_()):
            assert "AveragePool" in output.grad_fn.name()
            torch.testing.assert_close(output.detach(), expected)
        # Without samples.
        torch.testing.assert_close(model(x[0])[0], expected[0])
    assert model(x.clone().requires_grad_())[0].grad_fn.name().startswith("AvgPool2D")

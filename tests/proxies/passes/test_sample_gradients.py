import pytest
import torch
from torch import nn
from torch.nn import functional

from proxies.passes.calls import bound_conv2d
from proxies.passes.layers import LayerWatcher
from proxies.passes.sample_gradients import (
    _by_patches,
    sample_gradients,
    sample_gradients_at,
    weight_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")

IMAGE = (4, 7, 6)

# Layer, and the shape of a sample.
LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1), (4, 9)),
    "conv3d": (nn.Conv3d(2, 3, 2, padding=1, bias=False), (2, 3, 4, 3)),
    "conv2d": (nn.Conv2d(4, 6, 3), IMAGE),
    "strided": (nn.Conv2d(4, 6, 3, stride=2, padding=1), IMAGE),
    "rectangular": (nn.Conv2d(4, 6, (3, 2), (1, 2), padding=(2, 1), dilation=(2, 1)), IMAGE),
    "dilated": (nn.Conv2d(4, 6, 3, padding="same", dilation=2, bias=False), IMAGE),
    "padded on one side": (nn.Conv2d(4, 6, 2, padding="same"), IMAGE),
    "grouped": (nn.Conv2d(4, 6, 3, stride=2, groups=2), IMAGE),
    "depthwise": (nn.Conv2d(4, 8, 3, padding=1, groups=4), IMAGE),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2), IMAGE),
    "transposed 1d": (nn.ConvTranspose1d(4, 5, 4, stride=3), (4, 5)),
    "linear": (nn.Linear(5, 3), (5,)),
    "linear on tokens": (nn.Linear(5, 3), (7, 5)),
    "linear on windows": (nn.Linear(5, 3, bias=False), (2, 7, 5)),
}


def watched(layer: nn.Module, shape: tuple[int, ...], samples: int = 3):
    """A layer's call, and for two quantities the gradients of their sums by what it returned."""
    torch.manual_seed(1)
    layer = layer.double()
    nn.init.normal_(layer.weight)
    x = torch.randn(samples, *shape, dtype=torch.float64)
    with LayerWatcher() as watcher:
        output = layer(x)
    (call,) = watcher.calls
    values = [torch.sin(output).sum(), (output**2).sum()]
    gradients = [torch.autograd.grad(v, [call.edge], retain_graph=True)[0] for v in values]
    return layer, x, call, gradients


def one_by_one(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for function in (torch.sin, torch.square):
        rows = [
            torch.autograd.grad(function(layer(x[i : i + 1])).sum(), layer.weight)[0].flatten()
            for i in range(len(x))
        ]
        found.append(torch.stack(rows))
    return found


@pytest.mark.parametrize("kind", LAYERS)
def test_every_row_is_the_gradient_of_that_sample_alone(kind):
    layer, x, call, gradients = watched(*LAYERS[kind])
    assert weight_of(call) is layer.weight
    torch.testing.assert_close(sample_gradients(call, gradients, 3), one_by_one(layer, x))
    torch.testing.assert_close(sample_gradients(call, gradients[1:], 3), one_by_one(layer, x)[1:])


@pytest.mark.parametrize("kind", LAYERS)
def test_one_entry_is_a_column(kind):
    layer, _, call, gradients = watched(*LAYERS[kind])
    columns = sample_gradients(call, gradients, 3)[0]
    found = [
        sample_gradients_at(call, gradients[0], 3, index) for index in range(layer.weight.numel())
    ]
    torch.testing.assert_close(torch.stack(found, dim=1), columns)


@pytest.mark.parametrize(
    "kind", ["conv2d", "strided", "rectangular", "dilated", "grouped", "depthwise"]
)
def test_patches_agree_with_kernels(kind):
    # What accelerators take, and what CPUs take.
    _, x, call, gradients = watched(*LAYERS[kind])
    conv = bound_conv2d(call.args, call.kwargs)
    for gradient, rows in zip(gradients, sample_gradients(call, gradients, 3), strict=True):
        torch.testing.assert_close(_by_patches(conv, x, gradient), rows)


def test_arguments_by_name():
    torch.manual_seed(0)
    weight = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    x = torch.randn(4, 3, 8, dtype=torch.float64)
    with LayerWatcher() as watcher:
        output = functional.conv1d(input=x, weight=weight, padding=1)
    (call,) = watcher.calls
    (rows,) = sample_gradients(call, [torch.ones_like(output)], 4)
    expected = [
        torch.autograd.grad(functional.conv1d(x[i : i + 1], weight, padding=1).sum(), weight)[0]
        for i in range(4)
    ]
    torch.testing.assert_close(rows, torch.stack(expected).flatten(1))


@pytest.mark.parametrize("kind", ["conv2d", "conv1d", "linear"])
def test_parts_of_samples_in_the_first_dimension_belong_to_them(kind):
    layer, x, call, gradients = watched(*LAYERS[kind], samples=6)
    expected = [rows.reshape(3, 2, -1).sum(1) for rows in one_by_one(layer, x)]
    torch.testing.assert_close(sample_gradients(call, gradients, 3), expected)
    found = sample_gradients_at(call, gradients[0], 3, 4)
    torch.testing.assert_close(found, expected[0][:, 4])


def test_sequences_first_are_said():
    _, _, call, gradients = watched(nn.Linear(5, 3), (3, 5), samples=6)
    with pytest.raises(ValueError, match="expected layers with 3 samples in their first dim"):
        sample_gradients(call, gradients, 3)
    with pytest.raises(ValueError, match=r"found shape \(6, 3, 5\)"):
        sample_gradients_at(call, gradients[0], 3, 0)

"""The network against counts by hand and a plain functional version of the paper."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from predictnas.spaces import TransNas101Micro
from predictnas.spaces.transnas101_micro_network import (
    Cell,
    FactorizedReduce,
    TransNas101MicroNetwork,
    Zero,
)

SPACE = TransNas101Micro()
ALL_CONV = (3,) * 6


def parameters(arch, shape=(3, 256, 256), classes=47, channels=64, cells=2):
    with torch.device("meta"):
        network = SPACE.build(arch, shape, classes, channels=channels, cells=cells)
    return sum(parameter.numel() for parameter in network.parameters())


def counted(arch, classes=47, channels=64, cells=2):
    """Count the parameters of the published network from the paper's definition."""

    def conv(size, before, after):
        return size * size * before * after + 2 * after

    half = channels // 2
    total = conv(3, 3, half) + conv(3, half, channels)
    for kind in (4, 1, 4, 1, 4):
        for cell in range(cells):
            before = channels
            if cell == 0 and kind == 4:
                channels *= 2
            for number, option in enumerate(arch):
                # The edges 0->1, 0->2 and 0->3.
                width = before if number in (0, 1, 3) else channels
                if option in (2, 3):
                    total += conv(2 * option - 3, width, channels)
                elif option == 1 and width != channels:
                    total += conv(1, width, channels)
    return total + channels * classes + classes


@pytest.mark.parametrize("arch", [ALL_CONV, (2,) * 6, (1,) * 6, (0,) * 6, (1, 0, 2, 3, 3, 3)])
def test_parameters_are_those_counted_by_hand(arch):
    assert parameters(arch) == counted(arch)
    assert parameters(arch, channels=16, cells=3) == counted(arch, channels=16, cells=3)


def test_the_image_is_halved_five_times_or_if_small_three_times():
    for side, stride in ((256, 32), (65, 32), (64, 8), (8, 8)):
        with torch.device("meta"):
            network = SPACE.build(ALL_CONV, (3, side, side), 5, channels=4, cells=1).eval()
            x = network.stem(torch.empty(1, 3, side, side))
        for layer in network.layers:
            x = layer(x)
        assert x.shape == (1, 32, -(-side // stride), -(-side // stride))
        assert network(torch.empty(2, 3, side, side, device="meta")).shape == (2, 5)


def normalised(x, state, prefix):
    mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    scaled = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    return (
        scaled * state[f"{prefix}.weight"][:, None, None] + state[f"{prefix}.bias"][:, None, None]
    )


def relu_conv_bn(x, state, prefix, stride):
    weight = state[f"{prefix}.ops.1.weight"]
    x = functional.conv2d(x.clamp(min=0), weight, stride=stride, padding=weight.shape[-1] // 2)
    return normalised(x, state, f"{prefix}.ops.2")


def operation(option, x, state, prefix, stride):
    if option == 0:
        return 0
    if option == 1 and f"{prefix}.bn.weight" not in state:
        return x
    if option == 1:
        even, odd = (
            torch.einsum(
                "oi,bihw->bohw", state[f"{prefix}.convs.{part}.weight"][..., 0, 0], x.clamp(min=0)
            )[:, :, part::stride, part::stride]
            for part in (0, 1)
        )
        return normalised(torch.cat([even, odd], dim=1), state, f"{prefix}.bn")
    return relu_conv_bn(x, state, prefix, stride)


def published(x, state, arch, cells, reducing_stem):
    """Compute the network of the paper in evaluation mode from a state dictionary."""
    stride = 2 if reducing_stem else 1
    x = functional.conv2d(x, state["stem.0.weight"], stride=stride, padding=1)
    x = normalised(x, state, "stem.1")
    if reducing_stem:
        x = relu_conv_bn(x, state, "stem.2", stride=2)
    edges = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    for layer, kind in enumerate("41414"):
        for cell in range(cells):
            nodes = {0: x, 1: 0, 2: 0, 3: 0}
            for number, ((source, target), option) in enumerate(zip(edges, arch, strict=True)):
                prefix = f"layers.{layer}.{cell}.edges.{number}"
                stride = 2 if kind == "4" and cell == 0 and source == 0 else 1
                if torch.is_tensor(nodes[source]):
                    nodes[target] = nodes[target] + operation(
                        option, nodes[source], state, prefix, stride
                    )
            x = nodes[3]
    return x.mean(dim=(2, 3)) @ state["head.weight"].T + state["head.bias"]


@pytest.mark.parametrize(("shape", "cells"), [((3, 8, 16), 1), ((3, 8, 16), 2), ((1, 96, 96), 1)])
def test_outputs_agree_with_the_paper_written_out(shape, cells):
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    # Nodes that stay without a term are zero in the network, and left out when written out.
    archs = [row for row in SPACE.sample(20, rng).tolist() if min(row[0], row[1], row[3]) > 0]
    assert len(archs) > 3
    for arch in [*archs[:4], list(ALL_CONV), [1, 2, 0, 3, 0, 2]]:
        network = SPACE.build(arch, shape, 5, channels=4, cells=cells).double().eval()
        state = network.state_dict()
        for value in state.values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.1)
                if value.ndim == 4:
                    value.sub_(0.6)
        images = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            expected = published(images, state, arch, cells, reducing_stem=shape[1] > 64)
            torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (3, 32, 32), (2, 5, 7), (3, 65, 67)])
def test_any_image_size_from_four_on_works(shape):
    for arch in (ALL_CONV, (1,) * 6, (0, 1, 2, 3, 0, 1), (0,) * 6):
        network = SPACE.build(arch, shape, 3, channels=4, cells=1)
        logits = network(torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (4, 3)
        assert torch.isfinite(logits).all()


def test_a_cell_worked_by_hand():
    # Skips everywhere: node 1 = x, node 2 = x + x, node 3 = x + x + 2 x.
    x = torch.tensor([1.0, -2.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(Cell(("skip_connect",) * 6, 2, 2, stride=1)(x), 4 * x)


def test_zeros_have_the_shape_of_the_other_operations():
    x = torch.randn(2, 3, 5, 4)
    assert torch.equal(Zero(6, 2)(x), torch.zeros(2, 6, 3, 2))
    assert FactorizedReduce(3, 6, 2)(x).shape == (2, 6, 3, 2)


def test_a_reduction_takes_the_even_pixels_and_the_odd_ones():
    block = FactorizedReduce(1, 2, 2).eval()
    torch.nn.init.ones_(block.convs[0].weight)
    torch.nn.init.ones_(block.convs[1].weight)
    even, odd = block(torch.arange(9.0).reshape(1, 1, 3, 3))[0] * (1 + 1e-5) ** 0.5
    torch.testing.assert_close(even, torch.tensor([[0.0, 2.0], [6.0, 8.0]]))
    torch.testing.assert_close(odd, torch.tensor([[4.0, 0.0], [0.0, 0.0]]))


def test_convolutions_start_as_published():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SPACE.build(ALL_CONV, (3, 8, 8), 2, channels=16, cells=1)
    weight = network.layers[4][0].edges[5].ops[1].weight
    # The variance is two over the number of outputs that a pixel goes into.
    assert weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match=r"expected none, skip_connect, .*, found 'conv'; use one"):
        TransNas101MicroNetwork(
            ("conv",) * 6, False, in_channels=1, num_classes=2, channels=2, cells=1
        )

"""The network against counts by hand and a plain functional version of the paper."""

import pytest
import torch
from torch.nn import functional

from predictnas.spaces import TransNas101Macro
from predictnas.spaces.transnas101_macro_network import ResidualBlock

SPACE = TransNas101Macro()


def built(digits, shape, classes=5, **scale):
    return SPACE.build(SPACE.parse(f"64-{digits}-basic"), shape, classes, **scale)


def counted(digits, classes, channels, cells):
    """Count the parameters of the published network from the paper's definition."""

    def conv(size, before, after):
        return size * size * before * after + 2 * after

    total = conv(3, 3, channels // 2) + conv(3, channels // 2, channels)
    for kind in digits:
        width = channels * (2 if kind in "24" else 1)
        total += conv(3, channels, width) + (2 * cells - 1) * conv(3, width, width)
        if kind != "1":
            total += conv(1, channels, width)
        channels = width
    return total + channels * classes + classes


@pytest.mark.parametrize("digits", ["4111", "232323", "13141", "444111", "3324"])
def test_parameters_are_those_counted_by_hand(digits):
    for channels, cells in ((64, 2), (16, 3)):
        with torch.device("meta"):
            network = built(digits, (3, 256, 256), 47, channels=channels, cells=cells)
        found = sum(parameter.numel() for parameter in network.parameters())
        assert found == counted(digits, 47, channels, cells)


@pytest.mark.parametrize(("side", "stem"), [(256, 4), (65, 4), (64, 1), (8, 1)])
def test_the_stem_and_the_modules_of_kind_3_and_4_halve_the_image(side, stem):
    with torch.device("meta"):
        network = built("14231", (3, side, side), channels=4, cells=1).eval()
        x = network.stem(torch.empty(1, 3, side, side))
        shapes = [x.shape[1:]]
        for layer in network.layers:
            x = layer(x)
            shapes.append(x.shape[1:])
    sides = [-(-side // (stem * stride)) for stride in (1, 1, 2, 2, 4, 4)]
    widths = [4, 4, 8, 16, 16, 16]
    assert shapes == [(width, each, each) for width, each in zip(widths, sides, strict=True)]


def normalised(x, state, prefix):
    mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    scaled = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    return (
        scaled * state[f"{prefix}.weight"][:, None, None] + state[f"{prefix}.bias"][:, None, None]
    )


def relu_conv_bn(x, state, prefix, stride):
    weight = state[f"{prefix}.ops.1.weight"]
    x = functional.conv2d(x.clamp(min=0), weight, stride=stride, padding=1)
    return normalised(x, state, f"{prefix}.ops.2")


def published(x, state, digits, cells, reducing_stem):
    """Compute the network of the paper in evaluation mode from a state dictionary."""
    stride = 2 if reducing_stem else 1
    x = functional.conv2d(x, state["stem.0.weight"], stride=stride, padding=1)
    x = normalised(x, state, "stem.1")
    if reducing_stem:
        x = relu_conv_bn(x, state, "stem.2", stride=2)
    for layer, kind in enumerate(digits):
        for cell in range(cells):
            prefix = f"layers.{layer}.{cell}"
            stride = 2 if kind in "34" and cell == 0 else 1
            residual = x
            if kind != "1" and cell == 0:
                weight = state[f"{prefix}.downsample.0.weight"][..., 0, 0]
                residual = torch.einsum("oi,bihw->bohw", weight, x[..., ::stride, ::stride])
                residual = normalised(residual, state, f"{prefix}.downsample.1")
            inside = relu_conv_bn(x, state, f"{prefix}.conv_a", stride)
            x = residual + relu_conv_bn(inside, state, f"{prefix}.conv_b", stride=1)
    return x.mean(dim=(2, 3)) @ state["head.weight"].T + state["head.bias"]


@pytest.mark.parametrize(("shape", "cells"), [((3, 8, 16), 1), ((3, 8, 16), 2), ((1, 68, 66), 1)])
def test_outputs_agree_with_the_paper_written_out(shape, cells):
    generator = torch.Generator().manual_seed(0)
    for digits in ("4111", "232323", "13141"):
        network = built(digits, shape, channels=4, cells=cells).double().eval()
        state = network.state_dict()
        for value in state.values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.1)
                if value.ndim == 4:
                    value.sub_(0.6)
        images = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            expected = published(images, state, digits, cells, reducing_stem=shape[1] > 64)
            torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (3, 32, 32), (2, 5, 7), (3, 65, 67)])
def test_any_image_size_from_four_on_works(shape):
    for digits in ("4111", "333312", "13141"):
        network = built(digits, shape, 3, channels=4, cells=1)
        logits = network(torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (4, 3)
        assert torch.isfinite(logits).all()


def test_a_block_whose_convolutions_return_zero_is_the_identity():
    block = ResidualBlock(3, 3, stride=1)
    torch.nn.init.zeros_(block.conv_b.ops[2].weight)
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x)
    assert ResidualBlock(3, 6, stride=2)(x).shape == (2, 6, 3, 2)


def test_convolutions_start_as_published():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = built("4441", (3, 8, 8), 2, channels=16, cells=1)
    weight = network.layers[3][0].conv_b.ops[1].weight
    # The variance is two over the number of outputs that a pixel goes into.
    assert weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)

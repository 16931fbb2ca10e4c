"""The network against counts by hand and a plain functional version of the paper."""

import json
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from predictnas.spaces import MobileNet
from predictnas.spaces.mobilenet_network import InvertedResidual, SqueezeExcite

SPACE = MobileNet()
WIDTHS = (24, 40, 80, 112, 160)
SQUEEZES = (False, True, False, True, True)
SMALL = {"ks": [3] * 20, "e": [3] * 20, "d": [2] * 5, "image_size": 224}
LARGE = {"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5, "image_size": 224}
MIXED = {
    "ks": [3, 5, 7, 7, 5] * 4,
    "e": [3, 4, 6, 4] * 5,
    "d": [2, 4, 3, 4, 2],
    "image_size": 160,
}


def built(members, shape=(3, 224, 224), classes=1000, channels=24):
    return SPACE.build(SPACE.parse(json.dumps(members)), shape, classes, channels=channels)


def squeezed(width):
    """Return a quarter of the width as the published code rounds it, to a multiple of eight."""
    wanted = width // 4
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def blocks_of(members):
    """Return stage, number, kernel size and expansion ratio of the active blocks."""
    return [
        (stage, number, members["ks"][4 * stage + number], members["e"][4 * stage + number])
        for stage in range(5)
        for number in range(members["d"][stage])
    ]


def counted(members, classes):
    """Count the parameters of the published network from the paper's definition."""

    def conv(size, before, after):
        return size * size * before * after + 2 * after

    total = conv(3, 3, 16)
    # The fixed block: a depthwise convolution and a projection.
    total += conv(3, 1, 16) + conv(1, 16, 16)
    before = 16
    for stage, _, kernel, expansion in blocks_of(members):
        middle = before * expansion
        total += conv(1, before, middle) + conv(kernel, 1, middle)
        if SQUEEZES[stage]:
            total += 2 * middle * squeezed(middle) + squeezed(middle) + middle
        total += conv(1, middle, WIDTHS[stage])
        before = WIDTHS[stage]
    return total + conv(1, 160, 960) + 960 * 1280 + 1280 * classes + classes


@pytest.mark.parametrize("members", [SMALL, LARGE, MIXED])
def test_parameters_are_those_counted_by_hand(members):
    with torch.device("meta"):
        network = built(members)
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == counted(members, 1000)


def test_the_squeeze_is_rounded_as_published():
    # MobileNetV3-Large: 72 and 120 channels are squeezed to 24 and 32, 480, 672, 960 to a quarter.
    found = {width: SqueezeExcite(width).fc.reduce.out_channels for width in (72, 120, 480, 672)}
    assert found == {72: 24, 120: 32, 480: 120, 672: 168}
    assert SqueezeExcite(3).fc.reduce.out_channels == 8


def sides(members, shape):
    """Return the shapes behind the stem and behind every block."""
    network = built(members, shape, 2, channels=3).eval()
    shapes = []
    for module in (network.first_conv, *network.blocks):
        module.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[2:])))
    with torch.no_grad():
        network(torch.zeros(1, *shape))
    return shapes


def test_the_strides_are_the_published_ones():
    shapes = [side for side, _ in sides(SMALL, (1, 224, 224))]
    assert shapes == [112, 112, 56, 56, 28, 28, 14, 14, 14, 14, 7, 7]


@pytest.mark.parametrize(
    ("side", "halvings", "last"), [(96, 5, 3), (95, 4, 6), (32, 3, 4), (12, 2, 3), (8, 1, 4)]
)
def test_small_images_are_halved_by_the_last_strides_only(side, halvings, last):
    shapes = [each for each, _ in sides(SMALL, (1, side, side))]
    assert shapes[-1] == last
    assert sum(after < before for before, after in pairwise([side, *shapes])) == halvings
    # Published are strides in the stem and before the stages 1, 2, 3 and 5.
    places = [0, 2, 4, 6, 10]
    halved = [n for n, (before, after) in enumerate(pairwise([side, *shapes])) if after < before]
    assert halved == places[-halvings:]


@pytest.mark.parametrize(
    ("shape", "resolution", "expected"),
    [
        ((3, 224, 224), 128, (128, 128)),
        ((3, 224, 224), 192, (192, 192)),
        ((1, 12, 12), 128, (7, 7)),
        ((1, 12, 12), 160, (9, 9)),
        ((1, 12, 12), 192, (10, 10)),
        ((2, 9, 8), 160, (6, 6)),
        ((1, 7, 14), 224, (7, 14)),
    ],
)
def test_the_network_works_at_its_resolution(shape, resolution, expected):
    network = built({**SMALL, "image_size": resolution}, shape, 2, channels=1)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    resized = network.resized(images)
    assert tuple(resized.shape) == (2, shape[0], *expected)
    torch.testing.assert_close(network.resized(torch.ones(2, *shape)), torch.ones_like(resized))


def test_resolutions_stay_apart_down_to_images_of_six_pixels():
    def found(side):
        images = torch.zeros(1, 1, side, side)
        return {
            built({**SMALL, "image_size": resolution}, (1, side, side), 2, channels=1)
            .resized(images)
            .shape[-1]
            for resolution in (128, 160, 192, 224)
        }

    assert [len(found(side)) for side in (4, 5, 6, 7, 8, 12)] == [3, 3, 4, 4, 4, 4]


def normalised(x, state, prefix):
    mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    scaled = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    return (
        scaled * state[f"{prefix}.weight"][:, None, None] + state[f"{prefix}.bias"][:, None, None]
    )


def hardswish(x):
    return x * (x + 3).clamp(0, 6) / 6


def pointwise(x, weight):
    return torch.einsum("oi,bihw->bohw", weight[..., 0, 0], x)


def inverted(x, state, prefix, stride, activation, squeezes):
    if f"{prefix}.inverted_bottleneck.conv.weight" in state:
        x = pointwise(x, state[f"{prefix}.inverted_bottleneck.conv.weight"])
        x = activation(normalised(x, state, f"{prefix}.inverted_bottleneck.bn"))
    kernel = state[f"{prefix}.depth_conv.conv.weight"]
    padding = kernel.shape[-1] // 2
    x = functional.conv2d(x, kernel, stride=stride, padding=padding, groups=len(kernel))
    x = activation(normalised(x, state, f"{prefix}.depth_conv.bn"))
    if squeezes:
        fc = f"{prefix}.depth_conv.se.fc"
        means = x.mean(dim=(2, 3))
        inside = means @ state[f"{fc}.reduce.weight"][..., 0, 0].T + state[f"{fc}.reduce.bias"]
        gate = inside.clamp(min=0) @ state[f"{fc}.expand.weight"][..., 0, 0].T
        gate = ((gate + state[f"{fc}.expand.bias"] + 3) / 6).clamp(0, 1)
        x = x * gate[:, :, None, None]
    x = pointwise(x, state[f"{prefix}.point_linear.conv.weight"])
    return normalised(x, state, f"{prefix}.point_linear.bn")


def published(x, state, members, strides):
    """Compute the network of the paper in evaluation mode from a state dictionary."""

    def relu(x):
        return x.clamp(min=0)

    x = functional.conv2d(x, state["first_conv.conv.weight"], stride=strides[0], padding=1)
    x = hardswish(normalised(x, state, "first_conv.bn"))
    x = x + inverted(x, state, "blocks.0", 1, relu, squeezes=False)
    for index, (stage, number, _, _) in enumerate(blocks_of(members), start=1):
        out = inverted(
            x,
            state,
            f"blocks.{index}",
            strides[stage + 1] if number == 0 else 1,
            relu if stage < 2 else hardswish,
            SQUEEZES[stage],
        )
        x = out if number == 0 else x + out
    x = pointwise(x, state["final_expand_layer.conv.weight"])
    x = hardswish(normalised(x, state, "final_expand_layer.bn")).mean(dim=(2, 3))
    x = hardswish(x @ state["feature_mix_layer.conv.weight"][..., 0, 0].T)
    return x @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((3, 16, 12), (1, 1, 1, 2, 1, 2)), ((1, 96, 104), (2, 2, 2, 2, 1, 2))],
)
def test_outputs_agree_with_the_paper_written_out(shape, strides):
    generator = torch.Generator().manual_seed(0)
    members = {**MIXED, "image_size": 224}
    network = built(members, shape, 5, channels=3).double().eval()
    state = network.state_dict()
    for value in state.values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.1)
            if value.ndim == 4:
                value.sub_(0.6)
    images = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        expected = published(images, state, members, strides)
        assert expected.std() > 1e-3
        torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (3, 32, 32), (2, 5, 7), (1, 4, 40)])
def test_any_image_size_from_four_on_works(shape):
    for members in (SMALL, MIXED):
        network = built({**members, "image_size": 128}, shape, 3, channels=2)
        logits = network(torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (4, 3)
        assert torch.isfinite(logits).all()


def test_channels_scale_all_widths():
    network = built(SMALL, (1, 8, 8), 2, channels=12)
    assert network.first_conv.conv.out_channels == 8
    found = [block.point_linear.conv.out_channels for block in network.blocks[1::2]]
    assert found == [12, 20, 40, 56, 80]
    assert network.classifier.in_features == 640
    thin = built(SMALL, (1, 8, 8), 2, channels=1)
    assert min(each.out_channels for each in thin.modules() if isinstance(each, nn.Conv2d)) == 1


def test_all_blocks_but_the_first_of_a_stage_are_residual():
    network = built(MIXED, (1, 8, 8), 2, channels=1)
    expected = [True] + [number > 0 for _, number, _, _ in blocks_of(MIXED)]
    assert [block.residual for block in network.blocks] == expected


def test_the_gate_can_be_differentiated_twice():
    module = SqueezeExcite(8).double()
    x = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    assert torch.autograd.gradgradcheck(module, x.requires_grad_())


def test_a_residual_block_whose_projection_returns_zero_is_the_identity():
    x = torch.randn(2, 4, 5, 4, generator=torch.Generator().manual_seed(0))
    for residual in (True, False):
        block = InvertedResidual(4, 4, 5, 3, 1, True, True, residual)
        nn.init.zeros_(block.point_linear.bn.weight)
        assert torch.equal(block(x), x if residual else torch.zeros_like(x))
    assert InvertedResidual(4, 6, 7, 3, 2, False, False, False)(x).shape == (2, 6, 3, 2)


def test_convolutions_start_as_published():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = built(LARGE, (3, 8, 8), 2, channels=24)
    weight = network.final_expand_layer.conv.weight
    # The variance is two over the number of outputs that a pixel goes into.
    assert weight.std().item() == pytest.approx((2 / 960) ** 0.5, rel=0.02)
    assert not network.blocks[5].depth_conv.se.fc.reduce.bias.any()


def test_it_is_exported_for_batches_of_any_size():
    network = built({**SMALL, "image_size": 160}, (1, 9, 8), 2, channels=1).eval()
    images = torch.randn(5, 1, 9, 8, generator=torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (images[:2],), dynamic_shapes=({0: batch},)).module()
    for each in (images, images[:1]):
        torch.testing.assert_close(program(each), network(each))

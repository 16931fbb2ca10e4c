"""The network against counts by hand and a plain functional version of the paper."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from predictnas.spaces import NasBench201, NatsSize
from predictnas.spaces.nats_size_network import Cell

SPACE = NatsSize()
TEXTS = ("64:64:64:64:64", "8:16:24:32:40", "64:8:24:48:16", "16:16:32:8:8")


def built(text, shape=(3, 32, 32), classes=10, cells=1, divisor=1):
    return SPACE.build(SPACE.parse(text), shape, classes, cells=cells, divisor=divisor)


def counted(widths, classes, cells):
    """Count the parameters of the published network from the paper's definition."""

    def conv(size, before, after):
        return size * size * before * after + 2 * after

    before = widths[0]
    total = conv(3, 3, before)
    for layer, width in enumerate(widths):
        if layer in (1, 3):
            total += conv(3, before, width) + conv(3, width, width) + before * width
        else:
            total += 2 * conv(3, before, width) + 3 * conv(3, width, width)
            total += conv(1, before, width) if width != before else 0
            total += (cells - 1) * 5 * conv(3, width, width)
        before = width
    return total + 2 * before + before * classes + classes


@pytest.mark.parametrize("text", TEXTS)
def test_parameters_are_those_counted_by_hand(text):
    widths = [int(width) for width in text.split(":")]
    for cells, divisor in ((1, 1), (3, 4)):
        with torch.device("meta"):
            network = built(text, cells=cells, divisor=divisor)
        found = sum(parameter.numel() for parameter in network.parameters())
        assert found == counted([width // divisor for width in widths], 10, cells)


def test_with_the_widths_of_nasbench201_it_is_its_network():
    cell = (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
        "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    )
    other = NasBench201()
    images = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    for cells in (1, 2):
        one = built("8:16:16:32:32", (3, 9, 8), cells=cells, divisor=4).eval()
        two = other.build(other.parse(cell), (3, 9, 8), 10, channels=2, cells=cells).eval()
        two.load_state_dict(one.state_dict())
        assert torch.equal(one(images), two(images))


def normalised(x, state, prefix):
    mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    scaled = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    return (
        scaled * state[f"{prefix}.weight"][:, None, None] + state[f"{prefix}.bias"][:, None, None]
    )


def relu_conv_bn(x, state, prefix, stride=1):
    weight = state[f"{prefix}.op.1.weight"]
    x = functional.conv2d(x.clamp(min=0), weight, stride=stride, padding=1)
    return normalised(x, state, f"{prefix}.op.2")


def published(x, state):
    """Compute the network of the paper in evaluation mode from a state dictionary."""
    x = normalised(functional.conv2d(x, state["stem.0.weight"], padding=1), state, "stem.1")
    for layer in range(5):
        prefix = f"cells.{layer}"
        if layer in (1, 3):
            inside = relu_conv_bn(x, state, f"{prefix}.conv_a", stride=2)
            shortcut = functional.avg_pool2d(x, 2)
            weight = state[f"{prefix}.downsample.1.weight"]
            x = functional.conv2d(shortcut, weight) + relu_conv_bn(
                inside, state, f"{prefix}.conv_b"
            )
            continue
        convolved = {
            edge: f"{prefix}.layers.{number}"
            for number, edge in enumerate(("01", "02", "12", "03", "13", "23"))
        }
        first = relu_conv_bn(x, state, convolved["01"])
        second = relu_conv_bn(x, state, convolved["02"])
        second = second + relu_conv_bn(first, state, convolved["12"])
        identity = x
        if f"{convolved['03']}.conv.weight" in state:
            weight = state[f"{convolved['03']}.conv.weight"][..., 0, 0]
            identity = torch.einsum("oi,bihw->bohw", weight, x)
            identity = normalised(identity, state, f"{convolved['03']}.bn")
        x = identity + relu_conv_bn(first, state, convolved["13"])
        x = x + relu_conv_bn(second, state, convolved["23"])
    x = normalised(x, state, "lastact.0").clamp(min=0).mean(dim=(2, 3))
    return x @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("text", TEXTS)
def test_outputs_agree_with_the_paper_written_out(text):
    generator = torch.Generator().manual_seed(0)
    network = built(text, (3, 8, 12), 5, divisor=4).double().eval()
    state = network.state_dict()
    for value in state.values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.1)
            if value.ndim == 4:
                value.sub_(0.6)
    images = torch.randn(2, 3, 8, 12, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(images), published(images, state))


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (3, 32, 32), (2, 5, 7)])
def test_any_image_size_from_four_on_works(shape):
    for text in TEXTS[2:]:
        network = built(text, shape, 3, divisor=8)
        logits = network(torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (4, 3)
        assert torch.isfinite(logits).all()


def test_a_divisor_leaves_at_least_one_channel():
    network = built("8:64:8:8:8", (1, 4, 4), 2, divisor=100)
    widths = {each.out_channels for each in network.modules() if isinstance(each, nn.Conv2d)}
    assert widths == {1}
    assert network.classifier.in_features == 1


def test_a_cell_whose_convolutions_return_zero_is_the_identity():
    cell = Cell(3, 3)
    for number in (4, 5):
        nn.init.zeros_(cell.layers[number].op[2].weight)
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cell(x), x)
    assert Cell(3, 5)(x).shape == (2, 5, 5, 4)

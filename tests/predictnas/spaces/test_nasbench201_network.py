"""The network against the published counts and against a plain functional version of the paper."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from predictnas.spaces import NasBench201
from predictnas.spaces.nasbench201_network import Cell, NasBench201Network, Reduction

TABLE = Path(__file__).parents[3].parent / "shared" / "data" / "nasbench201_cifar10.parquet"

SPACE = NasBench201()
ALL_CONV = (3,) * 6
# Index 6111 of the benchmark, the best cell on CIFAR-10.
BEST = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
    "|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network, shape):
    """Count multiply-accumulates; the counter counts two operations for each."""
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("arch", "params", "multiply_accumulates"),
    [(ALL_CONV, 1_531_546, 220_119_680), (SPACE.parse(BEST), 1_073_466, 153_272_960)],
)
def test_parameters_and_multiply_accumulates_are_the_published_ones(
    arch, params, multiply_accumulates
):
    with torch.device("meta"):
        network = SPACE.build(arch, (3, 32, 32), 10).eval()
    assert parameters(network) == params
    assert macs(network, (3, 32, 32)) == multiply_accumulates


def test_parameters_agree_with_the_published_table():
    if not TABLE.exists():
        pytest.skip("the published table ../shared/data/nasbench201_cifar10.parquet is absent")
    table = pytest.importorskip("pandas").read_parquet(TABLE, columns=["arch", "params_m", "index"])
    assert table.loc[table["index"] == 6111, "arch"].item() == BEST
    for row in table.sample(30, random_state=0).itertuples():
        with torch.device("meta"):
            network = SPACE.build(SPACE.parse(row.arch), (3, 32, 32), 10)
        assert parameters(network) == pytest.approx(row.params_m * 1e6, abs=1)


def test_an_operation_without_effect_keeps_its_parameters():
    # conv3x3 on 0 -> 1, and node 1 leads nowhere.
    dead = SPACE.build((3, 0, 0, 1, 0, 0), (3, 8, 8), 10, channels=4, cells=1)
    plain = SPACE.build((0, 0, 0, 1, 0, 0), (3, 8, 8), 10, channels=4, cells=1)
    added = sum(9 * width * width + 2 * width for width in (4, 8, 16))
    assert parameters(dead) - parameters(plain) == added


def normalised(x, state, prefix):
    mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    scaled = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    return (
        scaled * state[f"{prefix}.weight"][:, None, None] + state[f"{prefix}.bias"][:, None, None]
    )


def relu_conv_bn(x, state, prefix, stride=1):
    weight = state[f"{prefix}.op.1.weight"]
    x = functional.conv2d(x.clamp(min=0), weight, stride=stride, padding=weight.shape[-1] // 2)
    return normalised(x, state, f"{prefix}.op.2")


def mean_of_the_pixels_that_exist(x, size, stride, padding):
    total = functional.avg_pool2d(functional.pad(x, [padding] * 4), size, stride) * size * size
    ones = (
        functional.avg_pool2d(functional.pad(torch.ones_like(x), [padding] * 4), size, stride)
        * size
        * size
    )
    return total / ones


def operation(name, x, state, prefix):
    if name == "none":
        return torch.zeros_like(x)
    if name == "skip_connect":
        return x
    if name == "avg_pool_3x3":
        return mean_of_the_pixels_that_exist(x, size=3, stride=1, padding=1)
    return relu_conv_bn(x, state, prefix)


def published(x, state, params, cells):
    """Compute the network of the paper in evaluation mode from a state dictionary."""
    x = normalised(functional.conv2d(x, state["stem.0.weight"], padding=1), state, "stem.1")
    for index in range(3 * cells + 2):
        prefix = f"cells.{index}"
        if index in (cells, 2 * cells + 1):
            residual = mean_of_the_pixels_that_exist(x, size=2, stride=2, padding=0)
            residual = functional.conv2d(residual, state[f"{prefix}.downsample.1.weight"])
            x = relu_conv_bn(x, state, f"{prefix}.conv_a", stride=2)
            x = residual + relu_conv_bn(x, state, f"{prefix}.conv_b")
        else:
            nodes = {0: x, 1: 0, 2: 0, 3: 0}
            for number, (edge, name) in enumerate(params.items()):
                source, target = map(int, edge.split("->"))
                layer = f"{prefix}.layers.{number}"
                nodes[target] = nodes[target] + operation(name, nodes[source], state, layer)
            x = nodes[3]
    x = normalised(x, state, "lastact.0").clamp(min=0).mean(dim=(2, 3))
    return x @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("cells", [1, 2])
def test_outputs_agree_with_the_paper_written_out(cells):
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    for arch in [*SPACE.sample(6, rng), ALL_CONV, (0, 0, 0, 0, 0, 0)]:
        network = SPACE.build(arch, (3, 8, 12), 5, channels=4, cells=cells).double().eval()
        state = network.state_dict()
        for value in state.values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.1)
                if value.ndim == 4:
                    value.sub_(0.6)
        images = torch.randn(2, 3, 8, 12, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            expected = published(images, state, SPACE.params(arch), cells)
            torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize(
    "shape", [(1, 4, 4), (1, 8, 8), (1, 12, 12), (3, 13, 13), (2, 5, 7), (3, 9, 4), (1, 28, 28)]
)
def test_any_image_size_from_four_on_works(shape):
    for arch in ((3, 4, 2, 1, 3, 4), (4,) * 6):
        network = SPACE.build(arch, shape, 3, channels=4, cells=1)
        logits = network(torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (4, 3)
        assert torch.isfinite(logits).all()


def test_the_shortcut_averages_the_pixels_that_exist_at_an_odd_border():
    block = Reduction(1, 1)
    pooled = block.downsample[0](torch.arange(9.0).reshape(1, 1, 3, 3))
    assert pooled.tolist() == [[[[2.0, 3.5], [6.5, 8.0]]]]
    assert block(torch.randn(2, 1, 5, 7)).shape == (2, 1, 3, 4)


def test_a_cell_worked_by_hand():
    # Skips everywhere: node 1 = x, node 2 = x + x, node 3 = x + x + 2 x.
    x = torch.tensor([1.0, -2.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(Cell(("skip_connect",) * 6, 2)(x), 4 * x)
    zero = Cell(("none",) * 6, 2)(x)
    assert zero.tolist() == [[[[0.0]], [[-0.0]]]]


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match=r"expected none, skip_connect, .*, found 'conv'; use one"):
        NasBench201Network(("conv",) * 6, in_channels=1, num_classes=2, channels=2, cells=1)

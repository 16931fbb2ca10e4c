"""The network against published counts and a plain functional version of the paper."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from predictnas.spaces import Darts
from predictnas.spaces.darts_network import DartsNetwork, FactorizedReduce, make_operation

TABLE = Path(__file__).parents[3].parent / "shared" / "data" / "darts_nasbench301_surrogate.parquet"

SPACE = Darts()
SEP, DIL, SKIP, MAX = "sep_conv_3x3", "dil_conv_3x3", "skip_connect", "max_pool_3x3"
# The cells found by DARTS with second-order approximation, from the published code.
NORMAL_V2 = ((SEP, 0), (SEP, 1), (SEP, 0), (SEP, 1), (SEP, 1), (SKIP, 0), (SKIP, 0), (DIL, 2))
REDUCE_V2 = ((MAX, 0), (MAX, 1), (SKIP, 2), (MAX, 1), (MAX, 0), (SKIP, 2), (SKIP, 2), (MAX, 1))


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_of_the_published_cells_are_the_published_number():
    with torch.device("meta"):
        network = DartsNetwork(NORMAL_V2, REDUCE_V2, 3, 10, channels=36, layers=20)
    assert parameters(network) == 3_349_342


def test_parameters_agree_with_the_published_table():
    if not TABLE.exists():
        pytest.skip("../shared/data/darts_nasbench301_surrogate.parquet is absent")
    table = pytest.importorskip("pandas").read_parquet(TABLE, columns=["arch", "proxy_params"])
    for row in table.sample(20, random_state=0).itertuples():
        with torch.device("meta"):
            network = SPACE.build(SPACE.parse(row.arch), (3, 32, 32), 10, channels=32, layers=8)
        # There the normalisation inside the operations has no parameters, as during the search.
        inside = sum(
            parameters(module)
            for cell in network.cells
            for module in cell._ops.modules()
            if isinstance(module, nn.BatchNorm2d)
        )
        assert inside > 0
        assert parameters(network) - inside == round(row.proxy_params * 1e6)


@pytest.mark.parametrize(("layers", "reductions"), [(20, [6, 13]), (8, [2, 5]), (5, [1, 3])])
def test_cells_at_a_third_and_two_thirds_of_the_depth_reduce(layers, reductions):
    with torch.device("meta"):
        network = SPACE.build((1,) * 24, (3, 32, 32), 10, channels=2, layers=layers).eval()
        before = last = network.stem(torch.empty(1, 3, 32, 32))
    assert last.shape == (1, 6, 32, 32)
    found, shapes = [], []
    for number, cell in enumerate(network.cells):
        before, last = last, cell(before, last)
        if last.shape[-1] < before.shape[-1]:
            found.append(number)
        shapes.append(tuple(last.shape[1:]))
    assert found == reductions
    assert shapes[0] == (8, 32, 32)
    assert shapes[-1] == (32, 8, 8)


def normalised(x, state, prefix):
    mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    scaled = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    return (
        scaled * state[f"{prefix}.weight"][:, None, None] + state[f"{prefix}.bias"][:, None, None]
    )


def pointwise(x, state, name):
    return torch.einsum("oi,bihw->bohw", state[f"{name}.weight"][..., 0, 0], x)


def halved(x, state, prefix):
    x = x.clamp(min=0)
    even = pointwise(x[..., ::2, ::2], state, f"{prefix}.conv_1")
    odd = pointwise(x[..., 1::2, 1::2], state, f"{prefix}.conv_2")
    return normalised(torch.cat([even, odd], dim=1), state, f"{prefix}.bn")


def preprocessed(x, state, prefix):
    if f"{prefix}.conv_1.weight" in state:
        return halved(x, state, prefix)
    return normalised(pointwise(x.clamp(min=0), state, f"{prefix}.op.1"), state, f"{prefix}.op.2")


def depthwise(x, state, prefix, first, stride, dilation):
    """Compute ReLU, a convolution of each channel, one of each pixel, and normalisation."""
    kernels = state[f"{prefix}.op.{first + 1}.weight"]
    padding = dilation * (kernels.shape[-1] // 2)
    x = torch.cat(
        [
            functional.conv2d(
                x[:, [channel]].clamp(min=0),
                kernels[[channel]],
                stride=stride,
                padding=padding,
                dilation=dilation,
            )
            for channel in range(x.shape[1])
        ],
        dim=1,
    )
    x = pointwise(x, state, f"{prefix}.op.{first + 2}")
    return normalised(x, state, f"{prefix}.op.{first + 3}")


def operation(name, x, state, prefix, stride):
    if name == "skip_connect":
        return x if stride == 1 else halved(x, state, prefix)
    if "pool" in name:
        windows = functional.pad(x, [1] * 4, value=torch.nan).unfold(2, 3, stride)
        windows = windows.unfold(3, 3, stride).flatten(-2)
        if name == "avg_pool_3x3":
            return windows.nanmean(-1)
        return windows.nan_to_num(-torch.inf).amax(-1)
    if name.startswith("dil"):
        return depthwise(x, state, prefix, 0, stride, dilation=2)
    x = depthwise(x, state, prefix, 0, stride, dilation=1)
    return depthwise(x, state, prefix, 4, 1, dilation=1)


def published(x, state, network, layers):
    """Compute the network of the paper in evaluation mode from a state dictionary."""
    x = functional.conv2d(x, state["stem.0.weight"], padding=1)
    before = last = normalised(x, state, "stem.1")
    for layer in range(layers):
        reduction = layer in (layers // 3, 2 * layers // 3)
        nodes = [
            preprocessed(before, state, f"cells.{layer}.preprocess0"),
            preprocessed(last, state, f"cells.{layer}.preprocess1"),
        ]
        edges = network["reduce" if reduction else "normal"]
        for number in range(0, 8, 2):
            total = 0
            for edge in (number, number + 1):
                name, source = edges[edge]
                stride = 2 if reduction and source < 2 else 1
                prefix = f"cells.{layer}._ops.{edge}"
                total = total + operation(name, nodes[source], state, prefix, stride)
            nodes.append(total)
        before, last = last, torch.cat(nodes[2:], dim=1)
    return last.mean(dim=(2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("layers", [3, 5])
def test_outputs_agree_with_the_paper_written_out(layers):
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    for arch in SPACE.sample(4, rng):
        network = SPACE.build(arch, (3, 8, 12), 5, channels=2, layers=layers).double().eval()
        state = network.state_dict()
        for value in state.values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.1)
                if value.ndim == 4:
                    value.sub_(0.6)
        images = torch.randn(2, 3, 8, 12, generator=generator, dtype=torch.float64)
        cells = {"normal": [], "reduce": []}
        params = SPACE.params(arch)
        for cell, edges in cells.items():
            for node in (2, 3, 4, 5):
                sources = params[f"{cell}_{node}_inputs"].split("+")
                names = (params[f"{cell}_{node}_first"], params[f"{cell}_{node}_second"])
                edges += zip(names, map(int, sources), strict=True)
        with torch.no_grad():
            expected = published(images, state, cells, layers)
            torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (3, 32, 32), (2, 5, 7), (3, 13, 9)])
def test_any_image_size_from_four_on_works(shape):
    for arch in SPACE.sample(3, np.random.default_rng(1)):
        network = SPACE.build(arch, shape, 3, channels=2)
        logits = network(torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (4, 3)
        assert torch.isfinite(logits).all()


def test_a_reduction_takes_the_even_pixels_and_the_odd_ones():
    block = FactorizedReduce(1, 2).eval()
    nn.init.ones_(block.conv_1.weight)
    nn.init.ones_(block.conv_2.weight)
    even, odd = block(torch.arange(9.0).reshape(1, 1, 3, 3))[0] * (1 + 1e-5) ** 0.5
    torch.testing.assert_close(even, torch.tensor([[0.0, 2.0], [6.0, 8.0]]))
    torch.testing.assert_close(odd, torch.tensor([[4.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("name", SPACE.operations[:7])
def test_operations_keep_the_size_or_halve_it_rounding_up(name):
    x = torch.randn(2, 4, 7, 6)
    assert make_operation(name, 4, stride=1)(x).shape == (2, 4, 7, 6)
    assert make_operation(name, 4, stride=2)(x).shape == (2, 4, 4, 3)


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match=r"expected max_pool_3x3, .*, found 'none'; use one"):
        make_operation("none", 4, stride=1)

"""Graphs traced from networks: against graphs worked by hand, and between equal networks."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from encoders import ArchGraph, EncodingError, trace_graph
from predictnas.spaces import get_space

IMAGES = torch.zeros(2, 3, 8, 8)


class Calls(nn.Module):
    """A network whose forward pass is a function of itself and the input."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.function = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def chain(*operations):
    names = ("input", *operations, "output")
    return ArchGraph(names, tuple((node, node + 1) for node in range(len(names) - 1)))


def key(function, inputs=IMAGES, **modules):
    return trace_graph(Calls(function, **modules), inputs).key()


# By hand


def test_a_residual_block():
    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))

    block = Calls(
        forward,
        conv1=nn.Conv2d(3, 16, 3, stride=2, padding=1),
        bn1=nn.BatchNorm2d(16),
        conv2=nn.Conv2d(16, 16, 3, padding=1),
        bn2=nn.BatchNorm2d(16),
        shortcut=nn.Conv2d(3, 16, 1, stride=2),
    )
    expected = ArchGraph(
        (
            *("input", "conv_3x3_stride2/16", "batch_norm", "relu", "conv_3x3/16", "batch_norm"),
            *("conv_1x1_stride2/16", "relu", "output"),
        ),
        ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 6), (5, 7), (6, 7), (7, 8)),
    )
    assert trace_graph(block, IMAGES).canonical() == expected.canonical()


def test_two_branches_that_are_concatenated():
    def forward(self, x):
        y = torch.cat([self.left(x), functional.max_pool2d(x, 3, 1, 1)], dim=1)
        return self.head(y.mean(dim=(2, 3)))

    network = Calls(forward, left=nn.Conv2d(3, 5, 5, padding=2), head=nn.Linear(8, 10))
    expected = ArchGraph(
        (
            *("input", "conv_5x5/5", "max_pool_3x3", "concat", "global_avg_pool", "linear/10"),
            "output",
        ),
        ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 5), (5, 6)),
    )
    assert trace_graph(network, IMAGES).canonical() == expected.canonical()
    # Without widths, the same network twice as wide is the same.
    wider = Calls(forward, left=nn.Conv2d(3, 9, 5, padding=2), head=nn.Linear(12, 10))
    assert trace_graph(wider, IMAGES).key() != trace_graph(network, IMAGES).key()
    plain = trace_graph(wider, IMAGES, widths=False)
    assert plain.key() == trace_graph(network, IMAGES, widths=False).key()
    assert "conv_5x5" in plain.operations


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, value, other = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, value, other)
        return x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class TinyViT(nn.Module):
    def __init__(self, heads=2, patches=4):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, patches, stride=patches)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.position = nn.Parameter(torch.zeros(1, (8 // patches) ** 2 + 1, 8))
        self.block = Attention(8, heads)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.head(self.block(x)[:, 0])


def test_a_vision_transformer():
    expected = ArchGraph(
        (
            *("input", "conv_4x4_stride4/8", "layer_norm", "linear/24", "attention/2", "linear/8"),
            *("linear/10", "output"),
        ),
        ((0, 1), (1, 2), (2, 3), *[(3, 4)] * 3, (4, 5), (5, 6), (1, 6), (6, 7)),
    )
    assert trace_graph(TinyViT(), IMAGES).canonical() == expected.canonical()
    assert trace_graph(TinyViT(heads=4), IMAGES).key() != expected.key()


def test_sums_are_edges():
    double = ArchGraph(("input", "relu", "output"), ((0, 1), (0, 1), (1, 2)))
    assert trace_graph(Calls(lambda _, x: functional.relu(x + x)), IMAGES).canonical() == double
    difference = ArchGraph(("input", "relu", "neg", "output"), ((0, 1), (0, 3), (1, 2), (2, 3)))
    for function in (
        lambda _, x: x - functional.relu(x),
        lambda _, x: torch.rsub(functional.relu(x), x),
        lambda _, x: x + -functional.relu(x),
    ):
        assert key(function) == difference.key()
    assert key(lambda _, x: 1 - x) == chain("neg").key()
    product = ArchGraph(("input", "mul", "output"), ((0, 1), (0, 1), (1, 2)))
    assert key(lambda _, x: x * x) == product.key()


def test_several_inputs_and_outputs_are_one():
    network = Calls(lambda _, x, y: (functional.relu(x), functional.gelu(y)))
    graph = ArchGraph(("input", "relu", "gelu", "output"), ((0, 1), (0, 2), (1, 3), (2, 3)))
    assert trace_graph(network, (IMAGES, IMAGES)).key() == graph.key()
    assert key(lambda _, x: x) == ArchGraph(("input", "output"), ((0, 1),)).key()
    assert trace_graph(Calls(lambda _, x: torch.ones_like(x)), IMAGES).edges == ()


def test_what_does_not_lead_to_the_output_is_left_out():
    def forward(self, x):
        torch.sigmoid(x).sum()
        return functional.relu(x) + torch.tanh(x) * 0 + torch.zeros_like(torch.exp(x))

    assert trace_graph(Calls(forward), IMAGES).operations == ("input", "relu", "output")


# Equal and different networks


def test_code_that_computes_the_same_gives_the_same_graph():
    relu = chain("relu").key()
    modules = (nn.ReLU(), nn.ReLU(inplace=True), nn.Sequential(nn.Identity(), nn.ReLU()))
    assert {trace_graph(module, IMAGES).key() for module in modules} == {relu}
    for function in (
        lambda _, x: functional.relu(x),
        lambda _, x: x.clone().relu_(),
        lambda _, x: x.clamp(min=0),
        lambda _, x: functional.dropout(
            functional.relu(x.contiguous() * 0.5 + 1.0), training=False
        ),
    ):
        assert key(function) == relu
    pool = chain("global_avg_pool").key()
    assert key(lambda _, x: functional.adaptive_avg_pool2d(x, 1).flatten(1)) == pool
    assert (
        key(lambda _, x: functional.avg_pool2d(x, 8)) == key(lambda _, x: x.mean((-1, -2))) == pool
    )
    six = chain("relu6").key()
    assert trace_graph(nn.ReLU6(), IMAGES).key() == key(lambda _, x: functional.relu6(x)) == six
    linear = nn.Linear(8, 5)
    assert trace_graph(linear, IMAGES).key() == chain("linear/5").key()
    by_hand = key(lambda self, x: x @ self.inner.weight.T + self.inner.bias, inner=linear)
    assert by_hand == chain("linear/5").key()


def test_writes_in_place_are_followed():
    relu = ArchGraph(("input", "relu", "output"), ((0, 1), (1, 2), (1, 2)))

    def through_a_view(_, x):
        y = x.clone()
        y.view(-1).relu_()
        return y + y

    assert key(through_a_view) == relu.key()

    def filled(self, x):
        y = x.new_zeros(2, 6, 8, 8)
        y[:, :3] = self.norm(x)
        y[:, 3:] = torch.sigmoid(x)
        return y

    joined = ArchGraph(
        ("input", "batch_norm", "sigmoid", "concat", "output"),
        ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4)),
    )
    assert key(filled, norm=nn.BatchNorm2d(3)) == joined.key()


def test_blocks_without_gradients_are_looked_into():
    def forward(self, x):
        with torch.no_grad():
            y = torch.tanh(self.inner(x))
        return functional.relu(y)

    expected = chain("conv_1x1/4", "tanh", "relu")
    assert key(forward, inner=nn.Conv2d(3, 4, 1)) == expected.key()


def test_kernel_width_depth_stride_and_dropout_show():
    def network(kernel=3, width=8, depth=2, stride=1, rate=0.1, activation=nn.ReLU):
        layers = [nn.Conv2d(3, width, kernel, stride=stride, padding=kernel // 2)]
        for _ in range(depth - 1):
            layers += [activation(), nn.Conv2d(width, width, kernel, padding=kernel // 2)]
        return nn.Sequential(*layers, nn.Dropout(rate))

    settings = [
        *({}, {"kernel": 5}, {"width": 16}, {"depth": 3}, {"stride": 2}, {"rate": 0.2}),
        {"activation": nn.SiLU},
    ]
    keys = [trace_graph(network(**setting), IMAGES).key() for setting in settings]
    assert len(set(keys)) == len(settings)
    evaluated = {
        trace_graph(network(**setting).eval(), IMAGES).key() for setting in ({}, {"rate": 0.2})
    }
    assert len(evaluated) == 1


def test_cells_are_isomorphic_exactly_if_their_networks_are():
    space = get_space("nasbench201")
    rows = space.sample(8, np.random.default_rng(0))
    # Two pairs of isomorphic cells beside them: operations on parallel edges traded, and a zero
    # that cuts off what comes before it.
    texts = [
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|none~2|",
        "|avg_pool_3x3~0|+|none~0|none~1|+|nor_conv_3x3~0|skip_connect~1|none~2|",
        "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|skip_connect~2|",
        "|none~0|+|none~0|avg_pool_3x3~1|+|nor_conv_1x1~0|none~1|none~2|",
    ]
    archs = [*map(tuple, rows.tolist()), *map(space.parse, texts)]
    cells = [graph.key() for graph in space.graphs(archs)]
    networks = [
        trace_graph(space.build(arch, (1, 8, 8), 10, channels=4, cells=1), IMAGES[:, :1]).key()
        for arch in archs
    ]
    assert len(set(cells)) < len(archs)
    assert len(set(cells)) == len(set(networks)) == len(set(zip(cells, networks, strict=True)))


# What comes back, and what is refused


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.cells = nn.LSTM(8, 4, batch_first=True)
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.BatchNorm2d(3).eval()

    def forward(self, x):
        return self.cells(self.drop(self.frozen(self.norm(x)) + torch.rand(8)).flatten(1, 2))[0]


def test_the_module_and_random_streams_come_back_as_they_were():
    torch.manual_seed(0)
    network = Everything()
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    state = copy.deepcopy(network.state_dict())
    gradients = [
        parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None
    ]
    identities = [*map(id, network.parameters()), *map(id, network.cells._flat_weights)]
    modes = [module.training for module in network.modules()]
    attributes = [sorted(vars(module)) for module in network.modules()]
    stream, images = torch.get_rng_state(), torch.randn(2, 3, 8, 8)
    before = images.clone()
    stream = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = trace_graph(network, images)
    assert "lstm/4" in graph.operations
    assert torch.equal(torch.get_rng_state(), stream)
    assert torch.equal(images, before)
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    kept = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert all(map(torch.equal, gradients, kept))
    assert len(kept) == len(gradients)
    assert [*map(id, network.parameters()), *map(id, network.cells._flat_weights)] == identities
    assert [module.training for module in network.modules()] == modes
    assert [sorted(vars(module)) for module in network.modules()] == attributes
    network(images).sum().backward()


def test_control_flow_that_depends_on_data_is_refused_in_one_line(capfd):
    network = Calls(lambda _, x: functional.relu(x) if x.sum() > 0 else x)
    with pytest.raises(
        EncodingError, match="that torch.export can trace, .* in Calls: .* by hand"
    ) as caught:
        trace_graph(network, IMAGES)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_inputs_that_do_not_fit_and_what_is_no_module_are_refused():
    with pytest.raises(EncodingError, match="in Linear: .*; check the example inputs"):
        trace_graph(nn.Linear(5, 3), IMAGES)
    with pytest.raises(EncodingError, match=r"expected a torch.nn.Module to trace, found function"):
        trace_graph(functional.relu, IMAGES)

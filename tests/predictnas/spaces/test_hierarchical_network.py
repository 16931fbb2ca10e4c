"""The network against counts by hand, terms of numbers and the cells of NAS-Bench-201."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from predictnas.spaces import Hierarchical, hierarchical_network, nasbench201_network
from predictnas.spaces.hierarchical_network import compose, make_operation

SPACE = Hierarchical()
MIXED = (
    "Sequential4("
    "Sequential3(Diamond2(conv1x1, id, conv3x3, avg_pool), Sequential2(dconv3x3, id), down), "
    "Residual2(Cell(conv3x3, zero, id, conv1x1, zero, dconv3x3), down, down), "
    "Residual2(Residual2(conv3x3, id, conv1x1), Sequential3(id, avg_pool, conv3x3), id), "
    "Sequential2(conv1x1, dconv3x3))"
)
FACTORS = {"conv3x3": 2, "conv1x1": 3, "dconv3x3": 5, "avg_pool": 7, "down": 11, "id": 1, "zero": 0}


def random_tensor(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_those_counted_by_hand():
    def conv(size, width):
        return size * size * width * width + 2 * width

    def separable(width):
        return 9 * width + width * width + 2 * width

    def down(width):
        double = 2 * width
        return 9 * width * double + 2 * double + conv(3, double) + width * double

    for channels, classes in ((8, 10), (5, 3)):
        network = SPACE.build(SPACE.parse(MIXED), (3, 8, 8), classes, channels=channels)
        one, two, four = channels, 2 * channels, 4 * channels
        expected = 27 * channels + 2 * channels
        expected += conv(1, one) + conv(3, one) + separable(one) + down(one)
        expected += conv(3, two) + conv(1, two) + separable(two) + 2 * down(two)
        expected += conv(3, four) + conv(1, four) + conv(3, four)
        expected += conv(1, four) + separable(four)
        expected += 2 * four + four * classes + classes
        assert parameters(network) == expected


class Times(nn.Module):
    """Multiplies by a number."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def value(term):
    """Return what a term of numbers on the edges of motifs makes of 1."""
    if isinstance(term, str):
        return FACTORS[term]
    name, *arguments = term
    a, b, *more = map(value, arguments)
    if name.startswith("Sequential"):
        return a * b * int(np.prod(more))
    if name == "Residual2":
        return a * b + more[0]
    if name == "Diamond2":
        return a * more[0] + b * more[1]
    assert name == "Cell"
    c, d, e, f = more
    return d + a * e + (b + a * c) * f


def test_motifs_are_composed_as_the_term_says(monkeypatch):
    monkeypatch.setattr(
        hierarchical_network, "make_operation", lambda name, channels: Times(FACTORS[name])
    )
    for row in SPACE.sample(100, np.random.default_rng(0)):
        arguments = SPACE._network_arguments(tuple(row.tolist()))
        body, width = compose(arguments["term"], arguments["motifs"], channels=8)
        result = body(torch.ones(1, dtype=torch.float64))
        assert result.item() == value(arguments["term"])
        assert width == 32


def test_a_motif_may_list_its_edges_in_any_order(monkeypatch):
    monkeypatch.setattr(
        hierarchical_network, "make_operation", lambda name, channels: Times(FACTORS[name])
    )
    motifs = {"Late": ((1, 2), (0, 2), (0, 1))}
    body, _ = compose(("Late", "conv3x3", "conv1x1", "dconv3x3"), motifs, channels=1)
    assert body(torch.ones(1)).item() == 5 * 2 + 3


def test_a_cell_is_one_of_nasbench201():
    names = {
        "zero": "none",
        "id": "skip_connect",
        "conv1x1": "nor_conv_1x1",
        "conv3x3": "nor_conv_3x3",
        "avg_pool": "avg_pool_3x3",
    }
    rng = np.random.default_rng(0)
    for _ in range(10):
        operations = rng.choice(list(names), 6).tolist()
        cell, _ = compose(("Cell", *operations), SPACE.motifs, channels=4)
        published = nasbench201_network.Cell([names[each] for each in operations], 4)
        published.load_state_dict(cell.state_dict())
        x = random_tensor(3, 4, 7, 6)
        assert torch.equal(cell(x), published(x))


def test_down_is_the_reduction_of_nasbench201():
    published = nasbench201_network.Reduction(4, 8)
    down = make_operation("down", 4)
    published.load_state_dict(down.state_dict())
    for shape in ((8, 8), (7, 5), (1, 2)):
        x = random_tensor(2, 4, *shape)
        assert torch.equal(down(x), published(x))


def test_a_separable_convolution_is_one_a_channel_and_then_one_a_position():
    operation = make_operation("dconv3x3", 4).eval()
    x = random_tensor(2, 4, 6, 5)
    depthwise, pointwise = operation.op[1].weight, operation.op[2].weight
    inside = torch.stack(
        [
            functional.conv2d(x[:, [c]].clamp(min=0), depthwise[[c]], padding=1)[:, 0]
            for c in range(4)
        ],
        dim=1,
    )
    expected = torch.einsum("oi,bihw->bohw", pointwise[..., 0, 0], inside) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(operation(x), expected)


def test_the_network_is_stem_body_and_head():
    network = SPACE.build(SPACE.parse(MIXED), (2, 8, 8), 3, channels=4).eval()
    x = random_tensor(2, 2, 8, 8)
    body = network.body(network.stem(x))
    assert body.shape == (2, 16, 2, 2)
    features = (body / (1 + 1e-5) ** 0.5).clamp(min=0).mean(dim=(2, 3))
    torch.testing.assert_close(network(x), network.classifier(features))
    widths = [layer(network.stem(x)).shape for layer in network.body.layers[:1]]
    assert widths == [(2, 8, 4, 4)]


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 32, 32), (2, 5, 7)])
def test_any_image_size_from_four_on_works(shape):
    for row in SPACE.sample(3, np.random.default_rng(1)):
        logits = SPACE.build(row, shape, 3, channels=4)(random_tensor(4, *shape))
        assert logits.shape == (4, 3)
        assert torch.isfinite(logits).all()


def test_stages_are_blocks_one_after_the_other():
    from proxies import score

    network = SPACE.build(SPACE.parse(MIXED), (1, 8, 8), 3)
    scores = score(network, (random_tensor(8, 1, 8, 8), torch.arange(8) % 3), ["az_trainability"])
    assert scores["az_trainability"].status == "ok"


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match="avg_pool or down, found 'conv5x5'; use one of these"):
        make_operation("conv5x5", 4)

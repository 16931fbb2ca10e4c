"""The network against published parameter counts and a plain functional version of the paper."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from predictnas.spaces import NasBench101
from predictnas.spaces.nasbench101_network import Cell, NasBench101Network, vertex_widths

TABLE = Path(__file__).parents[3].parent / "shared" / "data" / "nasbench101_10k.parquet"

SPACE = NasBench101()
CONV1, CONV3, POOL = SPACE.operations
# Three vertices of different widths lead to the output, and so does the input.
WIDE = (
    ((0, 1, 1, 1, 1), (0, 0, 1, 0, 1), (0, 0, 0, 1, 1), (0, 0, 0, 0, 1), (0, 0, 0, 0, 0)),
    (CONV1, POOL, CONV3),
)
CHAIN = ((0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0)), (CONV3, POOL)
DIRECT = ((0, 1), (0, 0)), ()


def made(matrix, operations, shape=(3, 32, 32), classes=10, **scale):
    return NasBench101Network(matrix, operations, shape[0], classes, **scale)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def counted(matrix, operations, channels=128, cells=3):
    """Count the parameters of the published network from the paper's definition."""

    def conv(size, before, after):
        return size * size * before * after + 2 * after

    last = len(matrix) - 1
    ends = [vertex for vertex in range(1, last) if matrix[vertex][last]]
    before, total = channels, conv(3, 3, channels)
    for width in (channels, 2 * channels, 4 * channels):
        widths = {last: width}
        for vertex in range(last - 1, 0, -1):
            larger = vertex in ends[: width % len(ends)]
            widths[vertex] = (
                width // len(ends) + larger
                if vertex in ends
                else max(widths[t] for t in range(vertex + 1, last) if matrix[vertex][t])
            )
        for _ in range(cells):
            total += sum(conv(1, before, widths[t]) for t in range(1, last + 1) if matrix[0][t])
            for vertex, operation in enumerate(operations, start=1):
                if operation != POOL:
                    total += conv(1 if operation == CONV1 else 3, widths[vertex], widths[vertex])
            before = width
    return total + before * 10 + 10


@pytest.mark.parametrize("cell", [WIDE, CHAIN, DIRECT])
def test_parameters_are_those_counted_by_hand(cell):
    for channels, cells in ((128, 3), (16, 2)):
        with torch.device("meta"):
            network = made(*cell, channels=channels, cells=cells)
        assert parameters(network) == counted(*cell, channels, cells)


def test_the_published_parameter_counts(monkeypatch):
    if not TABLE.exists():
        pytest.skip("the published table ../shared/data/nasbench101_10k.parquet is absent")
    table = pytest.importorskip("pandas").read_parquet(TABLE)[:200]
    # Only sizes matter here, and drawing the weights is what takes the time.
    for module in (nn.Conv2d, nn.Linear):
        monkeypatch.setattr(module, "reset_parameters", lambda self: None)
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda tensor, **_: tensor)
    found = []
    for text in table["arch"]:
        with torch.device("meta"):
            network = SPACE.build(SPACE.parse(text), (3, 32, 32), 10, channels=128)
        found.append(parameters(network))
    assert found == table["params"].tolist()


def test_isomorphic_cells_have_the_same_network():
    matrix, operations = np.array(WIDE[0]), np.array(["input", *WIDE[1], "output"])
    # Vertices 1 and 2 have no edge between them now, so they can trade places.
    matrix[1, 2] = 0
    networks = []
    for order in ([0, 1, 2, 3, 4], [0, 2, 1, 3, 4]):
        edges = matrix[np.ix_(order, order)]
        assert not np.tril(edges).any()
        text = json.dumps({"matrix": edges.tolist(), "ops": operations[order].tolist()})
        networks.append(SPACE.build(SPACE.parse(text), (1, 8, 8), 2, channels=4, cells=1))
    one, other = ({k: v.shape for k, v in each.state_dict().items()} for each in networks)
    assert one == other


def test_widths_worked_by_hand():
    # Vertices 2 and 3 lead to the output; 1 leads to both.
    matrix = ((0, 1, 0, 0, 0), (0, 0, 1, 1, 0), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1), (0, 0, 0, 0, 0))
    assert vertex_widths(matrix, 9) == [0, 5, 5, 4, 9]
    assert vertex_widths(matrix, 8) == [0, 4, 4, 4, 8]
    assert vertex_widths(matrix, 1) == [0, 1, 1, 1, 1]
    assert vertex_widths(WIDE[0], 128) == [0, 43, 43, 42, 128]
    assert vertex_widths(DIRECT[0], 7) == [0, 7]


def conv_bn_relu(x, state, prefix):
    weight = state[f"{prefix}.op.0.weight"]
    x = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
    mean, variance = state[f"{prefix}.op.1.running_mean"], state[f"{prefix}.op.1.running_var"]
    x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    scale, shift = state[f"{prefix}.op.1.weight"], state[f"{prefix}.op.1.bias"]
    return (x * scale[:, None, None] + shift[:, None, None]).clamp(min=0)


def published(x, state, matrix, operations, cells):
    """Compute the network of the paper in evaluation mode from a state dictionary."""
    last = len(matrix) - 1
    x = conv_bn_relu(x, state, "stem")
    for stage in range(3):
        if stage > 0:
            x = functional.max_pool2d(x, 2)
        for cell in range(cells):
            prefix = f"stages.{stage}.{cell + (stage > 0)}"
            values = {}
            for vertex, operation in enumerate(operations, start=1):
                terms = [values[source] for source in values if matrix[source][vertex]]
                if matrix[0][vertex]:
                    terms.append(conv_bn_relu(x, state, f"{prefix}.projections.{vertex}"))
                width = min(term.shape[1] for term in terms)
                total = sum(term[:, :width] for term in terms)
                values[vertex] = (
                    functional.max_pool2d(total, 3, stride=1, padding=1)
                    if operation == POOL
                    else conv_bn_relu(total, state, f"{prefix}.vertices.{vertex - 1}")
                )
            ends = [value for vertex, value in values.items() if matrix[vertex][last]]
            merged = torch.cat(ends, dim=1) if ends else 0
            if matrix[0][last]:
                merged = merged + conv_bn_relu(x, state, f"{prefix}.projections.{last}")
            x = merged
    return x.mean(dim=(2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]


def test_outputs_agree_with_the_paper_written_out():
    generator = torch.Generator().manual_seed(0)
    cells = [WIDE, CHAIN, DIRECT]
    for text in SPACE.format_all(SPACE.sample(4, np.random.default_rng(0))):
        cell = json.loads(text)
        cells.append((cell["matrix"], cell["ops"][1:-1]))
    for matrix, operations in cells:
        network = made(matrix, operations, classes=5, channels=8, cells=2).double().eval()
        state = network.state_dict()
        for value in state.values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.1)
                if value.ndim == 4:
                    value.sub_(0.6)
        images = torch.randn(2, 3, 8, 12, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            expected = published(images, state, matrix, operations, cells=2)
            torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (3, 32, 32), (2, 5, 7)])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_image_size_from_four_on_and_few_channels_work(shape, channels):
    for cell in (WIDE, CHAIN, DIRECT):
        network = made(*cell, shape, 3, channels=channels, cells=1)
        logits = network(torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (4, 3)
        assert torch.isfinite(logits).all()


def test_a_cell_worked_by_hand():
    # A pooling of a projection with weight 3, to which a projection with weight 2 is added.
    cell = Cell(((0, 1, 1), (0, 0, 1), (0, 0, 0)), (POOL,), 1, 1).eval()
    for name, weight in (("1", 3.0), ("2", 2.0)):
        nn.init.constant_(cell.projections[name].op[0].weight, weight)
    x = torch.tensor([[-1.0, 0.0, 1.0, 5.0]]).reshape(1, 1, 1, 4)
    expected = torch.tensor([0.0, 3.0, 17.0, 25.0]).reshape(1, 1, 1, 4)
    torch.testing.assert_close(cell(x) * (1 + 1e-5) ** 0.5, expected)


def test_weights_start_as_published():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = made(*CHAIN, classes=50, channels=16, cells=1)
    weight = network.stages[2][1].vertices[0].op[0].weight
    assert weight.std().item() == pytest.approx((9 * 64) ** -0.5, rel=0.02)
    head = network.classifier.weight
    assert head.std().item() == pytest.approx((2 / (64 + 50)) ** 0.5, rel=0.05)
    assert not network.classifier.bias.any()


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match=r"expected conv1x1-bn-relu, .*, found 'conv'; use one"):
        NasBench101Network(CHAIN[0], ("conv", POOL), 1, num_classes=2, channels=2, cells=1)

import numpy as np
import pytest
import torch

from encoders import ArchGraph
from predictnas.predictors.flow_graph import Flow, FlowGraphs
from predictnas.predictors.flow_network import (
    FlowWeights,
    embed,
    initial_weights,
    read_out,
    score,
)

OPERATIONS = ("conv", "pool")
CODES = {"input": 0, "conv": 1, "pool": 2, "output": 3}
CELL = ArchGraph(
    ("input", "conv", "pool", "conv", "output"),
    ((0, 1), (0, 2), (0, 2), (1, 3), (2, 3), (1, 4), (3, 4), (3, 4), (3, 4)),
)
CHAIN = ArchGraph(("input", "pool", "output"), ((0, 1), (1, 2)))
DEAD = ArchGraph(("input", "output"), ())


@pytest.fixture
def weights():
    drawn = initial_weights(3, len(OPERATIONS), 4, 2, 8, 1, np.random.default_rng(0))
    generator = torch.Generator().manual_seed(0)
    # Biases and the last layer start at zero; here they must matter.
    return FlowWeights(
        *(
            (each + 0.1 * torch.randn(each.shape, generator=generator)).to(torch.float64)
            for each in drawn
        )
    )


def flow(*graphs):
    return Flow(FlowGraphs.of(graphs, OPERATIONS), torch.float64)


def by_hand(weights, graph, member):
    """One member and one graph, node after node, as the formulas are printed."""
    start, gates, turn, bias, own, *_ = (each.numpy() for each in weights)
    gates = 1 / (1 + np.exp(-gates[:, :, member]))
    codes = [CODES[name] for name in graph.operations]
    repeats = np.zeros((graph.num_nodes, graph.num_nodes))
    for edge in graph.edges:
        repeats[edge] += 1
    counts = np.log2(1 + repeats)
    order = graph.topological_order()
    there = np.zeros((graph.num_nodes, 4))
    back = np.zeros((graph.num_nodes, 4))
    for node in order:
        arrived = start[0, member] if codes[node] == 0 else counts[:, node] @ there
        turned = bias[0, member, 0] + arrived @ turn[0, member]
        there[node] = gates[0, codes[node]] * np.maximum(turned, 0)
    for node in reversed(order):
        arrived = start[1, member] if codes[node] == 3 else counts[node] @ back
        turned = bias[1, member, 0] + there[node] @ own[member] + arrived @ turn[1, member]
        back[node] = gates[1, codes[node]] * np.maximum(turned, 0)
    ends = codes.index(3), codes.index(0)
    return np.concatenate([there[ends[0]], back[ends[1]], back.mean(axis=0)])


def test_embedding_worked_by_hand(weights):
    graphs = [CELL, CHAIN, DEAD]
    found = embed(weights, flow(*graphs)).numpy()
    assert found.shape == (3, 3, 12)
    for member in range(3):
        for row, graph in enumerate(graphs):
            expected = by_hand(weights, graph, member)
            np.testing.assert_allclose(found[member, row], expected, rtol=1e-12, atol=1e-14)


def test_direction_operations_and_repeats_matter(weights):
    edges = ((0, 1), (0, 2), (1, 3), (3, 2), (2, 4), (0, 4))
    names = ("input", "conv", "pool", "pool", "output")
    graph = ArchGraph(names, edges)
    turned = ArchGraph(names, tuple((4 - target, 4 - source) for source, target in edges))
    swapped = ArchGraph(("input", "pool", "conv", "pool", "output"), edges)
    repeated = ArchGraph(names, (*edges, (0, 4)))
    points = embed(weights, flow(graph, turned, swapped, repeated))[0]
    assert torch.cdist(points, points).add(torch.eye(4)).min() > 1e-3


def test_numbers_of_nodes_do_not_matter(weights):
    rng = np.random.default_rng(1)
    renumbered = []
    for _ in range(6):
        place = rng.permutation(CELL.num_nodes)
        names = [""] * CELL.num_nodes
        for node, name in enumerate(CELL.operations):
            names[place[node]] = name
        edges = tuple((int(place[source]), int(place[target])) for source, target in CELL.edges)
        renumbered.append(ArchGraph(tuple(names), edges))
    points = embed(weights, flow(CELL, *renumbered))
    torch.testing.assert_close(points, points[:, :1].expand_as(points), rtol=1e-12, atol=1e-14)


def test_a_graph_does_not_hear_from_the_others_of_its_batch(weights):
    together = embed(weights, flow(CELL, DEAD, CHAIN))
    for row, graph in enumerate((CELL, DEAD, CHAIN)):
        alone = embed(weights, flow(graph))[:, 0]
        torch.testing.assert_close(together[:, row], alone, rtol=1e-12, atol=1e-14)


def test_scores_are_two_layers_over_embedding_and_numbers(weights):
    numbers = torch.tensor([[0.5, -1.0], [2.0, 0.0]], dtype=torch.float64)
    points = embed(weights, flow(CELL, CHAIN))
    scores = score(weights, flow(CELL, CHAIN), numbers)
    assert scores.shape == (3, 2, 1)
    for member in range(3):
        rows = torch.cat([points[member], numbers], dim=1)
        both = torch.cat([weights.read[member], weights.read_numbers[member]])
        hidden = (rows @ both + weights.read_bias[member]).relu()
        expected = hidden @ weights.last[member] + weights.last_bias[member]
        torch.testing.assert_close(scores[member], expected)


def test_without_graphs_numbers_are_read_alone():
    drawn = initial_weights(2, 0, 0, 3, 8, 1, np.random.default_rng(0))
    numbers = torch.ones(5, 3)
    scores = score(drawn, None, numbers)
    torch.testing.assert_close(scores, read_out(drawn, numbers @ drawn.read_numbers))
    assert scores.shape == (2, 5, 1)


def test_untrained_members_say_nothing_and_differ_inside():
    drawn = initial_weights(2, 2, 4, 0, 8, 1, np.random.default_rng(0))
    flows = Flow(FlowGraphs.of([CELL, CHAIN], OPERATIONS), torch.float32)
    assert (score(drawn, flows, torch.empty(2, 0)) == 0).all()
    points = embed(drawn, flows)
    assert (points[0] - points[1]).abs().max() > 0.1


def test_derivatives_by_hand_are_those_of_finite_differences(weights):
    flows = flow(CELL, CHAIN, DEAD)
    parts = [each.clone().requires_grad_() for each in weights[:5]]

    def embedded(*parts):
        return embed(FlowWeights(*parts, *weights[5:]), flows)

    assert torch.autograd.gradcheck(embedded, parts)


def test_some_graphs_of_many_are_what_they_are_alone(weights):
    many = FlowGraphs.of([CELL, CHAIN, DEAD], OPERATIONS)
    taken = embed(weights, Flow(many.taken(np.array([2, 0, 2])), torch.float64))
    alone = embed(weights, flow(DEAD, CELL, DEAD))
    torch.testing.assert_close(taken, alone, rtol=1e-12, atol=1e-14)

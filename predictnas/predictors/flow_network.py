"""Many graph networks at once, through which an input flows along the edges and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Batch
from torch_geometric.utils import scatter

__all__ = ["Flow", "FlowWeights", "embed", "hear", "initial_weights", "read_out", "score"]

ALONG, AGAINST = 0, 1


class FlowWeights(NamedTuple):
    """The weights of `s` members.

    With `k` operations, `d` entries of a node's state, `g` numbers beside every graph, `h` hidden
    units and `t` scores. The first axis of the first four is the direction: along the edges, or
    against them. Without graphs, `d` is 0.

    Attributes
    ----------
    start
        What enters the graph, ``(2, s, d)``.
    gates
        What opens the gate of an operation, ``(2, k + 2, s, d)``.
    turn
        What becomes of that which arrives at a node, ``(2, s, d, d)``.
    bias
        Added to it, ``(2, s, 1, d)``.
    own
        What a node adds on the way back of its state on the way there, ``(s, d, d)``.
    read
        From the embedding of the graph to hidden units, ``(s, 3 d, h)``.
    read_numbers
        From the numbers beside it to hidden units, ``(s, g, h)``.
    read_bias
        Added to hidden units, ``(s, 1, h)``.
    last
        From hidden units to scores, ``(s, h, t)``.
    last_bias
        Added to scores, ``(s, 1, t)``.
    """

    start: Tensor
    gates: Tensor
    turn: Tensor
    bias: Tensor
    own: Tensor
    read: Tensor
    read_numbers: Tensor
    read_bias: Tensor
    last: Tensor
    last_bias: Tensor


def initial_weights(
    members: int,
    operations: int,
    width: int,
    numbers: int,
    hidden: int,
    outputs: int,
    generator: np.random.Generator,
) -> FlowWeights:
    """Draw weights in single precision that keep the variance of states.

    The last layer starts at zero: members then differ in what they compute, not in what they say,
    and where nothing can be learned they say nothing.
    """

    def drawn(*shape: int, variance: float = 1.0) -> Tensor:
        values = np.sqrt(variance) * generator.normal(size=shape)
        return torch.tensor(values, dtype=torch.float32)

    inputs = 3 * width + numbers
    zeros = torch.zeros(members, 1, hidden + width + outputs, dtype=torch.float32)
    return FlowWeights(
        start=drawn(2, members, width),
        gates=drawn(2, operations + 2, members, width),
        turn=drawn(2, members, width, width, variance=2 / max(width, 1)),
        bias=zeros[:, :, :width].repeat(2, 1, 1, 1),
        own=drawn(members, width, width, variance=1 / max(width, 1)),
        read=drawn(members, 3 * width, hidden, variance=2 / max(inputs, 1)),
        read_numbers=drawn(members, numbers, hidden, variance=2 / max(inputs, 1)),
        read_bias=zeros[:, :, :hidden].clone(),
        last=torch.zeros(members, hidden, outputs, dtype=torch.float32),
        last_bias=zeros[:, :, :outputs].clone(),
    )


@dataclass(frozen=True, eq=False)
class _Level:
    """The nodes of all graphs that equally long paths lead to at the most.

    Attributes
    ----------
    nodes
        Their numbers in the batch, shape ``(n,)``.
    sources
        Pairs of an earlier level and places in it: where the `e` edges to these nodes come from.
    targets
        The places in this level that they lead to, shape ``(e,)``.
    weights
        How much each counts, shape ``(e, 1, 1)``.
    """

    nodes: Tensor
    sources: tuple[tuple[int, Tensor], ...]
    targets: Tensor
    weights: Tensor


class Flow:
    r"""The order in which nodes of a batch of graphs hear from each other.

    A repeated edge counts :math:`\log_2(1 + \text{repeats})`.

    Parameters
    ----------
    batch
        `b` canonical graphs, see `encoders.pyg.to_pyg`.
    dtype
        The type of all that is computed.
    """

    def __init__(self, batch: Batch, dtype: torch.dtype) -> None:
        edges: Tensor = batch.edge_index
        weights = torch.log2(1 + batch.edge_weight.to(torch.float64)).to(dtype)
        self.operations = batch.x.argmax(dim=1)
        self.graph: Tensor = batch.batch
        self.size: int = batch.num_graphs
        self.levels = (_levels(edges, weights, self), _levels(edges.flip(0), weights, self))
        # Where a node stands once the levels of a direction are put one after the other.
        self.places = tuple(_inverse([level.nodes for level in levels]) for levels in self.levels)
        self.ends: tuple[Tensor, Tensor] = (batch.ptr[1:] - 1, batch.ptr[:-1])


def embed(weights: FlowWeights, flow: Flow) -> Tensor:
    r"""Return the embeddings of `b` graphs by `s` members, shape ``(s, b, 3 d)``.

    With the operation :math:`o_v` of node `v`, its gate :math:`\gamma` and the logistic function
    :math:`\sigma`, what flows along the edges is

    .. math::
        h_v = \sigma(\gamma_{o_v}) \odot \mathrm{relu}\Big(b + W \sum_u w_{uv} h_u\Big),

    from a learned start at the input, node after node; and what flows back from a learned start
    at the output, with weights of its own,

    .. math::
        g_v = \sigma(\gamma'_{o_v}) \odot \mathrm{relu}\Big(b' + U h_v + W' \sum_u w_{vu} g_u\Big).

    The embedding of a graph is `h` of its output, `g` of its input, and the mean of `g`.

    References
    ----------
    X. Ning, Y. Zheng, T. Zhao, Y. Wang, H. Yang. A generic graph-based neural architecture
    encoding scheme for predictor-based NAS. ECCV 2020 (arXiv:2004.01899), section 3.2, for gates.
    D. Hwang, H. Kim, S. Kim, K. Shin. FlowerFormer: empowering neural architecture encoding using
    a flow-aware graph transformer. CVPR 2024 (arXiv:2403.12821), section 4.1, for both ways.
    """
    there = _pass(weights, flow, ALONG, None)[flow.places[ALONG]]
    back = _pass(weights, flow, AGAINST, there)[flow.places[AGAINST]]
    mean = scatter(back, flow.graph, dim=0, dim_size=flow.size, reduce="mean")
    parts = there[flow.ends[ALONG]], back[flow.ends[AGAINST]], mean
    return torch.cat(parts, dim=2).transpose(0, 1)


def hear(weights: FlowWeights, flow: Flow) -> Tensor:
    """Return what graphs say to hidden units, before they are rectified, shape ``(s, b, h)``."""
    return torch.baddbmm(weights.read_bias, embed(weights, flow), weights.read)


def read_out(weights: FlowWeights, heard: Tensor, numbers: Tensor) -> Tensor:
    """Return the scores ``(s, b, t)`` of what graphs say, and of numbers ``(b, g)`` beside them.

    Without graphs, what they say is the bias of the hidden units.
    """
    rows = numbers.expand(len(weights.last), -1, -1)
    hidden = torch.baddbmm(heard, rows, weights.read_numbers)
    return torch.baddbmm(weights.last_bias, hidden.relu(), weights.last)


def score(weights: FlowWeights, flow: Flow | None, numbers: Tensor) -> Tensor:
    """Return the scores ``(s, b, t)`` of graphs with numbers ``(b, g)`` beside them."""
    heard = weights.read_bias if flow is None else hear(weights, flow)
    return read_out(weights, heard, numbers)


def _pass(weights: FlowWeights, flow: Flow, direction: int, there: Tensor | None) -> Tensor:
    """Return the states ``(N, s, d)`` of nodes in one direction, level after level."""
    start, turn, bias = weights.start[direction], weights.turn[direction], weights.bias[direction]
    gates = weights.gates[direction].sigmoid()
    origin = (0, len(gates) - 1)[direction]
    states: list[Tensor] = []
    for level in flow.levels[direction]:
        operations = flow.operations[level.nodes]
        if level.sources:
            heard = torch.cat([states[at].index_select(0, rows) for at, rows in level.sources])
            size = len(level.nodes)
            arrived = scatter(heard * level.weights, level.targets, 0, size, reduce="sum")
        else:  # an output that nothing leads to hears nothing
            arrived = start * (operations == origin)[:, None, None]
        base = bias
        if there is not None:
            own = there.index_select(0, level.nodes).transpose(0, 1)
            base = torch.baddbmm(bias, own, weights.own)
        turned = torch.baddbmm(base, arrived.transpose(0, 1), turn).relu()
        states.append(gates.index_select(0, operations) * turned.transpose(0, 1))
    return torch.cat(states)


def _levels(edges: Tensor, weights: Tensor, flow: Flow) -> list[_Level]:
    """Sort nodes by the longest path that leads to them, and edges by the level they lead to."""
    sources, targets = edges.numpy()
    depth = np.zeros(len(flow.operations), dtype=np.int64)
    while True:
        deeper = depth.copy()
        np.maximum.at(deeper, targets, depth[sources] + 1)
        if np.array_equal(deeper, depth):
            break
        depth = deeper
    nodes = [np.flatnonzero(depth == level) for level in range(int(depth.max()) + 1)]
    place = np.empty_like(depth)
    for members in nodes:
        place[members] = np.arange(len(members))
    # Edges to one level lie together, and within it those from one level.
    order = np.lexsort((depth[sources], depth[targets]))
    sources, targets, ranked = sources[order], targets[order], weights[torch.from_numpy(order)]
    bounds = np.searchsorted(depth[targets], np.arange(len(nodes) + 1))
    levels = []
    for members, (first, last) in zip(nodes, pairwise(bounds.tolist()), strict=True):
        into = slice(first, last)
        levels.append(
            _Level(
                nodes=torch.from_numpy(members),
                sources=_split(depth[sources[into]], place[sources[into]]),
                targets=torch.from_numpy(place[targets[into]]),
                weights=ranked[into, None, None],
            )
        )
    return levels


def _split(levels: NDArray[np.int64], places: NDArray[np.int64]) -> tuple[tuple[int, Tensor], ...]:
    """Return each level, of sorted ones, with the places that belong to it."""
    found, starts = np.unique(levels, return_index=True)
    parts = np.split(places, starts[1:])
    return tuple(
        (level, torch.from_numpy(part)) for level, part in zip(found.tolist(), parts, strict=False)
    )


def _inverse(parts: Sequence[Tensor]) -> Tensor:
    """Return where every number stands in the parts put one after the other."""
    return torch.cat(list(parts)).argsort()

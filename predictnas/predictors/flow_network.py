"""Many graph networks at once, through which an input flows along the edges and back."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from predictnas.predictors.dense import affine
from predictnas.predictors.flow_graph import Flow, Level, Pass

__all__ = ["FlowWeights", "embed", "hear", "initial_weights", "read_out", "score"]

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
    arguments = weights.start, weights.gates, weights.turn, weights.bias, weights.own
    embedded: Tensor = _Embedding.apply(flow, *arguments)  # type: ignore[no-untyped-call]
    return embedded


def hear(weights: FlowWeights, flow: Flow) -> Tensor:
    """Return what graphs say to hidden units, before they are rectified, shape ``(s, b, h)``."""
    return affine(weights.read_bias, embed(weights, flow), weights.read)


def read_out(weights: FlowWeights, hidden: Tensor) -> Tensor:
    """Return the scores ``(s, b, t)`` by hidden units before they are rectified, ``(s, b, h)``."""
    return affine(weights.last_bias, hidden.relu(), weights.last)


def score(weights: FlowWeights, flow: Flow | None, numbers: Tensor) -> Tensor:
    """Return the scores ``(s, b, t)`` of graphs with numbers ``(b, g)`` beside them.

    Without graphs, what they say to hidden units is the bias.
    """
    heard = weights.read_bias if flow is None else hear(weights, flow)
    rows = numbers.expand(len(weights.last), -1, -1)
    return read_out(weights, affine(heard, rows, weights.read_numbers))


class _Embedding(torch.autograd.Function):
    """Embeddings with derivatives by hand, for all nodes at once where they allow it.

    States have the shape ``(N, s, d)``, in the order of a pass; products by the weights of members
    look at them as ``(s, N, d)``. Recorded operation by operation, the derivatives of a level of a
    few hundred nodes took longer to find than to compute.
    """

    @staticmethod
    def forward(
        ctx: Any, flow: Flow, start: Tensor, gates: Tensor, turn: Tensor, bias: Tensor, own: Tensor
    ) -> Tensor:
        opened = gates.sigmoid()
        there, back = flow.passes
        nodes = len(there.order)
        base = bias[ALONG].expand(-1, nodes, -1)
        along = _States.along(there, start[ALONG], opened[ALONG], turn[ALONG], base)
        heard = along.values.index_select(0, there.place.index_select(0, back.order))
        base = affine(bias[AGAINST], heard.transpose(0, 1), own)
        against = _States.along(back, start[AGAINST], opened[AGAINST], turn[AGAINST], base)
        parts = (
            along.values.index_select(0, flow.exits),
            against.values.index_select(0, flow.entries),
            _times(flow.means, against.values),
        )
        ctx.flow, ctx.states, ctx.heard = flow, (along, against), heard
        ctx.save_for_backward(opened, turn, own)
        return torch.cat(parts, dim=2).transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        flow: Flow = ctx.flow
        opened, turn, own = ctx.saved_tensors
        there, back = flow.passes
        along, against = ctx.states
        of_exit, of_entry, of_mean = gradient.transpose(0, 1).chunk(3, dim=2)
        of_back = _times(flow.means.t(), of_mean.contiguous())
        of_back.index_add_(0, flow.entries, of_entry)
        second = against.backward(back, of_back, turn[AGAINST])
        of_heard = second.turned.transpose(0, 1) @ own.mT
        of_own = ctx.heard.permute(1, 2, 0) @ second.turned.transpose(0, 1)
        of_there = of_heard.transpose(0, 1).index_select(0, back.place.index_select(0, there.order))
        of_there.index_add_(0, flow.exits, of_exit)
        first = along.backward(there, of_there, turn[ALONG])
        return (
            None,
            torch.stack([first.start, second.start]),
            torch.stack([first.gates, second.gates]) * opened * (1 - opened),
            torch.stack([first.turn, second.turn]),
            torch.stack([first.bias, second.bias]),
            of_own,
        )


class _Gradients(NamedTuple):
    """What a loss gains by what enters a pass; `turned` is that before it is rectified."""

    start: Tensor
    gates: Tensor
    turn: Tensor
    bias: Tensor
    turned: Tensor


@dataclass(frozen=True, eq=False)
class _States:
    """What nodes hear, what becomes of it behind the rectifier, and their states."""

    arrived: Tensor
    rectified: Tensor
    values: Tensor
    opened: Tensor

    @classmethod
    def along(
        cls,
        nodes: Pass,
        start: Tensor,
        gates: Tensor,
        turn: Tensor,
        base: Tensor,
    ) -> Self:
        """Let nodes hear, level after level, and add to it a base, ``(s, N, d)``."""
        opened = gates.index_select(0, nodes.operations)
        arrived, rectified, values = (torch.empty_like(opened) for _ in range(3))
        for level in nodes.levels:
            rows = slice(level.first, level.last)
            if level.messages is None:
                arrived[rows] = start * _is_origin(nodes, level)
            else:
                arrived[rows] = _times(level.messages, values[: level.first])
            turned = affine(base[:, rows], arrived[rows].transpose(0, 1), turn)
            torch.clamp(turned.transpose(0, 1), min=0, out=rectified[rows])
            torch.mul(opened[rows], rectified[rows], out=values[rows])
        return cls(arrived, rectified, values, opened)

    def backward(self, nodes: Pass, gradient: Tensor, turn: Tensor) -> _Gradients:
        """Return what a loss gains, from what it gains by the states, which is overwritten."""
        turned = torch.empty_like(gradient)
        start = torch.zeros_like(gradient[0])
        passes = self.opened * (self.rectified > 0)
        for level in reversed(nodes.levels):
            rows = slice(level.first, level.last)
            torch.mul(gradient[rows], passes[rows], out=turned[rows])
            arriving = (turned[rows].transpose(0, 1) @ turn.mT).transpose(0, 1)
            if level.answers is None:
                start += (arriving * _is_origin(nodes, level)).sum(dim=0)
            else:
                gradient[: level.first] += _times(level.answers, arriving)
        by_member = turned.transpose(0, 1)
        return _Gradients(
            start=start,
            gates=_times(nodes.chosen, gradient * self.rectified),
            turn=self.arrived.permute(1, 2, 0) @ by_member,
            bias=by_member.sum(dim=1, keepdim=True),
            turned=turned,
        )


def _times(matrix: Tensor, states: Tensor) -> Tensor:
    """Return the product of a sparse matrix ``(m, n)`` with states ``(n, s, d)``."""
    product: Tensor = torch.sparse.mm(matrix, states.reshape(len(states), -1))
    return product.view(-1, *states.shape[1:])


def _is_origin(nodes: Pass, level: Level) -> Tensor:
    """Return whether the nodes of a level are where a pass begins; others hear nothing."""
    return (nodes.operations[level.first : level.last] == nodes.origin)[:, None, None]

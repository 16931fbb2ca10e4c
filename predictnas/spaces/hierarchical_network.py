"""Networks composed of motifs of operations, in one file that needs torch alone.

References
----------
S. Schrodi, D. Stoll, B. Ru, R. Sukthanker, T. Brox, F. Hutter. Construction of hierarchical neural
architecture search spaces based on context-free grammars. NeurIPS 2023 (arXiv:2211.01842).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["HierarchicalNetwork"]


class Zero(nn.Module):
    """The operation that returns zero."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of the shape of `x`."""
        return x.mul(0.0)


class ReLUConvBN(nn.Module):
    """ReLU, convolution without bias, batch normalisation.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    kernel_size
        Side of the kernel; the padding keeps the size at stride 1.
    stride
        Stride of the convolution.
    separable
        Whether the convolution is one for each channel followed by one of 1 × 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(
                in_channels,
                in_channels if separable else out_channels,
                kernel_size,
                stride=stride,
                padding=kernel_size // 2,
                groups=in_channels if separable else 1,
                bias=False,
            ),
        )
        if separable:
            self.op.append(nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False))
        self.op.append(nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H / stride, W / stride)."""
        out: Tensor = self.op(x)
        return out


class Down(nn.Module):
    """A residual block that halves height and width, rounding up, and doubles the channels.

    Parameters
    ----------
    channels
        Channels before.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(channels, 2 * channels, kernel_size=3, stride=2)
        self.conv_b = ReLUConvBN(2 * channels, 2 * channels, kernel_size=3)
        self.downsample = nn.Sequential(
            # Rounding up changes nothing for even sizes; for odd ones it agrees with conv_a.
            nn.AvgPool2d(2, stride=2, padding=0, ceil_mode=True),
            nn.Conv2d(channels, 2 * channels, kernel_size=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, H, W) to (batch, 2 channels, ceil(H / 2), ceil(W / 2))."""
        out: Tensor = self.downsample(x) + self.conv_b(self.conv_a(x))
        return out


def make_operation(name: str, channels: int) -> nn.Module:
    """Return an operation on `channels` channels.

    Raises
    ------
    ValueError
        If the name is that of none.
    """
    if name == "zero":
        return Zero()
    if name == "id":
        return nn.Identity()
    if name == "conv1x1":
        return ReLUConvBN(channels, channels, kernel_size=1)
    if name == "conv3x3":
        return ReLUConvBN(channels, channels, kernel_size=3)
    if name == "dconv3x3":
        return ReLUConvBN(channels, channels, kernel_size=3, separable=True)
    if name == "avg_pool":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    if name == "down":
        return Down(channels)
    raise ValueError(
        "expected zero, id, conv1x1, conv3x3, dconv3x3, avg_pool or down, "
        f"found {name!r}; use one of these"
    )


class Motif(nn.Module):
    """A small graph with an operation or another motif on every edge; nodes add up their edges.

    Parameters
    ----------
    edges
        Pairs (from, to) from lower to higher nodes. Node 0 is the input, the last the output.
    arguments
        What is on the edges, see `compose`.
    motifs
        For every motif its edges.
    channels
        Channels of the input.

    Attributes
    ----------
    out_channels
        Channels of the output.
    """

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        arguments: Sequence[Any],
        motifs: Mapping[str, Sequence[tuple[int, int]]],
        channels: int,
    ) -> None:
        super().__init__()
        # An edge is computed when those into its source have been.
        order = sorted(range(len(edges)), key=lambda edge: edges[edge][1])
        self.edges = [edges[edge] for edge in order]
        self.layers = nn.ModuleList()
        widths = {0: channels}
        for edge in order:
            source, target = edges[edge]
            layer, widths[target] = compose(arguments[edge], motifs, widths[source])
            self.layers.append(layer)
        self.out_channels: int = widths[max(widths)]

    def forward(self, x: Tensor) -> Tensor:
        """Map node 0, (batch, channels, H, W), to the last node."""
        nodes = {0: x}
        for (source, target), layer in zip(self.edges, self.layers, strict=True):
            out = layer(nodes[source])
            nodes[target] = nodes[target] + out if target in nodes else out
        return nodes[max(nodes)]


def compose(
    term: str | tuple[Any, ...], motifs: Mapping[str, Sequence[tuple[int, int]]], channels: int
) -> tuple[nn.Module, int]:
    """Return the module of a term, and how many channels it makes of `channels`.

    Parameters
    ----------
    term
        The name of an operation, or the name of a motif and what is on its edges, in a tuple.
    motifs
        For every motif its edges.
    channels
        Channels of the input.
    """
    if isinstance(term, str):
        return make_operation(term, channels), 2 * channels if term == "down" else channels
    motif = Motif(motifs[term[0]], term[1:], motifs, channels)
    return motif, motif.out_channels


class HierarchicalNetwork(nn.Module):
    """Stem, a motif of motifs, and a linear head.

    Parameters
    ----------
    term
        Motifs of operations, see `compose`.
    motifs
        For every motif its edges: pairs (from, to) from lower to higher nodes.
    in_channels
        Channels of the images.
    num_classes
        The number of outputs.
    channels
        Channels behind the stem.
    """

    def __init__(
        self,
        term: str | tuple[Any, ...],
        motifs: Mapping[str, Sequence[tuple[int, int]]],
        in_channels: int,
        num_classes: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.body, width = compose(term, motifs, channels)
        self.lastact = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        x = self.body(self.stem(x))
        x = self.global_pooling(self.lastact(x))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits

"""The network of DARTS, in one file that needs torch alone.

References
----------
H. Liu, K. Simonyan, Y. Yang. DARTS: Differentiable architecture search. ICLR 2019
(arXiv:1806.09055).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["DartsNetwork"]

# The stem has so many times the channels of the first cell.
STEM_MULTIPLIER = 3


class ReLUConvBN(nn.Module):
    """ReLU, 1 × 1 convolution without bias, batch normalisation.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H, W)."""
        out: Tensor = self.op(x)
        return out


class FactorizedReduce(nn.Module):
    """Halves height and width, rounding up.

    ReLU; half the channels by a 1 × 1 convolution of the even rows and columns, half by one of the
    odd ones; batch normalisation.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after; `out_channels` is even.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.relu = nn.ReLU()
        self.conv_1 = nn.Conv2d(in_channels, half, kernel_size=1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(in_channels, half, kernel_size=1, stride=2, bias=False)
        # Changes nothing for even sizes; for odd ones the last odd row and column are zero.
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, ceil(H / 2), ceil(W / 2))."""
        x = self.relu(x)
        odd = self.pad(x)[:, :, 1:, 1:]
        out: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(odd)], dim=1))
        return out


def _factorized(channels: int, kernel_size: int, stride: int, dilation: int) -> list[nn.Module]:
    """Return ReLU, depthwise convolution, pointwise convolution and batch normalisation."""
    return [
        nn.ReLU(),
        nn.Conv2d(
            channels,
            channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=channels,
            bias=False,
        ),
        nn.Conv2d(channels, channels, kernel_size=1, bias=False),
        nn.BatchNorm2d(channels),
    ]


class SeparableConv(nn.Module):
    """Depthwise separable convolution, applied twice; the first has the stride.

    Parameters
    ----------
    channels
        Channels before and after.
    kernel_size
        Side of the kernels.
    stride
        1 or 2.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.op = nn.Sequential(
            *_factorized(channels, kernel_size, stride, dilation=1),
            *_factorized(channels, kernel_size, stride=1, dilation=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, H, W) to (batch, channels, ceil(H / stride), ...)."""
        out: Tensor = self.op(x)
        return out


class DilatedConv(nn.Module):
    """Depthwise separable convolution with dilation 2, applied once.

    Parameters
    ----------
    channels
        Channels before and after.
    kernel_size
        Side of the kernel; it spans ``2 * kernel_size - 1`` pixels.
    stride
        1 or 2.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.op = nn.Sequential(*_factorized(channels, kernel_size, stride, dilation=2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, H, W) to (batch, channels, ceil(H / stride), ...)."""
        out: Tensor = self.op(x)
        return out


def make_operation(name: str, channels: int, stride: int) -> nn.Module:
    """Return the operation on one edge of a cell, for `channels` channels in and out.

    Raises
    ------
    ValueError
        If the name is none of the seven operations of the space.
    """
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride=stride, padding=1)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)
    if name == "sep_conv_3x3":
        return SeparableConv(channels, 3, stride)
    if name == "sep_conv_5x5":
        return SeparableConv(channels, 5, stride)
    if name == "dil_conv_3x3":
        return DilatedConv(channels, 3, stride)
    if name == "dil_conv_5x5":
        return DilatedConv(channels, 5, stride)
    raise ValueError(
        "expected max_pool_3x3, avg_pool_3x3, skip_connect, sep_conv_3x3, sep_conv_5x5, "
        f"dil_conv_3x3 or dil_conv_5x5, found {name!r}; use one of these"
    )


class Cell(nn.Module):
    """Two inputs and four nodes, each the sum of two operations; the nodes are concatenated.

    Parameters
    ----------
    edges
        Operation and source of the two edges into node 2, then 3, 4 and 5; nodes 0 and 1 are the
        inputs, the outputs of the cell before the last and of the last.
    in_channels
        Channels of the two inputs.
    channels
        Channels of every node.
    reduction
        Whether the operations on the inputs have stride 2.
    reduced_before
        Whether the last cell halved the resolution, so that the first input is twice as large.
    """

    def __init__(
        self,
        edges: Sequence[tuple[str, int]],
        in_channels: tuple[int, int],
        channels: int,
        reduction: bool,
        reduced_before: bool,
    ) -> None:
        super().__init__()
        self.preprocess0: nn.Module
        if reduced_before:
            self.preprocess0 = FactorizedReduce(in_channels[0], channels)
        else:
            self.preprocess0 = ReLUConvBN(in_channels[0], channels)
        self.preprocess1 = ReLUConvBN(in_channels[1], channels)
        self._ops = nn.ModuleList(
            make_operation(name, channels, 2 if reduction and source < 2 else 1)
            for name, source in edges
        )
        self.sources = tuple(source for _, source in edges)

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """Map the outputs of two cells to (batch, 4 * channels, H, W)."""
        nodes = [self.preprocess0(before), self.preprocess1(last)]
        edges = iter(zip(self._ops, self.sources, strict=True))
        for (first, source), (second, other) in zip(edges, edges, strict=True):
            nodes.append(first(nodes[source]) + second(nodes[other]))
        return torch.cat(nodes[2:], dim=1)


class DartsNetwork(nn.Module):
    """Stem, cells of which those at 1/3 and 2/3 of the depth reduce, and a linear head.

    Parameters and buffers are named as in the published code. There is no auxiliary head and no
    path is dropped.

    Parameters
    ----------
    normal, reduce
        For the two kinds of cell, operation and source of the two edges into node 2, then 3, 4
        and 5.
    in_channels
        Channels of the images.
    num_classes
        The number of outputs.
    channels
        Channels of the nodes of the first cell; a reduction cell doubles them.
    layers
        Cells; numbers ``layers // 3`` and ``2 * layers // 3``, counted from 0, reduce.
    """

    def __init__(
        self,
        normal: Sequence[tuple[str, int]],
        reduce: Sequence[tuple[str, int]],
        in_channels: int,
        num_classes: int,
        channels: int,
        layers: int,
    ) -> None:
        super().__init__()
        width = STEM_MULTIPLIER * channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.cells = nn.ModuleList()
        widths = (width, width)
        reduced_before = False
        for layer in range(layers):
            reduction = layer in (layers // 3, 2 * layers // 3)
            channels = 2 * channels if reduction else channels
            edges = reduce if reduction else normal
            self.cells.append(Cell(edges, widths, channels, reduction, reduced_before))
            widths = (widths[1], 4 * channels)
            reduced_before = reduction
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        before = last = self.stem(x)
        for cell in self.cells:
            before, last = last, cell(before, last)
        logits: Tensor = self.classifier(torch.flatten(self.global_pooling(last), 1))
        return logits

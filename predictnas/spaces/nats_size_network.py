"""The network of the size space of NATS-Bench, in one file that needs torch alone.

References
----------
X. Dong, L. Liu, K. Musial, B. Gabrys. NATS-Bench: Benchmarking NAS algorithms for architecture
topology and size. IEEE TPAMI 2021 (arXiv:2009.00437).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["NatsSizeNetwork"]

# The edges of the cell, each with its operation: a 3 × 3 convolution or the identity.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
IDENTITY_EDGE = (0, 3)


class ReLUConvBN(nn.Module):
    """ReLU, 3 × 3 convolution without bias, batch normalisation.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    stride
        Stride of the convolution; the padding keeps the size at stride 1.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(
                in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False
            ),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H / stride, W / stride)."""
        out: Tensor = self.op(x)
        return out


class Projection(nn.Module):
    """A 1 × 1 convolution with batch normalisation: the identity where channels change.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H, W)."""
        out: Tensor = self.bn(self.conv(x))
        return out


class Cell(nn.Module):
    """Four nodes; node j is the sum over i < j of the operation on edge i -> j of node i.

    It is ``|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|
    nor_conv_3x3~2|`` in the notation of NAS-Bench-201. The operations that leave node 0 change
    the number of channels.

    Parameters
    ----------
    in_channels, out_channels
        Channels of node 0, and of the other nodes.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for edge in EDGES:
            width = in_channels if edge[0] == 0 else out_channels
            if edge != IDENTITY_EDGE:
                self.layers.append(ReLUConvBN(width, out_channels))
            elif width == out_channels:
                self.layers.append(nn.Identity())
            else:
                self.layers.append(Projection(width, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map node 0, (batch, in_channels, H, W), to node 3, (batch, out_channels, H, W)."""
        edges = iter(self.layers)
        nodes = [x]
        for _ in range(3):
            total = next(edges)(nodes[0])
            for node in nodes[1:]:
                total = total + next(edges)(node)
            nodes.append(total)
        return nodes[-1]


class Reduction(nn.Module):
    """A residual block that halves height and width, rounding up.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(in_channels, out_channels, stride=2)
        self.conv_b = ReLUConvBN(out_channels, out_channels)
        self.downsample = nn.Sequential(
            # Rounding up changes nothing for even sizes; for odd ones it agrees with conv_a.
            nn.AvgPool2d(2, stride=2, padding=0, ceil_mode=True),
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, ceil(H / 2), ceil(W / 2))."""
        out: Tensor = self.downsample(x) + self.conv_b(self.conv_a(x))
        return out


class NatsSizeNetwork(nn.Module):
    """Stem, three stages of cells with a reduction between them, and a linear head.

    Parameters and buffers are named as in the published code.

    Parameters
    ----------
    widths
        Channels of the first stage and the stem, the first reduction, the second stage, the
        second reduction and the third stage.
    in_channels
        Channels of the images.
    num_classes
        The number of outputs.
    cells
        Cells in a stage; one is published.
    divisor
        By how much to divide the widths, rounding down to no less than 1.
    """

    def __init__(
        self,
        widths: Sequence[int],
        in_channels: int,
        num_classes: int,
        cells: int,
        divisor: int,
    ) -> None:
        super().__init__()
        widths = [max(1, width // divisor) for width in widths]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
        )
        self.cells = nn.ModuleList()
        before = widths[0]
        for layer, width in enumerate(widths):
            if layer % 2 == 1:
                self.cells.append(Reduction(before, width))
            else:
                self.cells.append(Cell(before, width))
                self.cells.extend(Cell(width, width) for _ in range(1, cells))
            before = width
        self.lastact = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        x = self.global_pooling(self.lastact(x))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits

"""The network of NAS-Bench-201, in one file that needs torch alone.

References
----------
X. Dong, Y. Yang. NAS-Bench-201: Extending the scope of reproducible neural architecture search.
ICLR 2020 (arXiv:2001.00326).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["NasBench201Network"]


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
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride=stride,
                padding=kernel_size // 2,
                bias=False,
            ),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H / stride, W / stride)."""
        out: Tensor = self.op(x)
        return out


def make_operation(name: str, channels: int) -> nn.Module:
    """Return the operation on one edge of a cell, for `channels` channels in and out.

    Raises
    ------
    ValueError
        If the name is none of the five operations of the space.
    """
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "nor_conv_1x1":
        return ReLUConvBN(channels, channels, kernel_size=1)
    if name == "nor_conv_3x3":
        return ReLUConvBN(channels, channels, kernel_size=3)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    raise ValueError(
        "expected none, skip_connect, nor_conv_1x1, nor_conv_3x3 or avg_pool_3x3, "
        f"found {name!r}; use one of these"
    )


class Cell(nn.Module):
    """Four nodes; node j is the sum over i < j of the operation on edge i -> j of node i.

    Parameters
    ----------
    operations
        The operations on the edges 0->1, 0->2, 1->2, 0->3, 1->3, 2->3.
    channels
        Channels of every node.
    """

    def __init__(self, operations: Sequence[str], channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(make_operation(name, channels) for name in operations)

    def forward(self, x: Tensor) -> Tensor:
        """Map node 0, (batch, channels, H, W), to node 3 of the same shape."""
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
        self.conv_a = ReLUConvBN(in_channels, out_channels, kernel_size=3, stride=2)
        self.conv_b = ReLUConvBN(out_channels, out_channels, kernel_size=3)
        self.downsample = nn.Sequential(
            # Rounding up changes nothing for even sizes; for odd ones it agrees with conv_a.
            nn.AvgPool2d(2, stride=2, padding=0, ceil_mode=True),
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, ceil(H / 2), ceil(W / 2))."""
        out: Tensor = self.downsample(x) + self.conv_b(self.conv_a(x))
        return out


class NasBench201Network(nn.Module):
    """Stem, three stages of cells with a reduction between them, and a linear head.

    Parameters and buffers are named as in the published code.

    Parameters
    ----------
    operations
        The operations on the edges 0->1, 0->2, 1->2, 0->3, 1->3, 2->3 of every cell.
    in_channels
        Channels of the images.
    num_classes
        The number of outputs.
    channels
        Channels of the first stage; the second has twice, the third four times as many.
    cells
        Cells in a stage.
    """

    def __init__(
        self,
        operations: Sequence[str],
        in_channels: int,
        num_classes: int,
        channels: int,
        cells: int,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.cells = nn.ModuleList()
        for stage in range(3):
            width = channels * 2**stage
            if stage > 0:
                self.cells.append(Reduction(width // 2, width))
            self.cells.extend(Cell(operations, width) for _ in range(cells))
        self.lastact = nn.Sequential(nn.BatchNorm2d(4 * channels), nn.ReLU())
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(4 * channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        x = self.global_pooling(self.lastact(x))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits

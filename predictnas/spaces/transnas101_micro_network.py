"""The network of the cell-level space of TransNAS-Bench-101, in one file that needs torch alone.

References
----------
Y. Duan, X. Chen, H. Xu, Z. Chen, X. Liang, T. Zhang, Z. Li. TransNAS-Bench-101: Improving
transferability and generalizability of cross-task neural architecture search. CVPR 2021
(arXiv:2105.11871).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["TransNas101MicroNetwork"]

# One digit a module: 1 keeps channels and resolution, 2 doubles the channels, 3 halves the
# resolution, 4 does both.
SKELETON = "41414"


class Zero(nn.Module):
    """The operation that returns zero.

    Parameters
    ----------
    out_channels
        Channels of the result.
    stride
        The result has every `stride`-th row and column.
    """

    def __init__(self, out_channels: int, stride: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros (batch, out_channels, ceil(H / stride), ceil(W / stride))."""
        zeros = x[:, :1, :: self.stride, :: self.stride].mul(0.0)
        return zeros.expand(-1, self.out_channels, -1, -1)


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

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.ops = nn.Sequential(
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
        out: Tensor = self.ops(x)
        return out


class FactorizedReduce(nn.Module):
    """Half the channels from the even positions, half from the odd ones.

    ReLU; a 1 × 1 convolution for each half, the second on the image shifted by one pixel; batch
    normalisation. It stands for the identity where the shape changes.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after; `out_channels` is even.
    stride
        Stride of the convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels // 2, kernel_size=1, stride=stride, bias=False)
            for _ in range(2)
        )
        # A row and a column of zeros, so that the shifted image keeps its size.
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H / stride, W / stride)."""
        x = self.relu(x)
        shifted = self.pad(x)[:, :, 1:, 1:]
        out: Tensor = self.bn(torch.cat([self.convs[0](x), self.convs[1](shifted)], dim=1))
        return out


def make_operation(name: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return the operation on one edge of a cell.

    Raises
    ------
    ValueError
        If the name is none of the four operations of the space.
    """
    if name == "none":
        return Zero(out_channels, stride)
    if name == "skip_connect":
        if stride == 1 and in_channels == out_channels:
            return nn.Identity()
        return FactorizedReduce(in_channels, out_channels, stride)
    if name == "conv_1x1":
        return ReLUConvBN(in_channels, out_channels, kernel_size=1, stride=stride)
    if name == "conv_3x3":
        return ReLUConvBN(in_channels, out_channels, kernel_size=3, stride=stride)
    raise ValueError(
        f"expected none, skip_connect, conv_1x1 or conv_3x3, found {name!r}; use one of these"
    )


class Cell(nn.Module):
    """Four nodes; node j is the sum over i < j of the operation on edge i -> j of node i.

    The operations that leave node 0 change the number of channels and the resolution.

    Parameters
    ----------
    operations
        The operations on the edges 0->1, 0->2, 1->2, 0->3, 1->3, 2->3.
    in_channels, out_channels
        Channels of node 0, and of the other nodes.
    stride
        Stride of the operations that leave node 0.
    """

    def __init__(
        self, operations: Sequence[str], in_channels: int, out_channels: int, stride: int
    ) -> None:
        super().__init__()
        sources = (0, 0, 1, 0, 1, 2)
        self.edges = nn.ModuleList(
            make_operation(name, in_channels, out_channels, stride)
            if source == 0
            else make_operation(name, out_channels, out_channels, stride=1)
            for name, source in zip(operations, sources, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map node 0, (batch, in_channels, H, W), to node 3."""
        edges = iter(self.edges)
        nodes = [x]
        for _ in range(3):
            total = next(edges)(nodes[0])
            for node in nodes[1:]:
                total = total + next(edges)(node)
            nodes.append(total)
        return nodes[-1]


class TransNas101MicroNetwork(nn.Module):
    """Stem, five modules of cells, and a linear head.

    The first cell of the first, third and fifth module doubles the channels and halves height and
    width, rounding up. Convolutions start from the normal distribution of He et al. (2015,
    arXiv:1502.01852) for the number of outputs, as in the published code.

    Parameters
    ----------
    operations
        The operations on the edges 0->1, 0->2, 1->2, 0->3, 1->3, 2->3 of every cell.
    reducing_stem
        Whether the stem halves height and width twice, as published, or keeps them.
    in_channels
        Channels of the images.
    num_classes
        The number of outputs.
    channels
        Channels behind the stem; the last module has eight times as many.
    cells
        Cells in a module.
    """

    def __init__(
        self,
        operations: Sequence[str],
        reducing_stem: bool,
        in_channels: int,
        num_classes: int,
        channels: int,
        cells: int,
    ) -> None:
        super().__init__()
        if reducing_stem:
            half = (channels + 1) // 2
            self.stem = nn.Sequential(
                nn.Conv2d(in_channels, half, kernel_size=3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(half),
                ReLUConvBN(half, channels, kernel_size=3, stride=2),
            )
        else:
            self.stem = nn.Sequential(
                nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            )
        self.layers = nn.ModuleList()
        for kind in SKELETON:
            width = 2 * channels if kind in "24" else channels
            layer = nn.Sequential(Cell(operations, channels, width, 2 if kind in "34" else 1))
            layer.extend(Cell(operations, width, width, stride=1) for _ in range(1, cells))
            self.layers.append(layer)
            channels = width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(torch.flatten(self.avgpool(x), 1))
        return logits

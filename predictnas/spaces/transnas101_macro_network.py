"""The network of the skeleton space of TransNAS-Bench-101, in one file that needs torch alone.

References
----------
Y. Duan, X. Chen, H. Xu, Z. Chen, X. Liang, T. Zhang, Z. Li. TransNAS-Bench-101: Improving
transferability and generalizability of cross-task neural architecture search. CVPR 2021
(arXiv:2105.11871).
"""

import torch
from torch import Tensor, nn

__all__ = ["TransNas101MacroNetwork"]


class ReLUConvBN(nn.Module):
    """ReLU, 3 × 3 convolution without bias, batch normalisation.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    stride
        Stride of the convolution; the padding keeps the size at stride 1.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.ops = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(
                in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False
            ),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H / stride, W / stride)."""
        out: Tensor = self.ops(x)
        return out


class ResidualBlock(nn.Module):
    """Two convolutions, added to the input, or where the shape changes to a projection of it.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    stride
        2 to halve height and width, rounding up; 1 to keep them.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(in_channels, out_channels, stride)
        self.conv_b = ReLUConvBN(out_channels, out_channels, stride=1)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H / stride, W / stride)."""
        out: Tensor = self.downsample(x) + self.conv_b(self.conv_a(x))
        return out


class TransNas101MacroNetwork(nn.Module):
    """Stem, modules of residual blocks, and a linear head.

    The first block of a module changes channels and resolution. Convolutions start from the normal
    distribution of He et al. (2015, arXiv:1502.01852) for the number of outputs, as in the
    published code.

    Parameters
    ----------
    skeleton
        A digit for each module: 1 keeps channels and resolution, 2 doubles the channels, 3 halves
        the resolution, 4 does both.
    reducing_stem
        Whether the stem halves height and width twice, as published, or keeps them.
    in_channels
        Channels of the images.
    num_classes
        The number of outputs.
    channels
        Channels behind the stem.
    cells
        Residual blocks in a module.
    """

    def __init__(
        self,
        skeleton: str,
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
                ReLUConvBN(half, channels, stride=2),
            )
        else:
            self.stem = nn.Sequential(
                nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            )
        self.layers = nn.ModuleList()
        for kind in skeleton:
            width = 2 * channels if kind in "24" else channels
            layer = nn.Sequential(ResidualBlock(channels, width, 2 if kind in "34" else 1))
            layer.extend(ResidualBlock(width, width, stride=1) for _ in range(1, cells))
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

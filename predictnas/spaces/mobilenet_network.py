"""The network of the Once-for-All space on MobileNetV3, in one file that needs torch alone.

References
----------
H. Cai, C. Gan, T. Wang, Z. Zhang, S. Han. Once-for-all: Train one network and specialize it for
efficient deployment. ICLR 2020 (arXiv:1908.09791). A. Howard et al. Searching for MobileNetV3.
ICCV 2019 (arXiv:1905.02244).
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MobileNetNetwork"]

# Channels of the stem, of the stages, and of the two layers of the head, at the published scale.
STEM_WIDTH = 16
STAGE_WIDTHS = (24, 40, 80, 112, 160)
HEAD_WIDTHS = (960, 1280)
# Whether the stem and the stages halve height and width, for images of 224 × 224.
STEM_HALVES = True
STAGE_HALVES = (True, True, True, False, True)
# Whether the blocks of a stage squeeze and excite, and whether they have h-swish or ReLU.
STAGE_SQUEEZES = (False, True, False, True, True)
STAGE_HARDSWISH = (False, False, True, True, True)
# The resolution at which an image is seen as it is given.
FULL_RESOLUTION = 224
# The squeezed vector has so many times fewer channels, a multiple of eight.
REDUCTION, MULTIPLE = 4, 8


def _conv_bn(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    activation: nn.Module | None,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Return convolution without bias, batch normalisation and perhaps an activation."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        bn=nn.BatchNorm2d(out_channels),
    )
    if activation is not None:
        layers["act"] = activation
    return nn.Sequential(layers)


class HardSigmoid(nn.Module):
    """Cuts (x + 3) / 6 to the range from 0 to 1; torch's own cannot be differentiated twice."""

    def __init__(self) -> None:
        super().__init__()
        self.relu6 = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """Map every number by itself."""
        out: Tensor = self.relu6(x + 3) / 6
        return out


class SqueezeExcite(nn.Module):
    """Scales every channel by a number that depends on the means of all channels.

    Parameters
    ----------
    channels
        Channels before and after.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wanted = channels // REDUCTION
        squeezed = max(MULTIPLE, (wanted + MULTIPLE // 2) // MULTIPLE * MULTIPLE)
        # Rounding never takes more than a tenth.
        squeezed += MULTIPLE if squeezed < 0.9 * wanted else 0
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            OrderedDict(
                reduce=nn.Conv2d(channels, squeezed, kernel_size=1),
                relu=nn.ReLU(),
                expand=nn.Conv2d(squeezed, channels, kernel_size=1),
                h_sigmoid=HardSigmoid(),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, H, W) to the same shape."""
        out: Tensor = x * self.fc(self.pool(x))
        return out


class InvertedResidual(nn.Module):
    """Expansion by a 1 × 1 convolution, depthwise convolution, projection without activation.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    kernel_size
        Side of the depthwise kernels.
    expansion
        By how much the depthwise convolution has more channels than the input; with 1 there is no
        expanding convolution.
    stride
        2 to halve height and width, rounding up; 1 to keep them.
    hardswish
        Whether the activations are h-swish, or else ReLU.
    squeezes
        Whether the depthwise convolution is followed by squeeze-and-excitation.
    residual
        Whether the input is added to the result.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        expansion: int,
        stride: int,
        hardswish: bool,
        squeezes: bool,
        residual: bool,
    ) -> None:
        super().__init__()
        activation = nn.Hardswish if hardswish else nn.ReLU
        width = in_channels * expansion
        self.inverted_bottleneck: nn.Module = nn.Identity()
        if expansion > 1:
            self.inverted_bottleneck = _conv_bn(in_channels, width, 1, activation())
        self.depth_conv = _conv_bn(width, width, kernel_size, activation(), stride, groups=width)
        if squeezes:
            self.depth_conv.add_module("se", SqueezeExcite(width))
        self.point_linear = _conv_bn(width, out_channels, 1, None)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, H / stride, W / stride)."""
        out: Tensor = self.point_linear(self.depth_conv(self.inverted_bottleneck(x)))
        return x + out if self.residual else out


class MobileNetNetwork(nn.Module):
    """Resizing, stem, a fixed block, five stages of inverted residual blocks, and the head.

    The first block of a stage changes channels and resolution; all others are residual.
    Convolutions start from the normal distribution of He et al. (2015, arXiv:1502.01852) for the
    number of outputs, as in the published code.

    Parameters
    ----------
    stages
        For each of the five stages kernel size and expansion ratio of its blocks.
    resolution
        The network sees images of ``resolution / 224`` of the height and width given, rounded.
    in_channels
        Channels of the images.
    num_classes
        The number of outputs.
    channels
        Channels of the first stage; the others are in proportion. 24 are published.
    halvings
        How many strides there are: the last of the published five, of the stem and of all stages
        but the fourth.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[tuple[int, int]]],
        resolution: int,
        in_channels: int,
        num_classes: int,
        channels: int,
        halvings: int,
    ) -> None:
        super().__init__()

        def scaled(width: int) -> int:
            return max(1, round(width * channels / STAGE_WIDTHS[0]))

        halving = [STEM_HALVES, *STAGE_HALVES]
        strides = [
            2 if halves and sum(halving[place:]) <= halvings else 1
            for place, halves in enumerate(halving)
        ]
        self.resolution = resolution
        before = scaled(STEM_WIDTH)
        self.first_conv = _conv_bn(in_channels, before, 3, nn.Hardswish(), stride=strides[0])
        self.blocks = nn.ModuleList(
            [InvertedResidual(before, before, 3, 1, 1, False, False, residual=True)]
        )
        for stage, blocks in enumerate(stages):
            width = scaled(STAGE_WIDTHS[stage])
            for number, (kernel_size, expansion) in enumerate(blocks):
                self.blocks.append(
                    InvertedResidual(
                        before,
                        width,
                        kernel_size,
                        expansion,
                        stride=strides[stage + 1] if number == 0 else 1,
                        hardswish=STAGE_HARDSWISH[stage],
                        squeezes=STAGE_SQUEEZES[stage],
                        residual=number > 0,
                    )
                )
                before = width
        wide, last = (scaled(width) for width in HEAD_WIDTHS)
        self.final_expand_layer = _conv_bn(before, wide, 1, nn.Hardswish())
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.feature_mix_layer = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(wide, last, kernel_size=1, bias=False),
                act=nn.Hardswish(),
            )
        )
        self.classifier = nn.Linear(last, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        x = self.first_conv(self.resized(x))
        for block in self.blocks:
            x = block(x)
        x = self.feature_mix_layer(self.global_pooling(self.final_expand_layer(x)))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits

    def resized(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to the resolution, by bilinear interpolation."""
        if self.resolution == FULL_RESOLUTION:
            return x
        size = [
            (2 * side * self.resolution + FULL_RESOLUTION) // (2 * FULL_RESOLUTION)
            for side in x.shape[2:]
        ]
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)

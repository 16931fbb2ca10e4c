"""Networks as their users write them, one of each kind, with a batch for each.

Small, but built like what they stand for: the residual network as torchvision's, the vision
transformer with a class token, and so on. Every function returns a model and a batch (x, y), the
same on every call.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

Batch = tuple[torch.Tensor | tuple[torch.Tensor, ...], torch.Tensor]

SAMPLES = 6
CLASSES = 5


class BasicBlock(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.downsample = (
            None
            if stride == 1 and inner == outer
            else nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)
            )
        )

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 8))
        self.layer2 = nn.Sequential(BasicBlock(8, 12, 2), BasicBlock(12, 12))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


class Attention(nn.Module):
    """Self-attention as in timm: one layer for query, key and value."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        samples, tokens, width = x.shape
        qkv = self.qkv(x).reshape(samples, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        x = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(x.transpose(1, 2).reshape(samples, tokens, width))


class EncoderBlock(nn.Module):
    """As in torchvision, with `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout=0.1, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width)
        )

    def forward(self, x):
        normal = self.norm1(x)
        x = x + self.attention(normal, normal, normal, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class TimmBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, width: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 17, width) * 0.02)
        self.blocks = nn.Sequential(EncoderBlock(width, heads), TimmBlock(width, heads))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class Perceptron(nn.Module):
    """No modules for the activations."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(40, 24)
        self.second = nn.Linear(24, 16)
        self.third = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = functional.relu(self.first(x))
        return self.third(torch.relu_(self.second(x)))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        scale = functional.silu(self.reduce(functional.adaptive_avg_pool2d(x, 1)))
        return x * torch.sigmoid(self.expand(scale))


class InvertedResidual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        wide = 3 * inner
        self.use_shortcut = stride == 1 and inner == outer
        self.layers = nn.Sequential(
            nn.Conv2d(inner, wide, 1, groups=groups, bias=False),
            nn.BatchNorm2d(wide),
            nn.SiLU(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.SiLU(inplace=True),
            SqueezeExcite(wide, 4),
            nn.Conv2d(wide, outer, 1, bias=False),
            nn.BatchNorm2d(outer),
        )

    def forward(self, x):
        return x + self.layers(x) if self.use_shortcut else self.layers(x)


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU(inplace=True)
        )
        self.blocks = nn.Sequential(InvertedResidual(8, 8, 1, groups=2), InvertedResidual(8, 12, 2))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(12, CLASSES))

    def forward(self, x):
        return self.classifier(self.blocks(self.stem(x)).mean([2, 3]))


class Segmenter(nn.Module):
    """Encoder and decoder with a link across, a transposed convolution and an interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        )
        self.down2 = nn.Sequential(
            nn.Conv2d(6, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.down3 = nn.Sequential(
            nn.Conv2d(8, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.fuse = nn.Conv2d(8, 6, 3, padding=1)
        self.head = nn.Conv2d(12, CLASSES, 1)

    def forward(self, x):
        fine = self.down1(x)
        middle = self.down2(fine)
        out = functional.relu(self.fuse(self.up(self.down3(middle)) + middle))
        out = functional.interpolate(out, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return self.head(torch.cat([out, fine], 1))


class TwoTowers(nn.Module):
    """An image and a vector of measurements."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3)
        )
        self.vector = nn.Sequential(nn.Linear(7, 6), nn.ReLU())
        self.head = nn.Linear(12, CLASSES)

    def forward(self, image, vector):
        image = functional.relu(self.image(image)).mean((2, 3))
        return self.head(torch.cat([image, self.vector(vector)], 1))


class Wrapped(nn.Module):
    """A model behind another signature, held so that its modules are still found."""

    def __init__(self, model: nn.Module, call: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.model = model
        self.call = call

    def forward(self, *inputs):
        return self.call(self.model, *inputs)


class Recursive(nn.Module):
    """One convolution applied three times, and a head that shares its weights with the stem."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(CLASSES, 8, bias=False)
        self.body = nn.Conv1d(8, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, x):
        x = self.stem(x).transpose(1, 2)
        for _ in range(3):
            x = x + functional.leaky_relu(self.norm(self.body(x)))
        return functional.linear(x.mean(2), self.stem.weight.t())


class TextClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 12)
        self.position = nn.Embedding(9, 12)
        self.hidden = nn.Linear(12, 12)
        self.score = nn.Linear(12, 1)
        self.head = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, CLASSES))

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = torch.relu(self.hidden(self.embedding(tokens) + self.position(places)))
        weights = torch.softmax(self.score(x), dim=1)
        return self.head((weights * x).sum(1))


def _labels() -> torch.Tensor:
    return torch.arange(SAMPLES) % CLASSES


def _images(size: int) -> torch.Tensor:
    return torch.randn(SAMPLES, 3, size, size)


def resnet() -> tuple[nn.Module, Batch]:
    return ResNet(), (_images(24), _labels())


def vision_transformer() -> tuple[nn.Module, Batch]:
    return VisionTransformer(), (_images(16), _labels())


def perceptron() -> tuple[nn.Module, Batch]:
    return Perceptron(), (torch.randn(SAMPLES, 40), _labels())


def mobilenet() -> tuple[nn.Module, Batch]:
    return MobileNet(), (_images(16), _labels())


def group_normalised() -> tuple[nn.Module, Batch]:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.GroupNorm(3, 12),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(48, CLASSES),
    )
    return model, (_images(12), _labels())


def segmenter() -> tuple[nn.Module, Batch]:
    return Segmenter(), (_images(16), torch.randint(CLASSES, (SAMPLES, 16, 16)))


def two_inputs() -> tuple[nn.Module, Batch]:
    x = (_images(12), torch.randn(SAMPLES, 7))
    return Wrapped(TwoTowers(), lambda model, *inputs: model(*inputs)), (x, _labels())


def shared_weights() -> tuple[nn.Module, Batch]:
    return Recursive(), (torch.randn(SAMPLES, 10, CLASSES), _labels())


def text_classifier() -> tuple[nn.Module, Batch]:
    return TextClassifier(), (torch.randint(30, (SAMPLES, 9)), _labels())


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Batch]]] = {
    "resnet": resnet,
    "vision_transformer": vision_transformer,
    "perceptron": perceptron,
    "mobilenet": mobilenet,
    "group_normalised": group_normalised,
    "segmenter": segmenter,
    "two_inputs": two_inputs,
    "shared_weights": shared_weights,
    "text_classifier": text_classifier,
}


def make(name: str) -> tuple[nn.Module, Batch]:
    """Return a network and a batch for it, with the same values on every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return NETWORKS[name]()

"""Small networks of the kinds that proxies meet, and batches for them."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """A residual block as in torchvision: functional and in-place operations, no ReLU modules."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False)
        self.norm_first = nn.BatchNorm2d(outer)
        self.second = nn.Conv2d(outer, outer, 3, padding=1, groups=outer, bias=False)
        self.norm_second = nn.BatchNorm2d(outer)
        self.shortcut = nn.Conv2d(inner, outer, 1, stride, bias=False)

    def forward(self, x):
        out = functional.relu(self.norm_first(self.first(x)), inplace=True)
        out = self.norm_second(self.second(out))
        out += self.shortcut(x)
        return functional.relu(out)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(Block(4, 6, 1), Block(6, 8, 2))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 12))
        self.position = nn.Parameter(torch.randn(1, 5, 12) * 0.02)
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    12, 3, 24, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(2)
            )
        )
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class Operation(nn.Module):
    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.name = name
        self.convolution = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        if self.name == "convolution":
            return self.convolution(x)
        return x.mul(0.0) if self.name == "none" else x


class Cells(nn.Module):
    """Two cells of three operations each: first → second, beside a third."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.operations = nn.ModuleList(Operation(name, 6) for name in names * 2)
        self.last = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.stem(x)
        for cell in range(2):
            first, second, beside = self.operations[3 * cell : 3 * cell + 3]
            x = second(first(x)) + beside(x)
        return self.head(self.pool(self.last(x)).flatten(1))


def group_normalised() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.SiLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 5),
    )


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(192, 24),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(24, 16),
        nn.ReLU(),
        nn.Linear(16, 5),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "residual": ResNet,
    "transformer": VisionTransformer,
    "cells": lambda: Cells("convolution", "convolution", "skip"),
    "group_normalised": group_normalised,
    "perceptron": perceptron,
}


def make_network(name: str, *arguments: str) -> nn.Module:
    """Return a network with the same weights on every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return Cells(*arguments) if arguments else NETWORKS[name]()


def make_batch(samples: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    return torch.randn(samples, 3, 8, 8, generator=generator), torch.arange(samples) % 5


@pytest.fixture(params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> nn.Module:
    return make_network(request.param)


@pytest.fixture
def make() -> Callable[..., nn.Module]:
    return make_network


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return make_batch()

import pytest
import torch
from torch import nn
from torch.nn import functional

import proxies


def macs_of(model: nn.Module, *shape: int) -> float:
    scores = proxies.score(model, (torch.randn(3, *shape), None), ["macs", "flops"])
    assert scores["macs"].status == "ok"
    assert scores["flops"].value == 2 * scores["macs"].value
    return scores["macs"].value


def test_params_are_those_that_train():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    model.register_buffer("buffer", torch.ones(100))
    scores = proxies.score(model, (torch.randn(3, 4), None), ["params"])
    assert scores["params"].value == 6 + 8


def test_shared_params_count_once():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    assert proxies.score(model, (torch.randn(3, 4), None), ["params"])["params"].value == 16
    assert macs_of(model, 4) == 32


# By hand: outputs × (inputs of a filter); the bias adds nothing.
@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Linear(7, 5), (7,), 7 * 5),
        (nn.Linear(7, 5), (4, 7), 4 * 7 * 5),
        (nn.Conv1d(2, 3, 3), (2, 10), 3 * 8 * 2 * 3),
        (nn.Conv2d(3, 8, 3, padding=1), (3, 6, 6), 8 * 36 * 27),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 6, 6), 8 * 9 * 27),
        (nn.Conv2d(4, 8, 3, groups=2), (4, 5, 5), 8 * 9 * 2 * 9),
        (nn.Conv2d(4, 4, 3, groups=4, padding="same"), (4, 5, 5), 4 * 25 * 9),
        (
            nn.Conv2d(2, 2, 3, dilation=2, padding=2, padding_mode="circular"),
            (2, 5, 5),
            2 * 25 * 18,
        ),
        (nn.Conv3d(1, 2, 2), (1, 3, 3, 3), 2 * 8 * 8),
        # Transposed: every input value meets every weight of its channel.
        (nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1), (3, 6, 6), 3 * 36 * 5 * 16),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 5, 5), 4 * 25 * 3 * 9),
        # Query, key, value and output projections; the products of attention are no layers.
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8), 5 * (4 * 64 + 2 * 128)),
        (nn.BatchNorm2d(3), (3, 6, 6), 0),
    ],
)
def test_macs_by_hand(layer, shape, macs):
    assert macs_of(layer, *shape) == macs


def test_macs_of_attention_with_other_keys():
    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, kdim=4, vdim=6, batch_first=True)

        def forward(self, x):
            return self.attention(x, x[:, :3, :4], x[:, :3, :6])[0]

    assert macs_of(Cross(), 5, 8) == 5 * 8 * 8 + 3 * 4 * 8 + 3 * 6 * 8 + 5 * 8 * 8


def test_macs_count_calls_not_modules():
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(4, 3, 1, 1))
            self.matrix = nn.Parameter(torch.randn(4, 5))
            self.square = nn.Linear(5, 5)
            self.unused = nn.Linear(1000, 1000)

        def forward(self, x):
            x = functional.conv2d(x, self.kernel).mean((2, 3))
            x = x @ self.matrix
            x = self.square(self.square(x)) + torch.addmm(x, x, self.square.weight.t())
            return (x @ x.T) @ x

    assert macs_of(Functional(), 3, 2, 2) == 4 * 4 * 3 + 20 + 25 + 25 + 25


@pytest.mark.parametrize(
    ("equation", "shape", "macs"),
    [
        # As a linear layer; with dimensions without a name, and without a result; an outer product;
        # one whose sums run over an index of the matrix alone.
        ("bnd,de->bne", (5, 4), 5 * 4 * 7),
        ("... d, d e -> ... e", (2, 5, 4), 2 * 5 * 4 * 7),
        ("b...d,de", (5, 4), 5 * 4 * 7),
        ("bd,ef->bdef", (4,), 4 * 4 * 7),
        ("bnd,de->bnd", (5, 4), 5 * 4 * 7),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_an_einsum_with_a_parameter_is_a_linear_layer(equation, shape, macs, listed):
    class Einsum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(4, 7))

        def forward(self, x):
            # Of two activations: no layer.
            x = x + torch.einsum("b...,c...->bc", x, x).mean()
            factors = (x, self.matrix)
            return torch.einsum(equation, factors) if listed else torch.einsum(equation, *factors)

    assert macs_of(Einsum(), *shape) == macs


def test_macs_are_those_of_one_sample(make, batch):
    x, _ = batch
    values = {
        proxies.score(make("transformer"), (x[:size], None), ["macs"])["macs"].value
        for size in (1, 2, 6)
    }
    # Four patches of 48 values; five tokens with four projections and the two layers of the MLP.
    assert values == {4 * 48 * 12 + 2 * 5 * (4 * 144 + 2 * 12 * 24) + 12 * 5}

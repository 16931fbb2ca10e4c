import itertools
import math
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional

import proxies


def score_of(model: nn.Module, *shape: int) -> proxies.ProxyScore:
    return proxies.score(model, (torch.randn(2, *shape), None), ["synflow"])["synflow"]


def value_of(model: nn.Module, *shape: int) -> float:
    score = score_of(model, *shape)
    assert score.status == "ok"
    return score.value


def filled(layer: nn.Module, *values: object) -> nn.Module:
    """Return a layer with the given weight and bias."""
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), values, strict=True):
            parameter.copy_(torch.as_tensor(value))
    return layer


def test_by_hand():
    # R = |−5| (|−2| + |3|) = 25, to which either layer's weights contribute in full.
    model = nn.Sequential(
        filled(nn.Linear(2, 1, bias=False), [[-2.0, 3.0]]),
        nn.ReLU(),
        filled(nn.Linear(1, 1, bias=False), [[-5.0]]),
    )
    assert value_of(model, 2) == pytest.approx(math.log(50))


def test_by_hand_with_a_bias():
    # R = 5 (2 + 3 + |−1|): first weights 25, bias 5, second weight 30.
    model = nn.Sequential(
        filled(nn.Linear(2, 1), [[-2.0, 3.0]], [-1.0]),
        filled(nn.Linear(1, 1, bias=False), [[-5.0]]),
    )
    assert value_of(model, 2) == pytest.approx(math.log(60))


class Preactivated(nn.Module):
    """A block whose ReLU writes into what it takes for the result of a normalisation."""

    def __init__(self, in_place: bool, norm: nn.Module) -> None:
        super().__init__()
        self.shortcut = filled(nn.Linear(2, 2, bias=False), [[1.0, 2.0], [3.0, 4.0]])
        self.body = nn.Sequential(
            norm,
            nn.Hardtanh(max_val=0.5, inplace=in_place),
            filled(nn.Linear(2, 2, bias=False), [[5.0, 6.0], [7.0, 8.0]]),
        )

    def forward(self, x):
        return self.shortcut(x) + self.body(x) + x


def test_normalisations_that_are_left_out_still_give_a_tensor_of_their_own():
    # Shortcut 10, body 0.5 · 26 (it bounds its input by one half); x has no weights.
    for in_place in (False, True):
        model = Preactivated(in_place, nn.LayerNorm(2))
        assert value_of(model, 2) == pytest.approx(math.log(23))


class FunctionalNorm(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x):
        scale = torch.full((4,), 0.1, dtype=x.dtype)
        if self.name == "batch_norm":
            return functional.batch_norm(x, scale, scale, scale, scale)
        if self.name == "torch.batch_norm":
            return torch.batch_norm(x, scale, scale, scale, scale, False, 0.1, 1e-5, False)
        if self.name == "layer_norm":
            return functional.layer_norm(input=x, normalized_shape=(4, 2, 2))
        if self.name == "group_norm":
            return functional.group_norm(x, 2, scale, scale)
        return functional.instance_norm(x)


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.SyncBatchNorm(4),
        nn.GroupNorm(2, 4),
        nn.LayerNorm([4, 2, 2]),
        nn.RMSNorm([4, 2, 2]),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.LocalResponseNorm(2),
        FunctionalNorm("batch_norm"),
        FunctionalNorm("torch.batch_norm"),
        FunctionalNorm("layer_norm"),
        FunctionalNorm("group_norm"),
        FunctionalNorm("instance_norm"),
    ],
    ids=lambda norm: getattr(norm, "name", type(norm).__name__),
)
def test_every_normalisation_is_left_out(norm):
    # The mistake: looking for BatchNorm1d and BatchNorm2d only.
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 2)
    without = value_of(nn.Sequential(first, nn.ReLU(), last), 3, 2, 2)
    norm.train()
    for parameter in norm.parameters():
        nn.init.constant_(parameter, -3.0)
    assert value_of(nn.Sequential(first, norm, nn.ReLU(), last), 3, 2, 2) == without


def test_every_normalisation_of_other_dimensions_is_left_out():
    torch.manual_seed(0)
    line, cube = nn.Conv1d(3, 4, 1), nn.Conv3d(3, 4, 1)
    assert value_of(nn.Sequential(line, nn.BatchNorm1d(4)), 3, 5) == value_of(line, 3, 5)
    assert value_of(nn.Sequential(cube, nn.BatchNorm3d(4)), 3, 2, 2, 2) == value_of(
        cube, 3, 2, 2, 2
    )


def test_forty_layers_of_64_channels(make):
    # The mistake: 1e45 in float32 is inf, and inf minus inf nan.
    torch.manual_seed(0)
    layers = [nn.Conv2d(3 if i == 0 else 64, 64, 3, padding=1) for i in range(40)]
    model = nn.Sequential(*layers)
    assert 95 < value_of(model, 3, 4, 4) < 115
    with torch.no_grad():
        x = torch.ones(1, 3, 4, 4)
        for layer in layers:
            x = functional.conv2d(x, layer.weight.abs(), layer.bias.abs(), padding=1)
    assert x.sum().isinf()


class Residual(nn.Module):
    """n blocks x + ReLU(w x), of which synflow is n w (1 + w)ⁿ⁻¹ for one channel."""

    def __init__(self, blocks: int, weight: float, form: str = "plain") -> None:
        super().__init__()
        self.form = form
        self.layers = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(blocks))
        for layer in self.layers:
            nn.init.constant_(layer.weight, -weight)

    def forward(self, x):
        for layer in self.layers:
            if self.form == "plain":
                x = x + functional.relu(layer(x))
            elif self.form == "in place":
                out = layer(x)
                out += x
                x = functional.relu(out, inplace=True)
            elif self.form == "concatenated":
                x = torch.cat([x, functional.gelu(layer(x))], dim=1).sum(1, keepdim=True)
            elif self.form == "product":
                x = torch.stack([x, x * layer.weight[0]]).sum(0)
        return x


def log_residual(blocks: int, weight: float) -> float:
    return math.log(blocks * weight) + (blocks - 1) * math.log1p(weight)


@pytest.mark.parametrize("blocks", [1, 10, 640, 800])
@pytest.mark.parametrize("form", ["plain", "in place", "product"])
def test_residual_networks_of_any_depth(blocks, form):
    # float64 ends at 3⁶⁴⁶.
    value = value_of(Residual(blocks, 2.0, form), 1)
    assert value == pytest.approx(log_residual(blocks, 2.0), rel=1e-13)


def test_smooth_rectifiers_beyond_the_range_are_relu():
    # At x = 1 GELU(2) is not yet 2; after a few blocks it is, whatever the depth from there.
    values = [value_of(Residual(blocks, 2.0, "concatenated"), 1) for blocks in (200, 500, 800)]
    slope = log_residual(500, 2.0) - log_residual(200, 2.0)
    assert values[1] - values[0] == pytest.approx(slope, rel=1e-5)
    slope = log_residual(800, 2.0) - log_residual(500, 2.0)
    assert values[2] - values[1] == pytest.approx(slope, rel=1e-6)


def chain(layers: int, weight: float, bias: float | None = None) -> nn.Module:
    """Return 1 × 1 convolutions of two channels with one weight everywhere."""
    convolutions = [nn.Conv2d(2, 2, 1, bias=bias is not None) for _ in range(layers)]
    for convolution in convolutions:
        nn.init.constant_(convolution.weight, weight)
        if bias is not None:
            nn.init.constant_(convolution.bias, bias)
    pairs = [(convolution, nn.ReLU(inplace=True)) for convolution in convolutions]
    return nn.Sequential(*(module for pair in pairs for module in pair))


@pytest.mark.parametrize(
    ("layers", "weight"),
    [(3, 0.125), (3, 64.0), (200, 0.125), (200, 64.0), (800, 0.125), (800, 0.5), (800, 64.0)],
)
def test_linear_chains_of_any_depth(layers, weight):
    # R is the same for every channel and pixel, (2w)ⁿ, and every layer contributes all of it.
    expected = math.log(layers) + layers * math.log(2 * weight) + math.log(2 * 4)
    assert value_of(chain(layers, weight), 2, 2, 2) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(("weight", "bias"), [(4.0, 3.0), (4.0, 2.0**100), (0.125, 3.0)])
@pytest.mark.parametrize("layers", [5, 500])
def test_biases_in_chains_of_any_depth(layers, weight, bias):
    # Either channel is hₖ = 2w hₖ₋₁ + b with h₀ = 1. What the weights and the bias of a layer
    # contribute to R grows by 2w in every later layer. In exact fractions of any size:
    growth, height, total = 2 * Fraction(weight), Fraction(1), Fraction(0)
    for _ in range(layers):
        height = growth * height + Fraction(bias)
        total = growth * total + height
    expected = math.log(2) + math.log(total.numerator) - math.log(total.denominator)
    assert value_of(chain(layers, weight, bias), 2, 1, 1) == pytest.approx(expected, rel=1e-12)


def test_deep_convolutional_networks_are_ordered_by_depth(make):
    values = []
    for blocks in (60, 110, 160):
        torch.manual_seed(0)
        layers = []
        for index in range(blocks):
            layers += [
                nn.Conv2d(3 if index == 0 else 64, 64, 3, padding=1, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU(inplace=True),
            ]
            nn.init.normal_(layers[-3].weight, std=1.0)
        model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
        values.append(value_of(model, 3, 4, 4))
    # 64 · 9 weights of mean 0.8, of which nine to four meet a pixel rather than padding.
    assert all(
        50 * math.log(64 * 4 * 0.8) < b - a < 50 * math.log(64 * 9 * 0.8)
        for a, b in itertools.pairwise(values)
    )
    assert values[-1] > math.log(1e308)


def test_a_dead_network_has_no_value(make):
    score = score_of(make("cells", "none", "none", "none"), 3, 8, 8)
    assert score.status == "ok"  # the bias of the head is still a parameter on the way
    model = nn.Sequential(filled(nn.Linear(2, 2, bias=False), torch.zeros(2, 2)))
    score = score_of(model, 2)
    assert math.isnan(score.value)
    assert score.status == (
        "expected a positive sum of weights times gradients, found 0; "
        "no path of non-zero weights leads to the output"
    )


def test_an_output_that_falls_has_no_value():
    model = nn.Sequential(
        filled(nn.Linear(2, 2, bias=False), [[1.0, 2.0], [3.0, 1.0]]), nn.LogSoftmax(1)
    )
    assert (
        "expected a positive sum of weights times gradients, found -" in score_of(model, 2).status
    )


def test_operations_without_a_rule_beyond_the_range_are_a_status():
    model = nn.Sequential(chain(200, 64.0), nn.Softmax(1), nn.Flatten(), nn.Linear(2, 2))
    assert score_of(model, 2, 1, 1).status == (
        "synflow leaves the range of float64 before 'softmax', "
        "an operation without a rule for extended range"
    )


def test_does_not_depend_on_the_values_of_the_batch(make):
    x = torch.randn(2, 3, 8, 8)
    values = {
        proxies.score(make("transformer"), (batch, None), ["synflow"], seed=seed)["synflow"].value
        for seed, batch in enumerate((x, 2 * x, torch.cat([x, x])))
    }
    assert len(values) == 1

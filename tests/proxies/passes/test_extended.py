"""Every rule of extended range against the same computation where float64 is enough."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import proxies
from proxies import UndefinedProxyError
from proxies.passes.extended import ExtendedRange

# Enough to leave the comfortable range, with room in float64 for the comparison.
LARGE = 2.0**300


def both(function, *values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a function gives in float64, and in extended range brought back to it."""
    plain = function(*values)
    mode = ExtendedRange(frozenset())
    with mode:
        # A product is where values are brought back into range, and get their exponent.
        result = function(*(value * 1.0 for value in values))
    mode.read_output(result)
    return plain, result * 2.0**mode.output_exponent


def image(scale: float) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 4, 6, 6, dtype=torch.float64) * scale


KERNEL = torch.randn(4, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
BIAS = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

FUNCTIONS = {
    "convolution": lambda x: functional.conv2d(x, KERNEL, BIAS, groups=2),
    "convolution without bias": lambda x: functional.conv2d(x, KERNEL, groups=2),
    "convolution by keyword": lambda x: functional.conv2d(x, weight=KERNEL, bias=BIAS, groups=2),
    "transposed": lambda x: functional.conv_transpose2d(x, KERNEL, stride=2),
    "linear": lambda x: functional.linear(x, KERNEL[:, :, 0].reshape(4, 6), BIAS),
    "relu": functional.relu,
    "relu in place": lambda x: (x * 2).relu_(),
    "leaky": lambda x: functional.leaky_relu(x, 0.2),
    "pooling": lambda x: functional.max_pool2d(functional.avg_pool2d(x, 2), 2),
    "adaptive": lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1),
    "shapes": lambda x: x.view(x.shape[0], -1).t().reshape(6, -1).permute(1, 0)[:3].contiguous(),
    "pieces": lambda x: torch.cat([*x.chunk(2, dim=1)[::-1], x.unbind(0)[0][None].expand_as(x)], 1),
    "padding": lambda x: functional.pad(x, (1, 1)),
    "padding with ones": lambda x: functional.pad(x, (1, 1), value=1.0),
    "sums": lambda x: x + 1 - x.mean() + (3 - x) + sum([x, x]),
    "sum in place": lambda x: (x * 1).add_(x.flip(0)).sub_(5.0),
    "stack": lambda x: torch.stack([x, 0 * x, torch.ones_like(x)]).sum(0),
    "products": lambda x: (x * 3 / 7) * BIAS[0] / LARGE + x,
    "matrices": lambda x: (x / LARGE) @ (x / LARGE).transpose(2, 3) @ x,
    "questions": lambda x: x * x.dim() * x.numel() / x.size(0) if x.is_floating_point() else x,
    "gelu": functional.gelu,
    "silu in place": lambda x: functional.silu(x * 1, inplace=True),
    "elu": functional.elu,
    "softplus": functional.softplus,
    "no rule but in range": lambda x: torch.sqrt(x.abs()),
    "bounded": lambda x: torch.tanh(x) + torch.softmax(x, 1),
    "control flow": lambda x: x if x.max().item() > 1 else 2 * x,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("scale", [LARGE, 1.0, 1 / LARGE])
def test_rules_agree_with_float64(name, scale):
    plain, extended = both(FUNCTIONS[name], image(scale))
    torch.testing.assert_close(extended, plain, rtol=1e-13, atol=1e-13 * float(plain.abs().max()))


def test_sums_of_different_magnitudes():
    small, large = image(1.0), image(LARGE)
    for function in (
        lambda a, b: a + b,
        lambda a, b: b - a,
        lambda a, b: (a * 1).add_(b),
        lambda a, b: torch.cat([a, b]),
        lambda a, b: a + 0 * b,
    ):
        plain, extended = both(function, small, large)
        torch.testing.assert_close(extended, plain, rtol=1e-13, atol=0)


def test_values_beyond_float64():
    mode = ExtendedRange(frozenset())
    with mode:
        x = torch.tensor([3.0], dtype=torch.float64)
        for _ in range(3_000):
            x = x * 8
        for _ in range(6_000):
            x = x / 8
    mode.read_output(x)
    assert math.log2(float(x)) + mode.output_exponent == pytest.approx(math.log2(3) - 9_000)


def test_gradients_see_constants():
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    mode = ExtendedRange(frozenset())
    with mode:
        x = torch.ones(1, dtype=torch.float64)
        for _ in range(1500):
            x = x * weight
    mode.read_output(x)
    (gradient,) = torch.autograd.grad(x.sum(), weight)
    # ∂w¹⁵⁰⁰ / ∂w = 1500 · 2¹⁴⁹⁹
    assert math.log2(float(gradient)) + mode.output_exponent == pytest.approx(
        math.log2(1500) + 1499
    )


def tiny() -> torch.Tensor:
    x = torch.full((2,), 2.0**-500, dtype=torch.float64)
    return x * 1 * x * x


@pytest.mark.parametrize(
    ("function", "logarithm"),
    [
        # A bias beside which the input vanishes; a zero that must not make a sum vanish.
        (lambda x: functional.linear(x, torch.eye(2).double(), torch.ones(2).double()), 0.0),
        (lambda x: functional.linear(x, torch.eye(2).double(), bias=torch.ones(2).double()), 0.0),
        (lambda x: functional.linear(x, torch.eye(2).double(), torch.zeros(2).double()), -1500.0),
        (lambda x: x + 0, -1500.0),
        (lambda x: x + 1, 0.0),
        (lambda x: torch.stack([x, torch.zeros(2).double()]).sum(0), -1500.0),
    ],
)
def test_values_below_float64(function, logarithm):
    mode = ExtendedRange(frozenset())
    with mode:
        result = function(tiny())
    mode.read_output(result)
    assert (torch.log2(result) + mode.output_exponent).tolist() == [logarithm] * 2


def huge() -> torch.Tensor:
    x = torch.full((2,), 2.0**500, dtype=torch.float64)
    return x * 1 * x * x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.exp(), "before 'exp', an operation without a rule for extended range"),
        (lambda x: x.exp_(), "at 'exp' in place, an operation without a rule"),
        (
            lambda x: torch.ones(2, dtype=torch.float64).__setitem__(0, x[0]),
            "at 'setitem' in place",
        ),
        (lambda x: bool(x[0] > 1), "before 'gt', an operation without a rule"),
        (lambda x: torch.full((2,), 1e308, dtype=torch.float64) * 1e10 + x, "within one operation"),
    ],
)
def test_what_cannot_be_followed_is_said(function, message):
    with ExtendedRange(frozenset()), pytest.raises(UndefinedProxyError, match=message):
        function(huge())


def test_writing_through_an_alias_is_noticed():
    with ExtendedRange(frozenset()):
        x = huge()
        alias = x[:1]
        alias.mul_(2)
        with pytest.raises(UndefinedProxyError, match="written to through an alias"):
            x + 1


def test_a_deep_network_of_every_kind_of_layer():
    # Compared with itself at a depth that float64 still holds, by the growth of a stage.
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(4, 8, 3, padding=1, groups=4)
            self.norm = nn.GroupNorm(2, 8)
            self.second = nn.Conv2d(8, 4, 1)

        def forward(self, x):
            out = functional.gelu(self.norm(self.first(x)))
            out = torch.cat([out[:, :4], functional.avg_pool2d(out[:, 4:], 3, 1, 1)], dim=1)
            return x + 100 * functional.silu(self.second(out), inplace=True)

    torch.manual_seed(0)
    stage = Stage()

    def value(depth: int) -> float:
        x = torch.randn(2, 4, 5, 5)
        return proxies.score(nn.Sequential(*[stage] * depth), (x, None), ["synflow"])[
            "synflow"
        ].value

    # log(depth · rate^depth): what each stage adds beyond its share of the depth is constant.
    rates = [
        (value(b) - value(a) - math.log(b / a)) / (b - a)
        for a, b in ((40, 80), (80, 160), (160, 320))
    ]
    assert value(320) > 2 * math.log(1e308)
    assert rates == pytest.approx([rates[0]] * 3, rel=1e-3)

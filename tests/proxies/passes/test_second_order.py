import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from proxies import Probe
from proxies.passes.layers import layer_weights
from proxies.passes.second_order import TwiceDifferentiable

# An even kernel has more padding on one side, which PyTorch warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")


class Residual(nn.Module):
    """A sum written into a result of batch normalisation, and one into that of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = functional.relu(self.first(x), inplace=True)
        out = functional.relu(self.norm(x))
        out = self.second(out)
        out += x
        return self.head(out.mean((2, 3)))


class Shared(nn.Module):
    """One kernel in two convolutions that differ, in one without a stand-in and in a product."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.kernel = nn.Conv2d(4, 4, 2, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = functional.silu(self.kernel(self.stem(x)))
        x = self.norm(functional.conv2d(x, self.kernel.weight, dilation=2))
        x = functional.conv2d(x, self.kernel.weight, padding="same").mean((2, 3))
        return self.head(torch.tanh(x @ self.kernel.weight[:, :, 0, 0]))


class Attention(nn.Module):
    """Attention by one call, whose fused kernels have no second derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 12)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        query, key, value = self.layer(x.flatten(2).transpose(1, 2)).chunk(3, dim=-1)
        return self.head(functional.scaled_dot_product_attention(query, key, value).mean(1))


def chain(*layers: nn.Module, width: int = 4) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))


NETWORKS = {
    "strided": lambda: chain(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, (1, 3), stride=(2, 1), padding=(0, 1)),
        nn.BatchNorm2d(4, affine=False, eps=0.1),
        nn.ReLU(inplace=True),
    ),
    "same padding, dilated": lambda: chain(
        nn.Conv2d(3, 4, 3, padding="same", dilation=2),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.ReLU(),
        nn.Conv2d(4, 4, 2, padding="same", bias=False),
        nn.BatchNorm2d(4),
        nn.ELU(),
        nn.Conv2d(4, 4, 3, padding="valid", padding_mode="circular"),
    ),
    "grouped": lambda: chain(
        nn.Conv2d(3, 6, 3, groups=3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1, groups=2),
        nn.BatchNorm2d(4),
    ),
    "pooled": lambda: chain(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.AvgPool2d(2),
        nn.BatchNorm2d(4),
        nn.GELU(),
    ),
    "group normalised": lambda: chain(
        nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.GELU(), nn.Conv2d(4, 4, 3), nn.InstanceNorm2d(4)
    ),
    "vectors": lambda: nn.Sequential(
        nn.Conv2d(3, 2, 3),
        nn.Flatten(),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 6),
        nn.BatchNorm1d(6),
        nn.Softplus(),
        nn.Linear(6, 3),
    ),
    "in place after a convolution": lambda: chain(
        nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, bias=False)
    ),
    "parametrised": lambda: chain(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.Tanh(), nn.Conv2d(4, 4, 3)
    ),
    "frozen statistics": lambda: chain(nn.Conv2d(3, 4, 3), Frozen(), nn.ReLU()),
    "residual": Residual,
    "shared": Shared,
    "attention": Attention,
}


class Frozen(nn.Module):
    """Normalisation by constants, which has no stand-in."""

    def forward(self, x):
        return functional.batch_norm(x, torch.ones(4).to(x), 2 * torch.ones(4).to(x))


def network(name: str) -> nn.Module:
    torch.manual_seed(5)
    model = NETWORKS[name]().double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model


@pytest.fixture
def small() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(4, 3, 6, 6, generator=generator, dtype=torch.float64)
    return x, torch.tensor([0, 1, 2, 1])


def plain_derivatives(model, x, y) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Gradients of all parameters and θᵀHg, by PyTorch alone."""
    with sdpa_kernel(SDPBackend.MATH):
        loss = functional.cross_entropy(model.train()(x), y)
    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(
        loss, list(named.values()), create_graph=True, materialize_grads=True
    )
    found = dict(zip(named, gradients, strict=True))
    names = layer_weights(model)
    weights = [named[name] for name in names]
    value = sum((found[name] * found[name].detach()).sum() for name in names)
    second = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
    form = sum((a * b).sum() for a, b in zip(weights, second, strict=True))
    return {name: gradient.detach() for name, gradient in found.items()}, form.detach()


@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_differentiating_twice(name, small):
    gradients, form = plain_derivatives(network(name), *small)
    probe = Probe(network(name), small, device="cpu", reads=("loss_gradients", "hessian_form"))
    assert probe.hessian_form == pytest.approx(float(form), rel=1e-9, abs=1e-13)
    torch.testing.assert_close(probe.loss_gradients, gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["strided", "pooled", "vectors", "shared", "attention"])
def test_agrees_with_the_hessian_itself(name, small):
    x, y = small
    model = network(name).train()
    names = layer_weights(model)
    values = {key: value.detach() for key, value in model.named_parameters()}
    shapes = [values[key].shape for key in names]
    flat = torch.cat([values[key].flatten() for key in names])

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts = torch.split(vector, [shape.numel() for shape in shapes])
        given = {k: part.view(s) for k, part, s in zip(names, parts, shapes, strict=True)}
        with sdpa_kernel(SDPBackend.MATH):
            return functional.cross_entropy(functional_call(model, {**values, **given}, (x,)), y)

    gradient = torch.autograd.functional.jacobian(loss, flat)
    hessian = torch.autograd.functional.hessian(loss, flat)
    expected = float(flat @ hessian @ gradient)
    assert abs(expected) > 1e-9
    found = Probe(network(name), small, device="cpu").hessian_form
    assert found == pytest.approx(expected, rel=1e-8)


def test_other_derivatives_are_taken_before_and_after(small):
    x, y = small
    model = network("strided").train()
    x.requires_grad_()
    expected = torch.autograd.grad(model(x).sum(), x)[0]
    weights = [p for p in model.parameters() if p.ndim > 1]
    mode = TwiceDifferentiable(weights)
    with mode:
        output = model(x)

    def by_input() -> torch.Tensor:
        return torch.autograd.grad(output.sum(), x, retain_graph=True)[0]

    torch.testing.assert_close(by_input(), expected)
    loss = functional.cross_entropy(output, y)
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    value = sum((gradient**2).sum() for gradient in gradients) / 2
    _, form = plain_derivatives(network("strided"), *small)
    for _ in range(2):
        torch.testing.assert_close(mode.weighted_derivative(value), form)
        torch.testing.assert_close(by_input(), expected)


def test_one_value_a_channel_has_no_variance():
    # A stand-in that normalised it would give zeros where the layer itself refuses.
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    probe = Probe(model, (torch.randn(1, 9), torch.tensor([0])), device="cpu")
    for product in ("loss_gradients", "hessian_form", "sign_agreement"):
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            getattr(probe, product)

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

import proxies
from proxies import Probe
from proxies.passes.layers import layer_weights
from proxies.passes.samples import DRAWS, FrozenStatistics

KINDS = ["residual", "cells", "group_normalised", "perceptron", "transformer"]


def with_constant_statistics(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """The model in evaluation mode, with the batch's statistics as running ones."""

    def keep(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        rows = inputs[0].transpose(0, 1).flatten(1)
        module.running_mean = rows.mean(1).detach()
        module.running_var = rows.var(1, correction=0).detach()

    handles = [
        module.register_forward_pre_hook(keep)
        for module in model.modules()
        if isinstance(module, _BatchNorm)
    ]
    model.double().train()(x)
    for handle in handles:
        handle.remove()
    # What keep() set was moved on by the momentum.
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 0.0
    handles = [
        module.register_forward_pre_hook(keep)
        for module in model.modules()
        if isinstance(module, _BatchNorm)
    ]
    model(x)
    for handle in handles:
        handle.remove()
    return model.eval()


def seen_weights(model: nn.Module) -> list[str]:
    """Weights of layers, without those that attention uses inside of one call."""
    return [name for name in layer_weights(model) if "attn" not in name]


def rows_of(model: nn.Module, x: torch.Tensor, value) -> torch.Tensor:
    """Every sample's gradients of value(output, index), ``(samples, weights)``."""
    named = dict(model.named_parameters())
    weights = [named[name] for name in seen_weights(model)]
    rows = []
    for index in range(len(x)):
        single = value(model(x[index : index + 1]), index)
        gradients = torch.autograd.grad(single, weights, materialize_grads=True, allow_unused=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows)


@pytest.fixture
def double(batch):
    return batch[0].double(), batch[1]


@pytest.mark.parametrize("kind", KINDS)
def test_signs_agree_with_a_loop_over_samples(kind, make, double):
    x, y = double
    model = with_constant_statistics(make(kind), x)
    rows = rows_of(model, x, lambda out, i: functional.cross_entropy(out, y[i : i + 1]))
    # What is zero but for rounding has no sign.
    assert ((rows == 0) | (rows.abs() > 1e-13)).all()
    expected = float(rows.sign().sum(0).abs().sum())
    for micro_batch in (None, 2):
        probe = Probe(make(kind), double, device="cpu", dtype="float64", micro_batch=micro_batch)
        assert probe.sign_agreement == expected


@pytest.mark.parametrize("kind", KINDS)
def test_tangent_kernel_agrees_with_a_loop_over_samples(kind, make, double):
    x, _ = double
    model = with_constant_statistics(make(kind), x)
    rows = rows_of(model, x, lambda out, _: out.sum())
    for micro_batch in (None, 4):
        probe = Probe(make(kind), double, device="cpu", dtype="float64", micro_batch=micro_batch)
        torch.testing.assert_close(probe.tangent_kernel, rows @ rows.T)


# Cells have operations that are not used, and no column.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "cells"])
def test_fisher_gradients_agree_with_a_loop_over_draws(kind, make, double):
    x, _ = double
    model = with_constant_statistics(make(kind), x)
    draws = torch.Generator().manual_seed(3)
    chances = model(x).softmax(1).detach()
    labels = [torch.multinomial(chances, 1, generator=draws)[:, 0] for _ in range(DRAWS)]
    picks = torch.Generator().manual_seed(3)
    columns, start = [], 0
    for name in seen_weights(model):
        size = model.get_parameter(name).numel()
        columns.append(start + int(torch.randint(size, (1,), generator=picks)))
        start += size
    rows = [
        rows_of(model, x, lambda out, i, y=y: functional.cross_entropy(out, y[i : i + 1]))
        for y in labels
    ]
    expected = torch.cat(rows)[:, columns]
    probe = Probe(make(kind), double, device="cpu", dtype="float64", seed=3)
    torch.testing.assert_close(probe.fisher_gradients, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_splitting_the_batch_draws_the_same_labels(micro_batch, make, batch):
    def fisher(split: int | None) -> torch.Tensor:
        probe = Probe(make("group_normalised"), batch, device="cpu", micro_batch=split)
        gradients = probe.fisher_gradients
        return gradients.T @ gradients

    torch.testing.assert_close(fisher(micro_batch), fisher(None), rtol=1e-4, atol=1e-7)


def test_a_shared_weight_has_the_sum_of_its_gradients(double):
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1)
            self.body = nn.Conv2d(4, 4, 3, padding=1)
            self.head = nn.Linear(4, 5)

        def forward(self, x):
            x = torch.tanh(self.body(torch.tanh(self.body(self.stem(x)))))
            return self.head(functional.conv2d(x, self.body.weight, stride=2).mean((2, 3)))

    torch.manual_seed(0)
    model = Shared().double()
    rows = rows_of(model, double[0], lambda out, _: out.sum())
    torch.testing.assert_close(Probe(model, double, device="cpu").tangent_kernel, rows @ rows.T)


def test_statistics_are_constants_and_those_of_the_batch():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    norm = nn.BatchNorm2d(3, eps=0.1).double()
    nn.init.normal_(norm.weight)
    expected = norm(x)
    before = norm.running_mean.clone()
    with FrozenStatistics():
        output = norm(x)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(norm.running_mean, before)
    variance = x.var((0, 2, 3), correction=0, keepdim=True)
    scale = norm.weight.view(1, 3, 1, 1) / (variance + 0.1).sqrt()
    (gradient,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close(gradient, scale.expand_as(x))
    # The mistake: with statistics that are differentiated, the samples' gradients cancel.
    (whole,) = torch.autograd.grad(expected.sum(), x)
    assert whole.abs().max() < 1e-12


def test_normalisation_by_constants_stays():
    norm = nn.BatchNorm1d(2).eval()
    x = torch.randn(3, 2)
    with FrozenStatistics():
        assert torch.equal(norm(x), norm(x))
        torch.testing.assert_close(norm(x), x / (1 + norm.eps) ** 0.5)


def test_one_product_fails_alone(make, batch):
    probe = Probe(
        make("cells"),
        (batch[0], None),
        device="cpu",
        reads=("sign_agreement", "tangent_kernel", "fisher_gradients"),
    )
    with pytest.raises(ValueError, match="expected labels for the loss, found none in the batch"):
        _ = probe.sign_agreement
    assert probe.tangent_kernel.shape == (6, 6)
    # Every one of six layers' weights, for every sample and draw.
    assert probe.fisher_gradients.shape == (6 * DRAWS, 6)


def test_a_loss_of_ones_own_is_taken_sample_by_sample(make, double):
    x, y = double

    def weighted(output, labels):
        # Weighs samples by one another.
        return functional.cross_entropy(output, labels) * labels.double().mean()

    model = with_constant_statistics(make("cells"), x)
    rows = rows_of(model, x, lambda out, i: functional.cross_entropy(out, y[i : i + 1]) * y[i])
    probe = Probe(make("cells"), double, device="cpu", dtype="float64", loss=weighted)
    assert probe.sign_agreement == float(rows.sign().sum(0).abs().sum())


class Aside(nn.Module):
    """Its layer is called, but the output does not depend on it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(192, 5)
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x):
        x = x.flatten(1)
        self.layer(x)
        return x[:, :5] * self.scale


def test_layers_beside_the_output_leave_the_other_products(batch):
    scores = proxies.score(Aside(), batch, ["gradsign", "te_nas_condition", "vkdnw"], device="cpu")
    assert scores["gradsign"].value == 0.0
    assert "found dependent ones" in scores["te_nas_condition"].status
    assert scores["vkdnw"].status == "expected weights that the output depends on, found none"


def test_a_model_without_layers_is_a_status(batch):
    for name in ("gradsign", "te_nas_condition", "vkdnw"):
        score = proxies.score(nn.Flatten(), batch, [name], device="cpu")[name]
        assert score.status == "expected convolutions or linear layers, found none"

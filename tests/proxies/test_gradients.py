import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import proxies


def snip_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor, **options) -> float:
    score = proxies.score(model, (x, y), ["snip"], **options)["snip"]
    assert score.status == "ok"
    return score.value


def test_snip_by_hand():
    # Logits (w₁x, w₂x) = (1, −1) for x = 1 and (2, −2) for x = 2, labels 0. The gradient of the
    # cross-entropy by the logits is ∓σ(−2) and ∓σ(−4), by the weights that times x, averaged.
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    by_weight = (1 / (1 + math.exp(2)) + 2 / (1 + math.exp(4))) / 2
    expected = 2 * by_weight
    assert snip_of(model, torch.tensor([[1.0], [2.0]]), torch.tensor([0, 0])) == pytest.approx(
        expected
    )


def test_snip_counts_biases_and_normalisation():
    # One logit pair from a bias alone: (1, 0) with label 0 has gradient (−σ(−1), σ(−1)).
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor([1.0, 0.0]))
    expected = 1 / (1 + math.e)
    assert snip_of(model, torch.ones(1, 1), torch.tensor([0])) == pytest.approx(expected)


def test_snip_agrees_with_plain_autograd_in_training_mode(make, batch):
    model = make("residual").train()
    x, y = batch
    functional.cross_entropy(model(x), y).backward()
    expected = float(sum((p.detach() * p.grad).abs().sum() for p in model.parameters()))
    assert snip_of(make("residual").eval(), x, y) == pytest.approx(expected, rel=1e-5)


def test_splitting_a_batch_does_not_multiply_snip(make, batch):
    # The mistake: adding up the gradients of mean losses over k parts, which gives k times snip.
    model = make("group_normalised")
    x, y = batch
    for rows in (slice(0, 3), slice(3, 6)):
        functional.cross_entropy(model(x[rows]), y[rows]).backward()
    mistaken = float(sum((p.detach() * p.grad).abs().sum() for p in model.parameters()))
    whole = snip_of(make("group_normalised"), x, y)
    assert mistaken == pytest.approx(2 * whole, rel=1e-4)
    for micro_batch in (1, 2, 3, 4, 5):
        split = snip_of(make("group_normalised"), x, y, micro_batch=micro_batch)
        assert split == pytest.approx(whole, rel=1e-5)


def test_unused_parameters_add_nothing(make, batch):
    model = make("perceptron")
    expected = snip_of(model, *batch)
    model.register_parameter("unused", nn.Parameter(torch.ones(10)))
    assert snip_of(model, *batch) == expected


def test_a_model_without_parameters_has_no_snip(batch):
    score = proxies.score(nn.Flatten(), batch, ["snip"])["snip"]
    assert score.status == "expected a model with parameters, found none"

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


ALL = ["grad_norm", "snip", "plain", "grasp", "fisher", "l2_norm"]


def score_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor, name: str, **options) -> float:
    score = proxies.score(model, (x, y), [name], device="cpu", **options)[name]
    assert score.status == "ok"
    return score.value


def half_square(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return (output**2).mean() / 2


def weighted(output: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """A mean loss over samples whose gradient by the output is the factors / B."""
    return (output * factors).flatten(1).sum(1).mean()


def one_weight(value: float) -> nn.Module:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def test_one_weight_by_hand():
    # L = w² m / 2 with m the mean of x², here 10: g = w m, H = m, θ H g = w² m².
    x, y = torch.tensor([[2.0], [4.0]]), torch.zeros(2)
    expected = {"l2_norm": 3, "grad_norm": 30, "plain": 90, "snip": 90, "grasp": -900}
    for name, value in expected.items():
        found = score_of(one_weight(-3.0), x, y, name, loss=half_square)
        assert found == pytest.approx(value), name


def test_fisher_by_hand():
    # Outputs (1, 2) and (3, 6); times factors / 2: (1/2, 1) and (3/2, −3).
    # ½ of the mean of squares: by channel (1/4 + 9/4) / 4 and (1 + 9) / 4.
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [2.0]]))
    x, factors = torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    assert score_of(model, x, factors, "fisher", loss=weighted) == pytest.approx(2.5 / 4 + 2.5)


def test_fisher_adds_up_positions_before_it_squares():
    # Activations are the inputs, with channels last: their products sum up to 3 − 1 and 2 + 4.
    model = nn.Linear(2, 2, bias=False)
    nn.init.eye_(model.weight)
    x = torch.tensor([[[3.0, 2.0], [1.0, 4.0]]])
    factors = torch.tensor([[[1.0, 1.0], [-1.0, 1.0]]])
    found = score_of(model, x, factors, "fisher", loss=weighted)
    # The mistake: taking tokens for channels, which gives (5² + 3²) / 2.
    assert found == pytest.approx((2.0**2 + 6.0**2) / 2)


def plain_values(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    """The proxies by PyTorch alone; the model has no operations in place after layers."""
    seen: list[torch.Tensor] = []

    def keep(_: nn.Module, __: object, output: torch.Tensor) -> None:
        seen.append(output)

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(keep) for layer in layers]
    weights = [layer.weight for layer in layers]
    loss = functional.cross_entropy(model.train()(x), y)
    gradients = torch.autograd.grad(loss, [*weights, *seen], create_graph=True)
    for handle in handles:
        handle.remove()
    by_weight, by_output = gradients[: len(weights)], gradients[len(weights) :]
    value = sum((g * g.detach()).sum() for g in by_weight)
    second = torch.autograd.grad(value, weights)
    saliency = 0.0
    for output, gradient in zip(seen, by_output, strict=True):
        products = (output * gradient).flatten(2).sum(2) if output.ndim > 2 else output * gradient
        saliency += float((products**2).sum()) / 2 / len(x)
    return {
        "l2_norm": sum(float(w.norm()) for w in weights),
        "grad_norm": sum(float(g.norm()) for g in by_weight),
        "plain": sum(float((w * g).sum()) for w, g in zip(weights, by_weight, strict=True)),
        "grasp": -sum(float((w * h).sum()) for w, h in zip(weights, second, strict=True)),
        "fisher": saliency,
    }


def group_normalised(*, inplace: bool = False, bias: bool = True) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=bias),
        nn.ReLU(inplace=inplace),
        nn.GroupNorm(2, 8),
        nn.Conv2d(8, 8, 3, padding=1, bias=bias),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 5),
    )


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True:UserWarning")
@pytest.mark.parametrize("kind", ["residual", "group_normalised"])
def test_all_agree_with_plain_autograd(kind, make, batch):
    x, y = batch[0].double(), batch[1]
    model = make(kind) if kind == "residual" else group_normalised()
    found = proxies.score(model, batch, ALL, device="cpu", dtype="float64")
    for name, value in plain_values(model.double(), x, y).items():
        # Weights before batch normalisation contribute to `plain` nothing but rounding.
        assert found[name].value == pytest.approx(value, rel=1e-8, abs=1e-12), name


@pytest.mark.parametrize("bias", [True, False])
def test_activations_in_place_change_nothing(bias, batch):
    # The mistake: activations that are read after the next operation has written into them.
    found, expected = (
        proxies.score(group_normalised(inplace=inplace, bias=bias), batch, ALL, device="cpu")
        for inplace in (True, False)
    )
    for name in ALL:
        assert found[name].status == "ok"
        assert found[name].value == pytest.approx(expected[name].value, rel=1e-5), name
    for name in ALL:
        alone = score_of(group_normalised(inplace=True, bias=bias), *batch, name)
        assert alone == pytest.approx(expected[name].value, rel=1e-5), name


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True:UserWarning")
def test_adding_up_parts_of_a_batch_is_a_mistake_for_each(batch):
    # Parts of k = 2 halves, each with the gradients of its own mean loss.
    x, y = batch[0].double(), batch[1]
    model = group_normalised().double()
    whole = plain_values(model, x, y)
    halves = [plain_values(model, x[rows], y[rows]) for rows in (slice(0, 3), slice(3, 6))]
    # Gradients that are added up are twice the mean's; so is what is linear in them.
    gradients = []
    for rows in (slice(0, 3), slice(3, 6)):
        loss = functional.cross_entropy(model(x[rows]), y[rows])
        gradients.append(torch.autograd.grad(loss, [model[i].weight for i in (0, 3, 7)]))
    added = [one + other for one, other in zip(*gradients, strict=True)]
    mistaken = sum(float(gradient.norm()) for gradient in added)
    assert mistaken == pytest.approx(2 * whole["grad_norm"])
    assert sum(half["plain"] for half in halves) == pytest.approx(2 * whole["plain"])
    # Its gradients are twice as large, squared; its means are over half as many.
    assert sum(half["fisher"] for half in halves) == pytest.approx(2**3 * whole["fisher"])
    # The last part's gradient is another one, and so is the sum over parts.
    for wrong in (halves[-1]["grasp"], sum(half["grasp"] for half in halves)):
        assert abs(wrong / whole["grasp"] - 1) > 0.1
    for micro_batch in (None, 1, 2, 3, 5):
        split = proxies.score(
            model, (x, y), ALL, device="cpu", dtype="float64", micro_batch=micro_batch
        )
        for name, value in whole.items():
            assert split[name].value == pytest.approx(value, rel=1e-9), (name, micro_batch)


def test_l2_norm_takes_weights_of_layers_only():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 1))
    nn.init.constant_(model[0].weight, -2.0)
    nn.init.constant_(model[3].weight, 3.0)
    nn.init.constant_(model[3].bias, 50.0)
    assert score_of(model, torch.ones(2, 1, 2, 2), None, "l2_norm") == pytest.approx(2 + 6)


def test_plain_is_better_when_lower_whatever_the_data_say():
    # The mistake: a sign that is read off a correlation with the labels at hand.
    assert {name: proxies.PROXIES[name].direction for name in ALL} == {
        **dict.fromkeys(ALL, 1),
        "plain": -1,
    }


def test_a_loss_without_curvature_has_no_grasp():
    x = torch.tensor([[2.0], [4.0]])
    assert score_of(one_weight(3.0), x, torch.ones(2, 1), "grasp", loss=weighted) == 0.0


def test_tokens_that_come_first_are_a_status_for_fisher():
    class SequenceFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(torch.relu(self.layer(x.transpose(0, 1))).mean(0))

    # Six words of three samples each: the number of samples divides the first dimension.
    batch = torch.randn(3, 6, 4), torch.tensor([0, 1, 2])
    for name in ("fisher", "gradsign", "te_nas_condition", "vkdnw"):
        status = proxies.score(SequenceFirst(), batch, [name], device="cpu")[name].status
        assert "with 3 samples in their first dimension, found shape (6, 3, 4)" in status

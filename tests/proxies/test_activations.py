import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import proxies


class Units(nn.Module):
    """An activation function on the inputs themselves, summed up."""

    def __init__(self, activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x):
        return self.activation(x).sum(1, keepdim=True)


# Patterns 11, 10, 00: K = [[2, 1, 0], [1, 2, 1], [0, 1, 2]] has determinant 4.
BY_HAND = torch.tensor([[1.0, 2.0], [3.0, -4.0], [-5.0, -6.0]])


def score_of(model: nn.Module, x: torch.Tensor) -> proxies.ProxyScore:
    return proxies.score(model, (x, None), ["naswot"])["naswot"]


RECTIFIERS = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "function": functional.relu,
    "method": lambda x: x.relu(),
    "method in place": lambda x: (1 * x).relu_(),
    "gelu": functional.gelu,
    "gelu of tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "silu in place": nn.SiLU(inplace=True),
    "mish": functional.mish,
    "relu6": nn.ReLU6(),
    "hardtanh from zero": lambda x: functional.hardtanh(x, 0.0, 3.0),
    "hardswish": functional.hardswish,
    "leaky": nn.LeakyReLU(0.1, inplace=True),
    "parametric": nn.PReLU(),
    "randomised": nn.RReLU(),
    "elu": nn.ELU(inplace=True),
    "selu": functional.selu,
    "celu": functional.celu,
    "softplus": functional.softplus,
    "threshold": lambda x: functional.threshold(x, 0.0, 0.0),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0),
}


@pytest.mark.parametrize("kind", RECTIFIERS)
def test_by_hand_for_every_rectifier(kind):
    # The mistake: counting nn.ReLU modules only gives K = 0 and −∞ for all others.
    score = score_of(Units(RECTIFIERS[kind]), BY_HAND)
    assert score.status == "ok"
    assert score.value == pytest.approx(math.log(4))


@pytest.mark.parametrize(
    "activation",
    [
        torch.tanh,
        torch.sigmoid,
        functional.hardtanh,
        lambda x: x.clamp(max=0.5),
        lambda x: x.clamp(-1, 1),
        lambda x: x.clamp(torch.zeros(()), torch.ones(())),
        lambda x: functional.threshold(x, 0.5, 0.0),
    ],
)
def test_other_functions_are_no_rectifiers(activation):
    score = score_of(Units(activation), BY_HAND)
    assert math.isnan(score.value)
    assert score.status == "expected ReLU-like activations on the way to the output, found none"


def test_agrees_with_numpy(make, batch):
    model = make("cells").train()
    patterns = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(
                lambda _, __, out: patterns.append((out > 0).flatten(1).numpy().astype(float))
            )
    with torch.no_grad():
        model(batch[0])
    on = np.concatenate(patterns, axis=1)
    expected = np.linalg.slogdet(on @ on.T + (1 - on) @ (1 - on).T)[1]
    assert score_of(make("cells"), batch[0]).value == pytest.approx(expected, rel=1e-9)


def test_a_repeated_sample_is_a_status():
    # The mistake: −∞, or whatever rounding makes of it.
    torch.manual_seed(0)
    x = torch.randn(12, 40)
    x[7] = 2 * x[3]
    score = score_of(Units(functional.relu), x)
    assert math.isnan(score.value)
    assert score.status == (
        "expected a pattern of its own for every sample, found 1 of 12 that repeat another's"
    )


def test_dependent_patterns_are_a_status():
    # 11, 10, 01, 00: all different, and K has rank 3.
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    score = score_of(Units(functional.relu), x)
    assert score.status.startswith("expected linearly independent activation patterns")


class Branches(nn.Module):
    """A live unit for every input, and as many in a branch that is dead in some way."""

    def __init__(self, death: str) -> None:
        super().__init__()
        self.death = death

    def forward(self, x):
        live = functional.relu(x)
        if self.death == "unused":
            functional.relu(x - 1)
        elif self.death == "multiplied by zero afterwards":
            live = live + functional.relu(x - 1).mul(0.0)
        elif self.death == "multiplied by zeros afterwards":
            live = live + torch.zeros(2) * functional.relu(x - 1)
        elif self.death == "multiplied by zero before":
            live = live + functional.relu(0 * x + 1)
        elif self.death == "replaced by zeros":
            live = live + torch.zeros_like(functional.relu(x - 1))
        return live.sum(1, keepdim=True)


@pytest.mark.parametrize(
    "death",
    [
        "unused",
        "multiplied by zero afterwards",
        "multiplied by zeros afterwards",
        "multiplied by zero before",
        "replaced by zeros",
    ],
)
def test_dead_branches_do_not_count(death):
    # The mistake: dead units agree for all samples and add to every entry of K.
    assert score_of(Branches(death), BY_HAND).value == pytest.approx(math.log(4))


def test_dead_operations_of_a_cell_do_not_count(make, batch):
    # The first operation feeds nothing but a "none": it might as well not be there.
    dead = score_of(make("cells", "convolution", "none", "convolution"), batch[0])
    absent = score_of(make("cells", "skip", "none", "convolution"), batch[0])
    alive = score_of(make("cells", "convolution", "convolution", "convolution"), batch[0])
    assert dead.value == absent.value < alive.value


def test_a_branch_that_starts_at_zero_but_can_learn_is_alive(make, batch):
    model = make("cells")
    expected = score_of(model, batch[0]).value
    nn.init.zeros_(model.head.weight)
    assert score_of(model, batch[0]).value == expected


def test_the_size_of_the_batch_is_part_of_the_score(make):
    x = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    few = proxies.score(make("cells"), (x[:6], None), ["naswot"])
    many = proxies.score(make("cells"), (x, None), ["naswot"])
    assert many["naswot"].value > few["naswot"].value
    assert (few.provenance["batch_size"], many.provenance["batch_size"]) == (6, 12)


def test_sequences_first_are_a_status():
    class SequenceFirst(nn.Module):
        def forward(self, x):
            return functional.relu(x.transpose(0, 1)).sum((0, 2))[:, None]

    for length in (7, 6):
        score = score_of(SequenceFirst(), torch.randn(3, length, 2))
        assert "expected activations with 3 samples in their first dimension" in score.status


def test_windows_of_a_sample_belong_to_it():
    class Windows(nn.Module):
        def forward(self, x):
            return functional.relu(x.reshape(-1, 2)).reshape(len(x), -1)

    torch.manual_seed(0)
    x = torch.randn(3, 20)
    assert score_of(Windows(), x).value == score_of(Units(functional.relu), x).value


def value_of(name: str, model: nn.Module, x: torch.Tensor) -> float:
    score = proxies.score(model, (x, None), [name], device="cpu")[name]
    assert score.status == "ok"
    return score.value


@pytest.mark.parametrize(
    ("x", "distinct"),
    [
        # Units (on, on, off) and (on, off, off).
        (BY_HAND, 2),
        (torch.cat([BY_HAND, 2 * BY_HAND], dim=1), 2),
        (torch.cat([BY_HAND, -BY_HAND], dim=1), 4),
        (torch.ones(3, 5), 1),
    ],
)
def test_swap_by_hand(x, distinct):
    assert value_of("swap", Units(functional.relu), x) == distinct


class TwoLayers(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Linear(2, width), nn.Linear(width, width)

    def patterns(self, x: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(self.first(x))
        return torch.cat([hidden > 0, self.second(hidden) > 0], dim=1)

    def forward(self, x):
        return functional.relu(self.second(functional.relu(self.first(x))))


@pytest.mark.parametrize("samples", [1, 5, 22, 23, 44, 45, 63, 64, 65, 128, 150])
def test_swap_and_regions_agree_with_plain_code(samples):
    # Patterns are packed into words of 22, 44 and 64 samples.
    model = TwoLayers(40)
    x = torch.randn(samples, 2, generator=torch.Generator().manual_seed(samples))
    patterns = model.patterns(x)
    distinct = {tuple(unit.tolist()) for unit in patterns.T}
    assert value_of("swap", model, x) == len(distinct)
    if samples > 1:
        apart = [int((patterns[i] != patterns[j]).sum()) for i in range(samples) for j in range(i)]
        assert value_of("te_nas_regions", model, x) == pytest.approx(np.mean(apart))


def test_patterns_that_differ_in_one_sample_are_distinct():
    # Each of 70 units is off for one sample of its own; in float32 words they would merge.
    x = 1 - 2 * torch.eye(70)
    assert value_of("swap", Units(functional.relu), x) == 70


def test_regions_by_hand():
    # Patterns 11, 10, 00: pairs lie 1, 2 and 1 boundaries apart.
    assert value_of("te_nas_regions", Units(functional.relu), BY_HAND) == pytest.approx(4 / 3)


def test_regions_tell_networks_apart_where_counting_samples_does_not():
    # The mistake: the number of distinct samples' patterns is the size of the batch for both.
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    models = TwoLayers(64), TwoLayers(256)
    assert [len(torch.unique(model.patterns(x), dim=0)) for model in models] == [20, 20]
    few, many = (value_of("te_nas_regions", model, x) for model in models)
    assert few < many


@pytest.mark.parametrize("name", ["swap", "te_nas_regions"])
def test_networks_without_rectifiers_are_a_status(name):
    score = proxies.score(Units(torch.tanh), (BY_HAND, None), [name], device="cpu")[name]
    assert score.status == "expected ReLU-like activations on the way to the output, found none"


def test_one_sample_has_no_regions():
    score = proxies.score(Units(functional.relu), (BY_HAND[:1], None), ["te_nas_regions"])
    assert score["te_nas_regions"].status == "expected at least two samples to compare, found one"


@pytest.mark.parametrize("name", ["swap", "te_nas_regions"])
def test_dead_branches_count_for_neither(name):
    dead = value_of(name, Branches("multiplied by zero afterwards"), BY_HAND)
    assert dead == value_of(name, Units(functional.relu), BY_HAND)

import random

import pytest
import torch
from torch import nn
from torch.autograd.graph import save_on_cpu

import proxies
from proxies.passes import batch as batch_module
from proxies.passes.batch import chunk_size, memory_saver
from proxies.subject import subject_of


def size_of(model: nn.Module, x: torch.Tensor, micro_batch: int | None = 2) -> int:
    return chunk_size(subject_of(model, (x, None), device="cpu", micro_batch=micro_batch))


@pytest.mark.parametrize("name", ["group_normalised", "transformer", "perceptron"])
def test_samples_that_do_not_meet_are_taken_apart(name, make, batch):
    assert size_of(make(name), batch[0]) == 2


@pytest.mark.parametrize("name", ["cells", "residual"])
def test_batch_statistics_keep_the_batch_whole(name, make, batch):
    assert size_of(make(name).eval(), batch[0]) == 6


class Centred(nn.Module):
    def forward(self, x):
        return x - 0.01 * x.mean(0)


class Noisy(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)


class Averaging(nn.Module):
    """Its state changes with every call, and its output with the state."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.ones(1))

    def forward(self, x):
        self.count += 1
        return x / self.count


class Rarely(nn.Module):
    """Random, though hardly ever in two samples."""

    def forward(self, x):
        return x * (torch.rand(len(x), 1) > 1e-6)


class Dropping(nn.Module):
    """Leaves out a layer now and then, by Python's random numbers."""

    def forward(self, x):
        return x if random.random() < 0.05 else 2 * x


class ZeroBranch(nn.Module):
    """Its samples meet in a branch that adds nothing yet."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return x + self.weight * (x - x.mean(0))


class Stubborn(nn.Module):
    def forward(self, x):
        assert len(x) > 1
        return x


@pytest.mark.parametrize(
    "kind", [Centred, Noisy, Rarely, Dropping, Averaging, ZeroBranch, Stubborn]
)
def test_any_other_dependence_keeps_the_batch_whole(kind, batch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), kind(), nn.ReLU(), nn.Linear(4, 5))
    assert size_of(model, batch[0]) == 6
    whole = proxies.score(model, batch)
    split = proxies.score(model, batch, micro_batch=1)
    for name in whole:
        assert split[name].status == whole[name].status
        assert split[name].value == pytest.approx(whole[name].value, rel=1e-6, nan_ok=True)


def test_a_micro_batch_as_large_as_the_batch_is_the_batch(make, batch):
    assert size_of(make("perceptron"), batch[0], None) == 6
    assert size_of(make("perceptron"), batch[0], 6) == 6
    assert size_of(make("perceptron"), batch[0], 600) == 6


def test_memory_is_saved_on_accelerators_only():
    assert isinstance(memory_saver(torch.device("cuda")), save_on_cpu)
    assert not isinstance(memory_saver(torch.device("cpu")), save_on_cpu)


def test_saving_memory_changes_no_value(make, batch, monkeypatch):
    uses = []

    def saver(device):
        uses.append(device)
        return save_on_cpu()

    expected = proxies.score(make("residual"), batch)
    monkeypatch.setattr(batch_module, "memory_saver", saver)
    proxies.score(make("residual"), batch)
    assert uses == []
    saved = proxies.score(make("residual"), batch, micro_batch=1)
    # The whole batch, for zico each of its halves, and every sample's gradients.
    assert uses == [torch.device("cpu")] * 4
    assert {k: v.value for k, v in saved.items()} == {k: v.value for k, v in expected.items()}

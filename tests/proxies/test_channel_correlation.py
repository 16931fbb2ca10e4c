import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import proxies
from proxies import Probe
from proxies.isolation import gaussian


def meco_of(model: nn.Module, shape: tuple[int, ...], **options) -> proxies.ProxyScore:
    return proxies.score(model, (torch.zeros(2, *shape), None), ["meco"], device="cpu", **options)[
        "meco"
    ]


def noise_of(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return gaussian(torch.Size((1, *shape)), torch.Generator().manual_seed(seed)).double()


def test_agrees_with_numpy():
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 5, 3, stride=2), nn.Conv2d(5, 4, 3, padding=1)
    model = nn.Sequential(first, nn.BatchNorm2d(5), nn.ReLU(inplace=True), second, nn.Flatten())
    x = noise_of((3, 11, 12), 4)
    model.double().train()
    with torch.no_grad():
        maps = [first(x), second(functional.relu(model[1](first(x))))]
    expected = [np.linalg.eigvalsh(np.corrcoef(m[0].flatten(1).numpy()))[0] for m in maps]
    found = meco_of(model.float().eval(), (3, 11, 12), seed=4, dtype="float64")
    assert found.value == pytest.approx(sum(expected), rel=1e-9)
    assert min(expected) > 0.01
    probe = Probe(model, (torch.zeros(2, 3, 11, 12), None), seed=4, dtype="float64", device="cpu")
    assert probe.smallest_eigenvalues == pytest.approx(expected, rel=1e-9)


def test_in_place_activations_see_what_comes_later():
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 4, 3)
    values = {
        meco_of(nn.Sequential(convolution, nn.ReLU(inplace=inplace)), (3, 9, 9)).value
        for inplace in (True, False)
    }
    assert len(values) == 1


def test_by_hand():
    # One channel correlates with itself alone: 1. Copies are dependent: 0.
    single = nn.Conv2d(1, 1, 1)
    copies = nn.Conv2d(1, 2, 1)
    nn.init.ones_(copies.weight)
    assert meco_of(single, (1, 4, 4)).value == pytest.approx(1.0)
    assert meco_of(copies, (1, 4, 4)).value == pytest.approx(0.0, abs=1e-6)
    assert meco_of(nn.Conv1d(1, 1, 1), (1, 9)).value == pytest.approx(1.0)


def test_constant_channels_are_uncorrelated_rather_than_undefined():
    # The mistake: nan in the matrix, and in everything that is made of it.
    dead = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        dead.weight.copy_(torch.tensor([1.0, 0.0]).view(2, 1, 1, 1))
    assert meco_of(dead, (1, 4, 4)).value == 0.0
    with np.errstate(invalid="ignore"):
        mistaken = np.corrcoef(np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]]))
    assert np.isnan(mistaken).any()


def test_more_channels_than_positions_add_nothing():
    torch.manual_seed(0)
    wide = nn.Conv2d(2, 8, 3)
    narrow = nn.Conv2d(2, 2, 1)
    assert meco_of(wide, (2, 4, 4)).value == 0.0
    expected = meco_of(narrow, (2, 4, 4)).value
    assert expected > 0
    assert meco_of(nn.Sequential(narrow, wide), (2, 4, 4)).value == expected


def test_depends_on_the_seed_and_not_on_the_batch(make, batch):
    def value(x: torch.Tensor, seed: int = 0) -> float:
        return proxies.score(make("cells"), (x, None), ["meco"], seed=seed)["meco"].value

    assert value(batch[0]) == value(batch[0][:2] * 7) != value(batch[0], seed=1)


@pytest.mark.parametrize(
    ("model", "x", "status"),
    [
        (nn.Linear(3, 2), torch.ones(2, 3), "expected convolutions, found none"),
        (
            nn.Embedding(3, 2),
            torch.ones(2, 3).long(),
            "expected floating-point inputs to draw, found whole numbers",
        ),
    ],
)
def test_what_has_no_maps_is_a_status(model, x, status):
    assert proxies.score(model, (x, None), ["meco"], device="cpu")["meco"].status == status

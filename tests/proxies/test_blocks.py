import math

import pytest
import torch
from torch import nn

import proxies

NAMES = ("az_expressivity", "az_progressivity", "az_trainability")


class Linear(nn.Module):
    """A block that multiplies channels by a matrix."""

    def __init__(self, *rows: tuple[float, ...]) -> None:
        super().__init__()
        self.layer = nn.Linear(len(rows[0]), len(rows), bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor(rows))

    def forward(self, x):
        return self.layer(x)


def scores_of(*blocks: nn.Module, samples: int = 4096) -> proxies.Scores:
    channels = blocks[0].layer.weight.shape[1]
    batch = (torch.zeros(samples, channels), None)
    return proxies.score(nn.Sequential(*blocks), batch, NAMES, device="cpu", dtype="float64")


def entropy(*variances: float) -> float:
    shares = [variance / sum(variances) for variance in variances if variance]
    return -sum(share * math.log(share) for share in shares)


def test_expressivity_and_progressivity_of_known_covariances():
    # Unit noise in two channels; variances 9 and 1; two channels of which one is a copy.
    scores = scores_of(Linear((3.0, 0.0), (0.0, 1.0)), Linear((1.0, 0.0), (1.0, 0.0)))
    entropies = [entropy(1, 1), entropy(9, 1), entropy(18, 0)]
    assert scores["az_expressivity"].value == pytest.approx(sum(entropies), rel=0.02)
    assert scores["az_progressivity"].value == pytest.approx(entropies[1] - entropies[0], rel=0.05)
    # The fall from one block to the next is the smallest increase, not the sum of them.
    assert entropies[2] - entropies[1] > entropies[1] - entropies[0]


def test_the_scale_of_features_makes_no_difference():
    small = scores_of(Linear((3.0, 0.0), (0.0, 1.0)), Linear((0.0, 1.0), (1.0, 0.0)))
    large = scores_of(Linear((3e3, 0.0), (0.0, 1e3)), Linear((0.0, 1.0), (1.0, 0.0)))
    assert large["az_expressivity"].value == pytest.approx(small["az_expressivity"].value)


def test_trainability_by_hand():
    # One channel: σ is the factor itself.
    value = scores_of(Linear((0.5,)), Linear((4.0,)), samples=8)["az_trainability"].value
    assert value == pytest.approx(((2 - 0.5 - 2) + (2 - 4 - 0.25)) / 2)


def test_trainability_is_best_where_gradients_keep_their_size():
    # A sign makes it no identity, and no scale.
    best = scores_of(Linear((-1.0,)), Linear((-1.0,)), samples=8)["az_trainability"]
    assert best.value == pytest.approx(0.0, abs=1e-12)
    for factor in (0.9, 1.1):
        other = scores_of(Linear((-1.0,)), Linear((-factor,)), samples=8)["az_trainability"]
        assert other.value < 0


class Dead(Linear):
    def forward(self, x):
        return super().forward(x) * 0


class Detached(Linear):
    def forward(self, x):
        return self.layer.weight.expand(len(x), -1)


def test_an_identity_is_a_status():
    score = scores_of(Linear((2.0,)), Linear((1.0,)), samples=8)["az_trainability"]
    assert score.status == "expected blocks that do something, found an identity"
    assert math.isnan(score.value)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Dead, "expected gradients through every block, found a dead one"),
        (
            Detached,
            "expected blocks one after the other, found one that does not depend on the block "
            "before it",
        ),
    ],
)
def test_a_dead_block_is_a_status(kind, status):
    scores = scores_of(Linear((2.0,)), kind((3.0,)), samples=8)
    assert scores["az_trainability"].status == status
    # Its features do not vary either: the mistake would be nan, or −1e8.
    for name in ("az_expressivity", "az_progressivity"):
        assert scores[name].status == "expected features that vary, found constant ones"
        assert math.isnan(scores[name].value)


def test_operations_side_by_side_are_no_chain(make, batch):
    score = proxies.score(make("cells"), batch, ["az_trainability"], device="cpu")
    assert score["az_trainability"].status.startswith("expected blocks one after the other")


def test_values_follow_from_the_seed_and_not_from_the_batch(make, batch):
    x, y = batch

    def values(x: torch.Tensor, seed: int = 0) -> list[float]:
        scores = proxies.score(make("residual"), (x, y), NAMES, seed=seed, device="cpu")
        return [score.value for score in scores.values()]

    assert values(x) == values(3 * x) != values(x, seed=1)

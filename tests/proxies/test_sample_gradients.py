import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import proxies
from proxies import Probe
from proxies.passes.layers import layer_weights


def product(output: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """A loss whose gradient by the output of sample i is a factor of its own."""
    return (output * factors).mean()


def scores_of(x: list[list[float]], factors: list[list[float]], *names: str) -> proxies.Scores:
    model = nn.Linear(len(x[0]), len(factors[0]), bias=False)
    batch = (torch.tensor(x), torch.tensor(factors))
    return proxies.score(model, batch, names, device="cpu", loss=product, dtype="float64")


def test_zico_by_hand():
    # Gradients of the halves: the mean of factors × inputs: (1, 2) and (3, 2); the second weight
    # does not differ. Mean 2, deviation 1.
    score = scores_of([[1.0, 1.0], [1.0, 3.0], [2.0, 2.0], [4.0, 2.0]], [[1.0]] * 4, "zico")["zico"]
    assert score.status == "ok"
    assert score.value == pytest.approx(math.log(2))


def test_zico_takes_halves_with_their_own_statistics(make, batch):
    x, y = batch[0].double(), batch[1]
    model = make("residual").double().train()
    halves = []
    for part in (slice(0, 3), slice(3, 6)):
        loss = functional.cross_entropy(model(x[part]), y[part])
        named = dict(model.named_parameters())
        weights = [named[name] for name in layer_weights(model)]
        halves.append([g.numpy() for g in torch.autograd.grad(loss, weights)])
    expected = 0.0
    for pair in zip(*halves, strict=True):
        stacked = np.stack(pair)
        expected += math.log((np.abs(stacked).mean(0) / stacked.std(0)).sum())
    found = proxies.score(make("residual"), batch, ["zico"], device="cpu", dtype="float64")["zico"]
    assert found.value == pytest.approx(expected, rel=1e-9)


def zico_of_batches(gradients: list[np.ndarray]) -> float:
    """As elsewhere: layers without a deviation are left out, whatever is left."""
    stacked = np.stack(gradients)
    spread = stacked.std(0)
    ratios = np.abs(stacked).mean(0)[spread > 0] / spread[spread > 0]
    return math.log(ratios.sum()) if ratios.sum() > 0 else 0.0


def test_zico_of_one_batch_would_be_zero_for_every_network(make, batch):
    # The mistake: one batch has no deviation, and every network 0.
    assert zico_of_batches([np.array([1.0, 2.0])]) == zico_of_batches([np.array([5.0])]) == 0.0
    assert zico_of_batches([np.array([1.0]), np.array([3.0])]) == math.log(2)
    values = {
        proxies.score(make(kind), batch, ["zico"], device="cpu")["zico"].value
        for kind in ("cells", "residual", "perceptron")
    }
    assert len(values) == 3
    assert 0.0 not in values
    one = (batch[0][:1], batch[1][:1])
    score = proxies.score(make("perceptron"), one, ["zico"], device="cpu")["zico"]
    assert score.status == "expected at least 2 samples to split, found 1"
    assert math.isnan(score.value)


def test_zico_without_differences_is_a_status():
    score = scores_of([[1.0, 2.0]] * 4, [[1.0]] * 4, "zico")["zico"]
    assert score.status == (
        "expected gradients that differ between the halves of the batch, found none"
    )


def test_provenance_says_how_many_parts_the_batch_is_split_into(make, batch):
    assert proxies.score(make("cells"), batch, ["zico"], device="cpu").provenance["splits"] == 2


def test_gradsign_by_hand():
    # Signs of factor × input: (+, −, 0), (+, +, +) and, with a negative factor, (−, +, −).
    x = [[1.0, -2.0, 0.0], [3.0, 1.0, 1.0], [2.0, -1.0, 5.0]]
    score = scores_of(x, [[1.0], [2.0], [-1.0]], "gradsign")["gradsign"]
    assert score.value == 1 + 1 + 0
    assert scores_of(x, [[1.0], [2.0], [1.0]], "gradsign")["gradsign"].value == 3 + 1 + 2


def test_gradsign_of_a_loss_that_is_not_finite_is_a_status():
    # The mistake: the sign of nan is 0, and a broken network's score a number.
    score = scores_of([[1.0], [2.0]], [[math.nan], [1.0]], "gradsign")["gradsign"]
    assert score.status == "expected a finite loss, found nan"


def test_te_nas_condition_by_hand():
    # Gradients of the summed output by a linear layer with two outputs: the input, twice.
    # The kernel is 2 [[1, 1], [1, 5]]: eigenvalues 6 ± √20.
    score = scores_of([[1.0, 0.0], [1.0, 2.0]], [[1.0, 1.0]] * 2, "te_nas_condition")
    expected = (6 + math.sqrt(20)) / (6 - math.sqrt(20))
    assert score["te_nas_condition"].value == pytest.approx(expected)
    assert score["te_nas_condition"].direction == -1


def test_te_nas_condition_agrees_with_numpy(make, batch):
    probe = Probe(make("residual"), batch, device="cpu", dtype="float64")
    expected = np.linalg.cond(probe.tangent_kernel.numpy())
    assert proxies.get_proxy("te_nas_condition")(probe) == pytest.approx(expected, rel=1e-9)


def test_repeated_samples_have_no_condition_number(make, batch):
    x = batch[0].clone()
    x[4] = x[1]
    score = proxies.score(make("cells"), (x, batch[1]), ["te_nas_condition"], device="cpu")
    assert score["te_nas_condition"].status == (
        "expected samples with linearly independent gradients, found dependent ones"
    )
    one = proxies.score(make("perceptron"), (x[:1], batch[1][:1]), ["te_nas_condition"])
    assert one["te_nas_condition"].status == "expected at least two samples to compare, found one"


@pytest.mark.parametrize("kind", ["cells", "residual", "transformer", "perceptron"])
def test_vkdnw_agrees_with_numpy(kind, make, batch):
    probe = Probe(make(kind), batch, device="cpu", dtype="float64")
    gradients = probe.fisher_gradients.numpy()
    layers = gradients.shape[1]
    eigenvalues = np.clip(np.linalg.eigvalsh(gradients.T @ gradients / len(gradients)), 0, None)
    deciles = np.quantile(eigenvalues, np.arange(1, 10) / 10)
    shares = deciles / deciles.sum()
    shares = shares[shares > 0]
    entropy = -(shares * np.log(shares)).sum() / math.log(9)
    found = proxies.get_proxy("vkdnw")(probe)
    assert found == pytest.approx(layers + entropy, rel=1e-9)
    assert layers < found < layers + 1


def test_vkdnw_of_one_layer_is_two():
    # One weight has one eigenvalue, all deciles are equal, and their entropy is largest.
    score = scores_of([[1.0], [2.0]], [[1.0, 1.0]] * 2, "vkdnw")["vkdnw"]
    assert score.value == pytest.approx(2.0)


def test_vkdnw_needs_no_labels(make, batch):
    score = proxies.score(make("cells"), (batch[0], None), ["vkdnw"], device="cpu")["vkdnw"]
    assert score.status == "ok"


def test_dead_layers_do_not_count(make, batch):
    # One that feeds nothing but a "none" has no gradient, and is none of the weighted layers.
    def layers(*names: str) -> int:
        score = proxies.score(make("cells", *names), batch, ["vkdnw"], device="cpu")["vkdnw"]
        return math.floor(score.value)

    assert layers("convolution", "convolution", "convolution") == 2 + 6
    assert layers("skip", "skip", "convolution") == 2 + 2

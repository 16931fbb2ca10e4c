import math

import numpy as np
import pytest
import torch
from torch import nn

import proxies

K = 1e-5


class Halved(nn.Module):
    """f(x) = Σ x² / 2, whose gradient by x is x itself."""

    def forward(self, x):
        return (x * x).sum(1, keepdim=True) / 2


def score_of(model: nn.Module, x: torch.Tensor) -> proxies.ProxyScore:
    return proxies.score(model, (x, None), ["jacob_cov"])["jacob_cov"]


def from_eigenvalues(*eigenvalues: float) -> float:
    return -sum(math.log(value + K) + 1 / (value + K) for value in eigenvalues)


@pytest.mark.parametrize(
    ("second", "eigenvalues"),
    [
        # Beside (1, 0, −1): uncorrelated; by 1/2; the same but for scale; opposite.
        ((1.0, -2.0, 1.0), (1.0, 1.0)),
        ((1.0, -1.0, 0.0), (1.5, 0.5)),
        ((3.0, 1.0, -1.0), (2.0, 0.0)),
        ((-1.0, 0.0, 1.0), (2.0, 0.0)),
    ],
)
def test_by_hand(second, eigenvalues):
    score = score_of(Halved(), torch.tensor([[1.0, 0.0, -1.0], second], dtype=torch.float64))
    assert score.status == "ok"
    assert score.value == pytest.approx(from_eigenvalues(*eigenvalues), rel=1e-9)


def test_agrees_with_numpy(make, batch):
    model = make("cells").train()
    x = batch[0].clone().requires_grad_()
    model(x).sum().backward()
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(x.grad.flatten(1).double().numpy()))
    expected = from_eigenvalues(*eigenvalues)
    assert score_of(make("cells"), batch[0]).value == pytest.approx(expected, rel=1e-5)


def test_many_alike_samples_give_a_real_number():
    # The mistake: a general eigenvalue solver may return complex values for this matrix.
    torch.manual_seed(0)
    x = torch.randn(1, 8, dtype=torch.float64) + 1e-9 * torch.randn(40, 8, dtype=torch.float64)
    score = score_of(Halved(), x)
    assert score.status == "ok"
    assert score.value == pytest.approx(from_eigenvalues(40.0, *[0.0] * 39), rel=1e-3)


def test_a_dead_network_has_no_value_rather_than_a_huge_one(make, batch):
    # The mistake: nan replaced by −1e8, which every later standardisation then sees.
    score = score_of(make("cells", "none", "none", "none"), batch[0])
    assert math.isnan(score.value)
    assert score.status == (
        "expected input gradients that vary within every sample, found them constant for 6 of 6"
    )


def test_a_constant_gradient_has_no_correlation():
    score = score_of(Halved(), torch.tensor([[0.1, 0.1, 0.1], [1.0, 2.0, 4.0]]))
    assert score.status.endswith("found them constant for 1 of 2")


def test_one_sample_has_no_correlation():
    score = score_of(Halved(), torch.ones(1, 3))
    assert score.status == "expected at least two samples to correlate, found one"


def test_an_output_cut_off_from_the_input_is_a_status():
    class Detached(nn.Module):
        def forward(self, x):
            return x.detach() * 2

    assert "found one without a gradient" in score_of(Detached(), torch.ones(2, 3)).status

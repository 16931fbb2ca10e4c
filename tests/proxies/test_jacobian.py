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


def normalised(*last: nn.Module) -> nn.Module:
    """Behind its batch normalisation, all keeps sums."""
    torch.manual_seed(3)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), *head, *last
    )


def gradients(model: nn.Module, x: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    (model(x) * signs).sum().backward()
    return x.grad.flatten(1).double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_normalisation_takes_from_the_sum_is_read_with_signs(batch, dtype):
    # The mistake: the correlations of rounding, as good as those of the best networks.
    model, x = normalised().to(dtype), batch[0].to(dtype)
    draw = torch.Generator().manual_seed(5)
    of_samples, of_classes = (torch.randperm(count, generator=draw) % 2 * 2 - 1 for count in (6, 5))
    rows = gradients(model, x, of_samples[:, None] * of_classes)
    assert gradients(model, x, torch.ones(6, 5)).norm() < 1e-5 * rows.norm()
    score = proxies.score(model, (x, None), ["jacob_cov"], seed=5)["jacob_cov"]
    expected = from_eigenvalues(*np.linalg.eigvalsh(np.corrcoef(rows)))
    assert score.status == "ok"
    assert score.value == pytest.approx(expected, rel=1e-5)


def test_signs_of_samples_that_do_not_meet_change_nothing(make, batch):
    model, x = make("perceptron").eval(), batch[0]
    signs = torch.tensor([1, -1, 1, 1, -1, -1])[:, None]
    plain, signed = (np.corrcoef(gradients(model, x, each)) for each in (torch.ones(6, 1), signs))
    np.testing.assert_allclose(np.abs(signed), np.abs(plain), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.eigvalsh(signed), np.linalg.eigvalsh(plain), atol=1e-6)


def test_a_softmax_at_the_end_is_read_with_signs_in_parts_too(make, batch):
    model = nn.Sequential(make("perceptron"), nn.Softmax(1))
    assert gradients(model.eval(), batch[0], torch.ones(6, 5)).norm() < 1e-6
    whole, parts = (
        proxies.score(model, batch, ["jacob_cov", "epe_nas"], micro_batch=size)
        for size in (None, 2)
    )
    for name, score in whole.items():
        assert score.status == "ok"
        assert parts[name].value == pytest.approx(score.value, rel=1e-5)


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


def epe_nas_of(x: torch.Tensor, y: torch.Tensor | None) -> proxies.ProxyScore:
    return proxies.score(Halved(), (x, y), ["epe_nas"], device="cpu")["epe_nas"]


# Correlations 0 with the second, and 1/2 and −1 with the others.
BY_HAND = torch.tensor(
    [[1.0, 0.0, -1.0], [1.0, -2.0, 1.0], [1.0, -1.0, 0.0], [-1.0, 0.0, 1.0]], dtype=torch.float64
)


def test_epe_nas_by_hand():
    ones, none, half = (math.log(value + K) for value in (1.0, 0.0, 0.5))
    # Class 3: the first two, uncorrelated. Class 8: the last two, of −1/2.
    score = epe_nas_of(BY_HAND, torch.tensor([3, 3, 8, 8]))
    expected = abs(2 * ones + 2 * none) + abs(2 * ones + 2 * half)
    assert score.status == "ok"
    assert score.value == pytest.approx(expected, rel=1e-7)


def test_classes_with_one_sample_add_nothing_and_are_said_where_there_are_no_others():
    # The mistake: they vanish without a word, and with them the value.
    ones, none = math.log(1 + K), math.log(K)
    score = epe_nas_of(BY_HAND, torch.tensor([3, 3, 0, 8]))
    assert score.value == pytest.approx(abs(2 * ones + 2 * none), rel=1e-7)
    single = epe_nas_of(BY_HAND, torch.tensor([0, 1, 2, 3]))
    assert math.isnan(single.value)
    assert single.status == (
        "expected a class with two samples or more, found 4 samples of 4 classes; "
        "use a larger batch"
    )


def test_more_than_a_hundred_classes_are_compared():
    torch.manual_seed(0)
    labels = torch.cat([torch.arange(100), torch.arange(100), torch.arange(30)])
    for extra, many in ((0, False), (1, True)):
        y = torch.cat([labels, torch.full((2,), 100)[: 2 * extra]])
        x = torch.randn(len(y), 6, dtype=torch.float64)
        sums, means = [], []
        for index in y.unique():
            own = np.corrcoef(x[y == index].numpy())
            sums.append(np.log(np.abs(own) + K).sum())
            means.append(sums[-1] / len(own))
        pairs = [abs(a - b) for i, a in enumerate(means) for b in means[:i]]
        expected = np.mean(pairs) if many else np.abs(sums).sum()
        assert epe_nas_of(x, y).value == pytest.approx(expected, rel=1e-8)


def test_one_class_among_many_has_no_other_to_compare_with():
    y = torch.arange(102)
    y[1] = 0
    score = epe_nas_of(torch.randn(102, 6), y)
    assert score.status == "expected two classes with two samples each, found one"


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (None, "none"),
        (torch.zeros(4), "labels of shape (4,)"),
        (torch.zeros(4, 2).long(), "labels of shape (4, 2)"),
    ],
)
def test_labels_that_are_no_classes_are_a_status(labels, found):
    expected = "expected one class number a sample for correlations within classes, found "
    assert epe_nas_of(BY_HAND, labels).status == expected + found


def test_epe_nas_agrees_with_numpy(make, batch):
    model = make("residual").train()
    x = batch[0].clone().requires_grad_()
    model(x).sum().backward()
    rows = x.grad.flatten(1).double().numpy()
    y = torch.tensor([0, 1, 0, 1, 1, 2])
    own = [np.corrcoef(rows[(y == index).numpy()]) for index in (0, 1)]
    expected = sum(abs(np.log(np.abs(matrix) + K).sum()) for matrix in own)
    found = proxies.score(make("residual"), (batch[0], y), ["epe_nas"], device="cpu")["epe_nas"]
    assert found.value == pytest.approx(expected, rel=1e-3)

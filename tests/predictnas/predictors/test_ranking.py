import numpy as np
import pytest
import torch

from predictnas.predictors.ranking import hinge, logistic, squared

# Two members; the second does not see the last architecture.
SCORES = torch.tensor([[0.0, 0.05, 1.0], [0.3, 0.0, 9.0]], dtype=torch.float64).unsqueeze(2)
TARGETS = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
SEEN = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)


def test_hinge_worked_by_hand():
    # First member: one of three pairs is right by too little, 0.05 of 0.1.
    # Second: its one pair is wrong by 0.3.
    assert float(hinge(SCORES, TARGETS, SEEN)) == pytest.approx(0.05 / 3 + 0.4)


def test_logistic_worked_by_hand():
    first = np.log1p(np.exp([-0.05, -1.0, -0.95])).mean()
    second = np.log1p(np.exp(0.3))
    assert float(logistic(SCORES, TARGETS, SEEN)) == pytest.approx(first + second)


def test_squared_worked_by_hand():
    first = np.mean([1.0, 1.95**2, 4.0])
    second = np.mean([0.7**2, 4.0])
    assert float(squared(SCORES, TARGETS, SEEN)) == pytest.approx(first + second)


@pytest.mark.parametrize("loss", [hinge, logistic])
def test_ties_and_shifts_count_for_nothing(loss):
    shifted = SCORES + torch.tensor([[[5.0]], [[-3.0]]], dtype=torch.float64)
    torch.testing.assert_close(loss(shifted, TARGETS, SEEN), loss(SCORES, TARGETS, SEEN))
    assert float(loss(SCORES, torch.ones_like(TARGETS), SEEN)) == 0.0


@pytest.mark.parametrize("loss", [hinge, logistic, squared])
def test_members_learn_apart_and_from_what_they_see(loss):
    scores = SCORES.clone().requires_grad_()
    loss(scores, TARGETS, SEEN).backward()
    assert float(scores.grad[1, 2, 0]) == 0.0
    for member in range(2):
        alone = SCORES[member : member + 1].clone().requires_grad_()
        loss(alone, TARGETS, SEEN[member : member + 1]).backward()
        torch.testing.assert_close(scores.grad[member], alone.grad[0])

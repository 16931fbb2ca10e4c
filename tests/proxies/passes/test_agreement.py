"""Agreement of activation patterns, counted pair by pair."""

import pytest
import torch

from proxies.passes.agreement import count_agreements


def counted(layers, samples):
    """Compare every unit of every two samples."""
    return sum((layer[:, None] == layer[None]).sum(-1) for layer in layers).double().tolist()


@pytest.mark.parametrize("bytewise", [True, False])
@pytest.mark.parametrize("units", [1, 2, 7, 333, 4096])
def test_agreements_are_those_counted_pair_by_pair(monkeypatch, units, bytewise):
    if not bytewise:
        monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    generator = torch.Generator().manual_seed(units)
    layers = [torch.rand(9, units, generator=generator) > share for share in (0.2, 0.5, 0.9)]
    assert count_agreements(layers, 9).tolist() == counted(layers, 9)


def test_layers_that_do_not_lie_in_one_piece_count_alike():
    layer = torch.rand(12, 40, generator=torch.Generator().manual_seed(0)) > 0.5
    for view in (layer[:, 3:], layer[::2], layer.T[:12]):
        assert count_agreements([view], len(view)).tolist() == counted([view], len(view))


def test_no_layers_agree_nowhere():
    assert count_agreements([], 3).tolist() == [[0.0] * 3] * 3


def test_one_sample_agrees_with_itself():
    assert count_agreements([torch.tensor([[True, False, True]])], 1).tolist() == [[3.0]]


def test_autocast_of_the_caller_changes_no_count():
    on = torch.rand(6, 5000, generator=torch.Generator().manual_seed(0)) < 0.5
    expected = (on[:, None] == on).sum(dim=2).double()
    with torch.autocast("cpu"):
        found = count_agreements([on], 6)
    assert torch.equal(found, expected)


def test_autocast_changes_no_count_where_bytes_are_not_multiplied(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    test_autocast_of_the_caller_changes_no_count()

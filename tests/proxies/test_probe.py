import pytest
import torch
from torch import nn

import proxies
from proxies import Probe, UndefinedProxyError
from proxies.passes import batch as batch_module


class Counting(nn.Module):
    def __init__(self, calls: list[bool]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 5))
        # In a tuple, because lists come back from scoring as they were.
        self.calls = (calls,)

    def forward(self, x):
        self.calls[0].append(torch.is_grad_enabled())
        return self.layers(x)


ATTRIBUTES = ("loss_gradients", "input_jacobian", "relu_signs")


@pytest.mark.parametrize("first", ATTRIBUTES)
def test_one_forward_serves_everything_that_is_announced(first, batch):
    calls: list[bool] = []
    probe = Probe(Counting(calls), batch, reads=ATTRIBUTES)
    assert calls == []
    for name in (first, *ATTRIBUTES, *ATTRIBUTES):
        getattr(probe, name)
    assert len(calls) == 1


def test_nothing_is_measured_that_is_not_read(batch):
    calls: list[bool] = []
    probe = Probe(Counting(calls), batch)
    assert probe.trainable_parameters == 192 * 8 + 8 + 8 * 5 + 5
    assert calls == []
    for _ in range(2):
        assert probe.macs == 192 * 8 + 8 * 5
        assert probe.log_synaptic_flow > 0
        assert probe.perturbation.clean.shape == (6, 8)
        assert probe.relu_agreement.shape == (6, 6)
    # Counting, flow, two feature maps, the batch.
    assert len(calls) == 5


def test_a_failure_is_kept_as_well(batch):
    calls: list[bool] = []
    model = Counting(calls)
    model.layers.append(nn.Linear(7, 7))
    probe = Probe(model, batch, reads=ATTRIBUTES)
    for name in (*ATTRIBUTES, *ATTRIBUTES):
        with pytest.raises(UndefinedProxyError, match="RuntimeError: mat1 and mat2 shapes"):
            getattr(probe, name)
    assert len(calls) == 1


def test_shapes_and_names(batch):
    probe = Probe(Counting([]), batch)
    names = ["layers.1.weight", "layers.1.bias", "layers.3.weight", "layers.3.bias"]
    assert list(probe.loss_gradients) == list(probe.parameters) == names
    assert probe.input_jacobian.shape == (6, 192)
    assert [signs.shape for signs in probe.relu_signs] == [(6, 8)]
    assert probe.relu_signs[0].dtype == torch.bool


def test_agreement_counts_units(batch):
    probe = Probe(Counting([]), batch)
    (signs,) = probe.relu_signs
    expected = [[int((one == other).sum()) for other in signs] for one in signs]
    assert probe.relu_agreement.tolist() == expected


def test_gradients_share_nothing_with_the_model(batch):
    model = Counting([])
    probe = Probe(model, batch)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    for gradient in probe.loss_gradients.values():
        gradient.zero_()
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert not any(p.requires_grad for p in probe.parameters.values())


def test_second_derivatives_alone_go_without_where_memory_ends(make, batch, monkeypatch):
    def greedy(*_):
        raise torch.OutOfMemoryError("out of memory")

    expected = proxies.score(make("cells"), batch, ["snip", "fisher", "grasp"])
    monkeypatch.setattr(batch_module, "hessian_form", greedy)
    scores = proxies.score(make("cells"), batch, ["snip", "fisher", "grasp"])
    assert scores["grasp"].status.startswith("out of memory")
    for name in ("snip", "fisher"):
        assert scores[name].value == pytest.approx(expected[name].value, rel=1e-6)
    assert scores.provenance["micro_batch"] is None

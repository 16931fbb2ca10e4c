import pytest
import torch
from torch import nn
from torch.nn import functional

from proxies.passes.layers import LayerWatcher, OverwrittenError, layer_weights


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3, 1, 1))
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return functional.conv2d(x, self.kernel).mean((2, 3)) * self.scale


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (nn.Sequential(nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3), nn.PReLU(3)), ["0.weight"]),
        (nn.Sequential(nn.ConvTranspose2d(2, 3, 1), nn.Bilinear(2, 3, 4)), ["0.weight"]),
        (nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 2)), ["1.weight"]),
        (nn.MultiheadAttention(4, 2), ["in_proj_weight", "out_proj.weight"]),
        (
            nn.MultiheadAttention(4, 2, kdim=3, vdim=2),
            ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"],
        ),
        (
            nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
            ["parametrizations.weight.original0", "parametrizations.weight.original1"],
        ),
        (Functional(), ["kernel"]),
        (nn.BatchNorm2d(3), []),
    ],
)
def test_weights_of_layers(model, names):
    assert layer_weights(model) == names


def test_shared_weights_are_named_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert layer_weights(model) == ["0.weight"]


def test_calls_in_the_order_of_execution(make, batch):
    model = make("residual")
    with LayerWatcher() as watcher:
        output = model(batch[0])
    watcher.check()
    assert [call.name for call in watcher.calls] == ["conv2d"] * 7 + ["linear"]
    assert [call.channel_dimension for call in watcher.calls] == [1] * 8
    assert watcher.calls[-1].output is output
    assert watcher.calls[0].args[1] is model.stem.weight


def test_channels_of_tokens_are_last():
    with LayerWatcher() as watcher:
        nn.Linear(3, 2)(torch.ones(4, 5, 3))
        nn.ConvTranspose1d(3, 2, 1)(torch.ones(4, 3, 5))
    assert [call.channel_dimension for call in watcher.calls] == [2, 1]


def test_results_without_gradients_are_no_calls():
    with LayerWatcher() as watcher, torch.no_grad():
        nn.Linear(3, 2)(torch.ones(4, 3))
    assert watcher.calls == []


@pytest.mark.parametrize(
    "write",
    [nn.ReLU(inplace=True), lambda x: x.view(-1).mul_(2), lambda x: x.__setitem__(0, 1)],
)
def test_writing_into_a_result_is_noticed_and_copies_withstand_it(write):
    layer = nn.Conv2d(1, 2, 1)
    x = torch.randn(3, 1, 2, 2)
    with LayerWatcher() as watcher:
        write(layer(x))
    with pytest.raises(OverwrittenError):
        watcher.check()
    with LayerWatcher(copies=True) as watcher:
        write(layer(x))
    watcher.check()
    assert torch.equal(watcher.calls[0].output, layer(x))


def test_edges_are_where_the_layer_stands():
    layer = nn.Linear(2, 2)
    with LayerWatcher() as watcher:
        output = (layer(torch.ones(1, 2)) * torch.tensor([3.0, 5.0])).sum()
    (gradient,) = torch.autograd.grad(output, [watcher.calls[0].edge])
    assert gradient.tolist() == [[3.0, 5.0]]

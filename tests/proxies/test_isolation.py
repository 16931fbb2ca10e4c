import random
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from proxies.isolation import lent, random_streams

CPU = torch.device("cpu")


# ruff: noqa: NPY002 - the global stream of NumPy is meant
def draw() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(1).item()


def states() -> tuple[object, ...]:
    numpy_state = np.random.get_state()[1].tolist()
    return random.getstate(), numpy_state, torch.get_rng_state().tolist()


def draw_and_raise(seed: int) -> None:
    with random_streams(seed, CPU):
        raise RuntimeError(str(draw()))


def test_streams_are_seeded_and_put_back():
    before = states()
    with random_streams(3, CPU):
        first = draw()
    assert states() == before
    with pytest.raises(RuntimeError, match=re.escape(str(first))):
        draw_and_raise(3)
    assert states() == before
    with random_streams(4, CPU):
        assert draw() != first


def test_leaves_stand_in_for_parameters_and_shared_ones_stay_shared():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model.requires_grad_(False)
    original = model[0].weight
    with lent(model, CPU, 0, training=True) as leaves:
        assert list(leaves) == ["0.weight", "0.bias", "1.bias"]
        assert model[0].weight is model[1].weight is leaves["0.weight"] is not original
        assert torch.equal(leaves["0.weight"], original)
        assert all(leaf.requires_grad and leaf.is_leaf for leaf in leaves.values())
        model(torch.ones(1, 2)).sum().backward()
    assert model[0].weight is model[1].weight is original
    assert original.grad is None


def test_absolute_values_in_another_type():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model.register_parameter("whole", nn.Parameter(torch.tensor([-3]), requires_grad=False))
    with lent(model, CPU, 0, training=False, dtype=torch.float64, absolute=True) as leaves:
        assert torch.equal(leaves["0.weight"], leaves["0.weight"].abs())
        assert leaves["0.weight"].dtype == model[1].running_mean.dtype == torch.float64
        assert leaves["whole"].tolist() == [-3]
        assert model[1].num_batches_tracked.dtype == torch.int64


def test_redrawn_weights_are_standard_normal_and_all_else_is_in_its_place():
    model = nn.ModuleDict(
        {
            "convolution": nn.Conv2d(3, 4, 3),
            "transposed": nn.ConvTranspose1d(2, 3, 2),
            "linear": nn.Linear(5, 4, dtype=torch.float64),
            "batch": nn.BatchNorm2d(4),
            "instance": nn.InstanceNorm1d(4, affine=True),
            "group": nn.GroupNorm(2, 4),
            "layer": nn.LayerNorm(4, bias=False),
            "rms": nn.RMSNorm(4),
            "plain": nn.LayerNorm(4, elementwise_affine=False),
            "embedding": nn.Embedding(3, 4),
            "rectifier": nn.PReLU(),
            "attention": nn.MultiheadAttention(4, 2),
            "recurrent": nn.LSTM(2, 2),
            "parametrised": nn.utils.parametrizations.weight_norm(nn.Linear(3, 2, bias=False)),
        }
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    generator = torch.Generator().manual_seed(3)
    with lent(model, CPU, 0, training=True, redraw=generator.clone_state()) as leaves:
        for name in ("convolution", "transposed", "linear", "attention.out_proj"):
            layer = model.get_submodule(name)
            weight = torch.randn(layer.weight.shape, generator=generator).to(layer.weight.dtype)
            assert torch.equal(layer.weight, weight), name
            assert not layer.bias.any(), name
        for name in ("batch", "instance", "group", "layer", "rms"):
            assert (model[name].weight == 1).all(), name
            assert getattr(model[name], "bias", None) is None or not model[name].bias.any(), name
        others = {name for name, leaf in leaves.items() if (leaf == 7).all()}
    assert others == {
        *("embedding.weight", "rectifier.weight"),
        *("attention.in_proj_weight", "attention.in_proj_bias"),
        *(f"recurrent.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        *(f"parametrised.parametrizations.weight.original{part}" for part in (0, 1)),
    }
    assert all((parameter == 7).all() for parameter in model.parameters())


def test_shared_weights_are_redrawn_once():
    model = nn.ModuleList([nn.Embedding(3, 4), nn.Linear(4, 3, bias=False), nn.Linear(4, 3)])
    model[1].weight = model[2].weight = model[0].weight
    generator = torch.Generator().manual_seed(3)
    with lent(model, CPU, 0, training=True, redraw=generator.clone_state()):
        assert model[0].weight is model[1].weight is model[2].weight
        assert torch.equal(model[0].weight, torch.randn(3, 4, generator=generator))


def test_modes_inside():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.AlphaDropout(0.5))
    model[0].eval()
    with lent(model, CPU, 0, training=True):
        assert [module.training for module in model] == [True, False, False]
    with lent(model, CPU, 0, training=False):
        assert [module.training for module in model] == [False, False, False]
    assert [module.training for module in model] == [False, True, True]


def test_dropout_inside_of_layers_is_off():
    model = nn.ModuleList([nn.MultiheadAttention(4, 2, dropout=0.5), nn.LSTM(4, 4, 2, dropout=0.5)])
    with lent(model, CPU, 0, training=True):
        assert [module.dropout for module in model] == [0.0, 0.0]
    assert [module.dropout for module in model] == [0.5, 0.5]


class Calling(nn.Module):
    """Calls dropout as a function, in each way that there is."""

    def forward(self, x):
        for function in (
            *(functional.dropout, functional.alpha_dropout, functional.feature_alpha_dropout),
            *(functional.dropout1d, torch.dropout, torch.alpha_dropout, torch.feature_dropout),
        ):
            x = function(x, 0.5, True)
        x = functional.dropout(input=x, p=0.5, training=self.training, inplace=True)
        by_place = functional.scaled_dot_product_attention(x, x, x, None, 0.5)
        return by_place + functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5)


def test_dropout_as_a_function_is_off():
    x = torch.randn(2, 3, 4)
    with lent(model := Calling(), CPU, 0, training=True):
        found = model(x)
    assert torch.equal(found, 2 * functional.scaled_dot_product_attention(x, x, x))


@pytest.mark.parametrize("part", ["call", "submodule"])
def test_compiled_code_is_not_run(part):
    """Its operations would not be seen by modes."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3)))
    compiled = []

    def backend(graph, _):
        compiled.append(graph)
        return graph.forward

    if part == "call":
        model.compile(backend=backend)
    else:
        model[1] = torch.compile(model[1], backend=backend)
    with lent(model, CPU, 0, training=True):
        model(torch.ones(2, 3))
    assert not compiled


def test_recurrent_layers_compute_with_the_leaves():
    model = nn.LSTM(3, 4)
    with lent(model, CPU, 0, training=True) as leaves:
        model(torch.ones(2, 1, 3))[0].sum().backward()
        assert all(leaf.grad is not None for leaf in leaves.values())
    assert all(parameter.grad is None for parameter in model.parameters())
    model(torch.ones(2, 1, 3))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_what_a_forward_writes_is_gone():
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.register_buffer("buffer", torch.ones(2))
            self.constant = torch.ones(2)
            self.entries: list[int] = []
            self.table: dict[str, int] = {}
            self.names: set[str] = set()
            self.calls = 0

        def forward(self, x):
            with torch.no_grad():
                self.weight.mul_(2)
            self.weight.data.add_(1)
            self.buffer.add_(1)
            self.constant.add_(1)
            self.entries.append(1)
            self.table["key"] = 1
            self.names.add("name")
            self.calls += 1
            self.extra = nn.Linear(2, 2)
            self.attribute = 1
            self.register_buffer("late", torch.ones(1))
            self.register_forward_hook(lambda *_: None)
            return x

    model = Writing()
    before = list(model.__dict__)
    with lent(model, CPU, 0, training=True):
        model(torch.ones(2))
        assert model.calls == 1
    for name in ("weight", "buffer", "constant"):
        assert getattr(model, name).tolist() == [1.0, 1.0]
    assert (model.entries, model.table, model.names, model.calls) == ([], {}, set(), 0)
    assert list(model.__dict__) == before
    assert list(model._buffers) == ["buffer"]
    assert (len(model._modules), len(model._forward_hooks)) == (0, 0)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_weights_computed_from_parameters():
    plain = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    hooked = nn.utils.weight_norm(nn.Linear(3, 2))
    for model in (plain, hooked):
        weight = model.weight.clone()
        with lent(model, CPU, 0, training=True, absolute=True) as leaves:
            model(torch.ones(1, 3)).sum().backward()
            assert all(leaf.grad is not None for leaf in leaves.values())
            assert (model.weight >= 0).all()
        assert torch.equal(model.weight, weight)

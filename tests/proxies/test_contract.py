"""What every registered proxy keeps to, on every kind of network."""

import copy
import json
import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import proxies
from proxies import PROXIES

NETWORKS = ["residual", "transformer", "cells", "group_normalised", "perceptron"]
# Stop-watch readings are no function of model and batch.
NAMES = [name for name, proxy in PROXIES.items() if not proxy.measured]
# Proxies that depend on what the user declared about the model rather than on its function.
DEPENDS_ON_FLAGS = {"params": "counts the parameters with requires_grad as found"}
# Proxies of the weights alone, which have a value whatever the forward does.
NEEDS_NO_FORWARD = {
    "params": "counts parameters",
    "l2_norm": "adds up the lengths of weights",
}
# (network, proxy) → its status, where a proxy has no value.
UNDEFINED = {
    # The third operation of a cell stands beside the others.
    ("cells", "az_trainability"): "expected blocks one after the other, found one that does not "
    "depend on the block before it",
    # A correlation of feature maps needs maps.
    ("perceptron", "meco"): "expected convolutions, found none",
}


def state_of(model: nn.Module) -> dict[str, object]:
    """Everything that scoring could leave behind, by identity and by value."""
    return {
        "tensors": [
            (id(t), t._version, t.clone()) for t in model.state_dict(keep_vars=True).values()
        ],
        "gradients": [
            (id(p.grad), None if p.grad is None else p.grad.clone()) for p in model.parameters()
        ],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "attributes": [
            {key: id(value) for key, value in module.__dict__.items() if key != "training"}
            for module in model.modules()
        ],
        "hooks": [
            (
                dict(module._forward_hooks),
                dict(module._forward_pre_hooks),
                dict(module._backward_hooks),
            )
            for module in model.modules()
        ],
        "children": [list(module._modules) for module in model.modules()],
        "flags": (
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(),
        ),
        "streams": (
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002 - the global stream is meant
            torch.get_rng_state(),
        ),
    }


def assert_same(before: object, after: object) -> None:
    if isinstance(before, torch.Tensor):
        assert torch.equal(before, after)
    elif isinstance(before, dict):
        assert before.keys() == after.keys()
        for key in before:
            assert_same(before[key], after[key])
    elif isinstance(before, list | tuple):
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            assert_same(one, other)
    else:
        assert before == after


def values_of(scores: proxies.Scores) -> dict[str, float | str]:
    """Values, and the status of what has none."""
    return {
        name: score.value if score.status == "ok" else score.status
        for name, score in scores.items()
    }


def approximately(values: dict[str, float | str], *, rel: float) -> dict[str, object]:
    return {
        name: value if isinstance(value, str) else pytest.approx(value, rel=rel, abs=1e-9)
        for name, value in values.items()
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", NETWORKS)
def test_has_a_value(name, kind, make, batch):
    score = proxies.score(make(kind), batch, [name])[name]
    assert score.status == UNDEFINED.get((kind, name), "ok")
    assert math.isfinite(score.value) == (score.status == "ok")
    assert score.direction == PROXIES[name].direction
    assert score.seconds > 0


@pytest.mark.parametrize("name", PROXIES)
def test_declares_direction_and_documents_itself(name):
    assert PROXIES[name].direction in (-1, 1)
    assert PROXIES[name].__doc__.startswith("Return ")
    assert proxies.get_proxy(name) is PROXIES[name]


@pytest.mark.parametrize("name", NAMES)
def test_leaves_nothing_behind(name, network, batch):
    network.eval()
    list(network.modules())[-1].train()
    first, *rest = network.parameters()
    first.requires_grad_(False)
    for parameter in rest:
        parameter.grad = torch.ones_like(parameter)
    network.register_forward_hook(lambda *_: None)
    x, y = batch
    before, before_batch = state_of(network), copy.deepcopy(batch)
    proxies.score(network, batch, [name])
    assert_same(before, state_of(network))
    assert_same(before_batch, (x, y))
    assert x.grad is None


@pytest.mark.parametrize("name", NAMES)
def test_leaves_nothing_behind_when_the_forward_raises(name, make, batch):
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = make("cells")
            self.calls: list[int] = []
            self.count = 0

        def forward(self, x):
            self.calls.append(1)
            self.count += 1
            self.body(x)
            self.body.stem[0].weight.data.zero_()
            random.random()
            np.random.rand()  # noqa: NPY002
            torch.rand(1)
            raise RuntimeError("no such kernel\nwith a second line")

    model = Broken()
    before = state_of(model)
    score = proxies.score(model, batch, [name])[name]
    assert_same(before, state_of(model))
    assert (model.calls, model.count) == ([], 0)
    if name not in NEEDS_NO_FORWARD:
        assert math.isnan(score.value)
        assert score.status == "RuntimeError: no such kernel"


def test_mode_and_gradients_of_the_model_make_no_difference(network, batch):
    names = [name for name in NAMES if name not in DEPENDS_ON_FLAGS]

    def values() -> dict[str, float | str]:
        return values_of(proxies.score(network, batch, names))

    expected = values()
    network.eval()
    assert values() == expected
    network.requires_grad_(False)
    assert values() == expected
    with torch.no_grad():
        assert values() == expected
    with torch.inference_mode():
        assert values() == expected
    with torch.autocast("cpu"):
        assert values() == expected


def test_mode_makes_no_difference_to_those_that_depend_on_flags(network, batch):
    expected = values_of(proxies.score(network, batch, DEPENDS_ON_FLAGS))
    assert values_of(proxies.score(network.eval(), batch, DEPENDS_ON_FLAGS)) == expected


def test_alone_or_together_or_again_gives_one_value(network, batch):
    alone = {}
    for name in NAMES:
        alone |= values_of(proxies.score(network, batch, [name]))
    torch.manual_seed(12345)
    together = values_of(proxies.score(network, batch))
    assert values_of(proxies.score(network, batch)) == together
    # Other kernels serve a pass whose gradients are differentiated again.
    assert together == approximately(alone, rel=1e-5)
    backwards = values_of(proxies.score(network, batch, NAMES[::-1]))
    assert backwards == approximately(together, rel=1e-5)


@pytest.mark.parametrize("micro_batch", [1, 3, 6, 100])
def test_splitting_the_batch_changes_no_value(micro_batch, network, batch):
    whole = values_of(proxies.score(network, batch))
    split = values_of(proxies.score(network, batch, micro_batch=micro_batch))
    assert split == approximately(whole, rel=1e-4)


def test_another_process_gives_the_same_values(make, batch):
    here = {
        kind: values_of(proxies.score(make(kind), batch, seed=5))
        for kind in ("cells", "transformer")
    }
    script = (
        "import importlib.util, json, sys\n"
        "spec = importlib.util.spec_from_file_location('networks', sys.argv[1])\n"
        "networks = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(networks)\n"
        "import torch, proxies\n"
        "torch.set_num_threads(int(sys.argv[2]))\n"
        "out = {}\n"
        "for kind in ('transformer', 'cells'):\n"
        "    scores = proxies.score(networks.make_network(kind), networks.make_batch(), seed=5)\n"
        "    out[kind] = {\n"
        "        name: score.value if score.status == 'ok' else score.status\n"
        "        for name, score in scores.items()\n"
        "    }\n"
        "print(json.dumps(out))\n"
    )
    result = subprocess.run(
        [
            *(sys.executable, "-c", script),
            *(str(Path(__file__).with_name("conftest.py")), str(torch.get_num_threads())),
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    there = json.loads(result.stdout)
    for kind, values in here.items():
        assert there[kind] == approximately(values, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_an_output_that_is_no_tensor_is_a_status(name, make, batch):
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = make("cells")

        def forward(self, x):
            return x, self.body(x)

    score = proxies.score(Pair(), batch, [name])[name]
    if name not in NEEDS_NO_FORWARD:
        assert math.isnan(score.value)
        assert score.status.startswith("expected one tensor from the model, found tuple")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_scripted_models_are_a_status(name, make, batch):
    score = proxies.score(torch.jit.script(make("perceptron")), batch, [name])[name]
    assert name in NEEDS_NO_FORWARD or score.status.startswith("expected an eager module")


@pytest.mark.parametrize("name", NAMES)
def test_exported_models_are_a_status(name, make, batch):
    exported = torch.export.export(make("perceptron"), (batch[0],)).module()
    score = proxies.score(exported, batch, [name])[name]
    assert name in NEEDS_NO_FORWARD or score.status.startswith(
        "expected an eager module, found an exported program"
    )


@pytest.mark.parametrize("name", [name for name in NAMES if not proxies.PROXIES[name].measured])
def test_the_two_functions_of_batch_normalisation_are_one(name, make, batch):
    class Direct(nn.BatchNorm2d):
        def forward(self, x):
            return torch.batch_norm(
                x,
                self.weight,
                self.bias,
                self.running_mean,
                self.running_var,
                self.training,
                self.momentum,
                self.eps,
                True,
            )

    def directly(module):
        for child in module.modules():
            if type(child) is nn.BatchNorm2d:
                child.__class__ = Direct
        return module

    expected = proxies.score(make("cells"), batch, [name])[name]
    found = proxies.score(directly(make("cells")), batch, [name])[name]
    assert found.status == expected.status
    assert found.value == pytest.approx(expected.value, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_lazy_models_are_a_status(name, batch):
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    status = proxies.score(lazy, batch, [name])[name].status
    assert name in NEEDS_NO_FORWARD or "found lazy '1.weight'" in status
    assert status != "ok"

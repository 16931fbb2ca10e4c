"""Every proxy on networks as users write them: a value, or one line that says why there is none."""

import importlib.util
import math
import random
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import proxies
from proxies import PROXIES

_SPEC = importlib.util.spec_from_file_location("networks", Path(__file__).with_name("networks.py"))
networks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(networks)

NAMES = [name for name, proxy in PROXIES.items() if not proxy.measured]

# (network, proxy) → how the status begins, for the reason beside it. Every other pair has a value.
UNDEFINED = {
    # A correlation of feature maps needs maps.
    ("perceptron", "meco"): "expected convolutions, found none",
    # Classes belong to pixels, not to images.
    ("segmenter", "epe_nas"): "expected one class number a sample",
    ("segmenter", "vkdnw"): "expected an output of shape (samples, classes), found",
    # A layer that enlarges the image, or a mean over words, has no Jacobian per position.
    ("segmenter", "az_trainability"): "expected blocks that keep or divide positions, found",
    ("text_classifier", "az_trainability"): "expected blocks that keep or divide positions, found",
    # Two towers side by side are no chain of blocks.
    ("two_inputs", "az_trainability"): "expected blocks one after the other, found",
    # Word numbers have no derivative, cannot be changed a little, and are not drawn from noise.
    ("text_classifier", "jacob_cov"): "expected floating-point inputs to differentiate, found none",
    ("text_classifier", "epe_nas"): "expected floating-point inputs to differentiate, found none",
    ("text_classifier", "zen"): "expected floating-point inputs to perturb, found whole numbers",
    ("text_classifier", "meco"): "expected floating-point inputs to draw, found whole numbers",
}


@cache
def scores_of(network: str, micro_batch: int | None = None) -> proxies.Scores:
    model, batch = networks.make(network)
    return proxies.score(model, batch, NAMES, device="cpu", micro_batch=micro_batch)


def readings(scores: proxies.Scores) -> dict[str, tuple[str, str]]:
    """Status and value to the last bit; nan equals nan."""
    return {name: (score.status, repr(score.value)) for name, score in scores.items()}


def state_of(model: nn.Module, batch: networks.Batch) -> list[object]:
    """Everything that scoring could leave behind; tensors by identity and by value."""
    x, y = batch
    inputs = x if isinstance(x, tuple) else (x,)
    grads = [parameter.grad for parameter in model.parameters()]
    tensors = [*model.state_dict(keep_vars=True).values(), *grads, *inputs, y]
    modules = [
        (
            module.training,
            {key: id(value) for key, value in vars(module).items() if key != "training"},
            {key: len(value) for key, value in vars(module).items() if key.endswith("_hooks")},
            [[*entries] for entries in (module._parameters, module._buffers, module._modules)],
        )
        for module in model.modules()
    ]
    return [
        [(id(t), t._version, t.requires_grad, t.detach().numpy().tobytes()) for t in tensors],
        modules,
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002 - the global stream is meant
        torch.get_rng_state().tolist(),
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("network", networks.NETWORKS)
def test_a_value_or_a_reason(network, name):
    score = scores_of(network)[name]
    if (network, name) not in UNDEFINED:
        assert score.status == "ok"
        assert math.isfinite(score.value)
        return
    assert score.status.startswith(UNDEFINED[network, name])
    assert re.fullmatch("expected [^\n]+, found [^\n]+", score.status)
    assert math.isnan(score.value)


def test_exceptions_are_of_networks_and_proxies_that_exist():
    assert {network for network, _ in UNDEFINED} <= set(networks.NETWORKS)
    assert {name for _, name in UNDEFINED} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("network", networks.NETWORKS)
def test_splitting_the_batch_changes_no_value(network, name):
    whole, split = scores_of(network)[name], scores_of(network, micro_batch=2)[name]
    # A status may name the size of a part.
    assert (split.status == "ok") == (whole.status == "ok")
    assert split.value == pytest.approx(whole.value, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_leaves_nothing_behind_and_gives_the_same_values_again(network):
    model, batch = networks.make(network)
    model.eval()
    next(model.children()).train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.register_forward_hook(lambda *_: None)
    # Values follow from the seed of the scoring alone.
    torch.manual_seed(12345)
    before = state_of(model, batch)
    again = proxies.score(model, batch, NAMES, device="cpu")
    assert state_of(model, batch) == before
    assert readings(again) == readings(scores_of(network))

"""What the networks of every space are built for: they learn, and their source stands alone."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from predictnas.spaces import SPACES, NasBench201, get_space


@pytest.fixture(params=SPACES)
def space(request):
    return get_space(request.param)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_a_short_training_lowers_the_loss(space, shape):
    rng = np.random.default_rng(0)
    scale = {name: min(value, 3) for name, value in space.default_scale.items()}
    scale.update({"cells": 1} if "cells" in scale else {})
    # The first cell drawn may lead nowhere, and then there is nothing to learn with.
    arch = next(row for row in space.sample(50, rng) if space.graph(row).canonical().edges)
    labels = torch.arange(18) % 3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = torch.randn(18, *shape) + 2 * labels[:, None, None, None]
        network = space.build(arch, shape, 3, **scale)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_source_names_the_architecture_and_needs_nothing_of_ours(space):
    arch = space.sample(1, np.random.default_rng(0))[0]
    source = space.network_source(arch, (1, 8, 8), 2)
    assert f"    {space.format(arch)}\n" in source
    assert "predictnas" not in source


def test_a_space_derived_elsewhere_has_the_network_of_its_base():
    class Derived(NasBench201):
        """Stands in a module without a network beside it."""

    derived, base = Derived(), NasBench201()
    shape = (1, 8, 8)
    assert type(derived.build((3,) * 6, shape, 2)) is type(base.build((3,) * 6, shape, 2))
    assert derived.network_source((3,) * 6, shape, 2) == base.network_source((3,) * 6, shape, 2)

"""Cells with labels as a benchmark would have them: made here, by the definition of the cells."""

import numpy as np
import pytest

from predictnas.spaces import get_space


def _simulated(space, archs, *, noise=0.3, chance=10.0):
    """Labels in percent: chance for cells that no path crosses, else alike for isomorphic ones."""
    rng = np.random.default_rng(0)
    labels = np.empty(len(archs))
    for row, (arch, key) in enumerate(zip(archs, space.keys(archs), strict=True)):
        paths = ([3], [0, 4], [1, 5], [0, 2, 5])  # of edges in the order of the choices
        if any(all(arch[edge] > 0 for edge in path) for path in paths):
            level = np.random.default_rng(int(key[:12], 16)).uniform(50, 90)
            labels[row] = level + noise * rng.normal()
        else:
            labels[row] = chance
    return labels


@pytest.fixture(scope="session")
def cells():
    """Cells of NAS-Bench-201, 60 of them without a path, and simulated labels."""
    space = get_space("nasbench201")
    archs = np.random.default_rng(0).permutation(space.iterate())
    labels = _simulated(space, archs[:4500])
    dead = labels == 10.0
    rows = np.concatenate([np.flatnonzero(dead)[:60], np.flatnonzero(~dead)[:540]])
    return space, archs[rows], labels[rows]


def _parameters(archs):
    """The published numbers: 73,306 and those of 15 cells' convolutions with normalisation."""
    channels = np.array([16, 32, 64])
    one = 5 * (channels**2 + 2 * channels).sum()
    three = 5 * (9 * channels**2 + 2 * channels).sum()
    return 73_306 + one * (archs == 2).sum(axis=1) + three * (archs == 3).sum(axis=1)


def _exchanged(archs, one, other):
    """Cells read with two codes of operations exchanged."""
    codes = np.arange(5)
    codes[[one, other]] = other, one
    return codes[archs]


@pytest.fixture(scope="session")
def simulated():
    return _simulated


@pytest.fixture(scope="session")
def parameters():
    return _parameters


@pytest.fixture(scope="session")
def exchanged():
    return _exchanged

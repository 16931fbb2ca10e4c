"""Fixtures that several folders share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

from predictnas.spaces import Space, get_space
from predictnas.training import Recipe, Task, default_recipe, read_npz


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: at the end, one process alone would be busy with it."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def space() -> Space:
    return get_space("nasbench201")


@pytest.fixture
def quiet_and_single() -> Iterator[None]:
    """Keep Optuna quiet, and PyTorch on one thread as labelling has it for small images."""
    verbosity, threads = optuna.logging.get_verbosity(), torch.get_num_threads()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    torch.set_num_threads(1)
    yield
    optuna.logging.set_verbosity(verbosity)
    torch.set_num_threads(threads)


@pytest.fixture
def write_npz(tmp_path: Path) -> Callable[..., Path]:
    """Write a small, learnable image task, with arrays replaced or (None) left out."""

    def write(name: str = "tiny.npz", **replaced: np.ndarray | None) -> Path:
        rng = np.random.default_rng(0)
        arrays: dict[str, np.ndarray | None] = {}
        for part, count in (("train", 120), ("test", 40)):
            labels = rng.integers(0, 3, size=count)
            images = rng.normal(0.0, 30.0, size=(count, 8, 8)) + 128.0
            images[np.arange(count), :, labels * 2] += 90.0
            arrays[f"x_{part}"] = np.clip(images, 0, 255).astype(np.uint8)
            arrays[f"y_{part}"] = labels
        arrays.update(replaced)
        path = tmp_path / name
        np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
        return path

    return write


@pytest.fixture
def tiny_task(write_npz: Callable[..., Path]) -> Task:
    return read_npz(write_npz())


@pytest.fixture
def tiny_recipe(space: Space, tiny_task: Task) -> Recipe:
    return default_recipe(
        space, tiny_task, epochs=2, batch_size=32, scale={"channels": 4, "cells": 1}
    )

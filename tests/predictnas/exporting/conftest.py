from dataclasses import dataclass

import numpy as np
import optuna
import pytest

from predictnas.exporting import Export, export_winner
from predictnas.labelling import run_trials
from predictnas.labels import StudyAddress, open_study
from predictnas.spaces import NasBench201, Space
from predictnas.training import Recipe, Task, TrainingObjective, default_recipe, read_npz

# Odd and oblong images, three channels last, in bytes: what a network could get wrong.
SHAPE = (13, 11, 3)
CELLS = (
    "|nor_conv_3x3~0|+|avg_pool_3x3~0|none~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
)


@dataclass(frozen=True)
class Exported:
    export: Export
    study: optuna.Study
    space: Space
    task: Task
    recipe: Recipe
    test_images: np.ndarray
    test_labels: np.ndarray
    steps: list[str]


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Exported:
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    labels = {"train": np.arange(80) % 3, "test": np.arange(30) % 3}
    images = {
        part: np.clip(40 * y[:, None, None, None] + rng.normal(60, 20, (len(y), *SHAPE)), 0, 255)
        for part, y in labels.items()
    }
    arrays = {f"x_{part}": x.astype(np.uint8) for part, x in images.items()}
    np.savez(folder / "tiny.npz", **arrays, **{f"y_{part}": y for part, y in labels.items()})
    space, task = NasBench201(), read_npz(folder / "tiny.npz")
    recipe = default_recipe(space, task, epochs=2, batch_size=16, scale={"channels": 4, "cells": 1})
    address = StudyAddress.parse(f"sqlite:///{folder}/labels.db")
    with open_study(address, space, task, recipe) as study:
        for cell in CELLS:
            study.enqueue_trial(space.params(space.parse(cell)))
        run_trials(study, TrainingObjective(space, task, recipe, seed=3, device="cpu"), 2)
    steps: list[str] = []
    export = export_winner(
        study, space, task, recipe, folder / "made" / "here", device="cpu", on_step=steps.append
    )
    return Exported(export, study, space, task, recipe, arrays["x_test"], labels["test"], steps)

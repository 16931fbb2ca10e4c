import json
from typing import Any

import pytest

from predictnas.errors import InputError
from predictnas.spaces import Space
from predictnas.training import Recipe, Task, default_recipe, load_task, study_fingerprint


def test_survives_json() -> None:
    recipe = Recipe(epochs=3, flip=True, scale={"channels": 8})
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs must be in"),
        ({"momentum": 1.0}, "momentum must be in"),
        ({"learning_rate": -0.1}, "learning_rate must be in"),
        ({"warmup_epochs": 16.0}, "warmup_epochs must be in"),
        ({"scale": {"channels": 0}}, "scale channels must be a whole number of at least 1"),
        ({"scale": {"channels": "8"}}, "scale channels must be a whole number"),
        ({"weight_decay": False}, "weight_decay has the wrong type"),
        ({"epoch": 3}, "unknown entry 'epoch'; choose from: epochs"),
        ({"epochs": 2.5}, "epochs has the wrong type"),
        ({"epochs": True}, "epochs has the wrong type"),
        ({"flip": 1}, "flip has the wrong type"),
    ],
)
def test_refuses(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe.from_dict(values)


def test_scale_comes_from_task_then_space_then_request(space: Space, tiny_task: Task) -> None:
    assert default_recipe(space, tiny_task).scale == {"channels": 16, "cells": 5}
    digits = load_task("digits")
    assert default_recipe(space, digits).scale == {"channels": 8, "cells": 1}
    assert default_recipe(space, digits, scale={"cells": 2}).scale == {"channels": 8, "cells": 2}
    with pytest.raises(
        InputError, match="nasbench201 has no 'width'; choose from: channels, cells"
    ):
        default_recipe(space, digits, scale={"width": 2})


def test_fingerprint_follows_what_labels_mean(space: Space, tiny_task: Task) -> None:
    recipe = default_recipe(space, tiny_task)
    one = study_fingerprint(space, tiny_task, recipe)
    assert study_fingerprint(space, tiny_task, default_recipe(space, tiny_task)) == one
    for change in ({"epochs": 16}, {"learning_rate": 0.2}, {"scale": {"cells": 4}}):
        assert (
            study_fingerprint(space, tiny_task, default_recipe(space, tiny_task, **change)) != one
        )
    assert study_fingerprint(space, load_task("digits"), recipe) != one

from pathlib import Path

import pytest
import torch

from predictnas.arguments import (
    names,
    parse_scale,
    parse_workers,
    proxy_names,
    read_recipe,
    searcher_options,
    set_threads,
)
from predictnas.errors import InputError
from predictnas.training import Task, load_task
from proxies import DEFAULT_RANKING


def test_names() -> None:
    assert names(None) is None
    assert names(" snip, zen,") == ["snip", "zen"]


def test_proxies_of_a_search() -> None:
    assert proxy_names(None) == list(DEFAULT_RANKING)
    assert proxy_names("none") == []
    assert proxy_names("snip,zen") == ["snip", "zen"]


def test_scale() -> None:
    assert parse_scale(None) == {}
    assert parse_scale("channels=16, cells=5") == {"channels": 16, "cells": 5}
    for text in ("channels", "channels=x", "channels=-1"):
        with pytest.raises(InputError, match="expected name=number such as channels=16"):
            parse_scale(text)


def test_workers() -> None:
    assert parse_workers("auto") is None
    assert parse_workers(" 3 ") == 3
    for text in ("0", "-1", "2.5", "", "all"):
        with pytest.raises(InputError, match="expected auto or a whole number from 1, found"):
            parse_workers(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("[1]", "expected a JSON object"), (None, "cannot be read")],
)
def test_recipe_files(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "recipe.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_recipe(path)
    path.write_text('{"epochs": 3}')
    assert read_recipe(path) == {"epochs": 3}


def test_options_are_for_searchers_that_have_them() -> None:
    assert searcher_options("random", None, None, None, None) == {}
    assert searcher_options("bananas", "mlp", None, None, 5) == {
        "predictor": "mlp",
        "num_initial": 5,
    }
    with pytest.raises(InputError, match="searcher 'random' takes no --predictor"):
        searcher_options("random", None, None, "snip", None)


def test_small_images_get_one_thread(tiny_task: Task) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        large = Task(**{**tiny_task.__dict__, "train": load_task("digits").train})
        assert large.input_shape[1:] == (12, 12)
        set_threads(None, large)
        assert torch.get_num_threads() == 1
        set_threads(2, large)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

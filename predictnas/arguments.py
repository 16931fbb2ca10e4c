"""What the texts and files of the command line stand for."""

import json
from pathlib import Path
from typing import Any

import torch

from predictnas.errors import InputError
from predictnas.predictors import Predictor, get_predictor
from predictnas.training import Task

__all__ = [
    "names",
    "parse_scale",
    "parse_workers",
    "predictors",
    "proxy_names",
    "read_recipe",
    "searcher_options",
    "set_threads",
    "whole_numbers",
]

SMALL_IMAGE = 16
"""Height or width up to which more than one CPU thread a network costs more than it brings."""


def names(text: str | None) -> list[str] | None:
    """Split names at commas; None stays None.

    Raises
    ------
    InputError
        If there is no name between the commas.
    """
    if text is None:
        return None
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise InputError(f"expected names separated by commas, found {text!r}")
    return found


def predictors(text: str) -> dict[str, Predictor]:
    """Return unfitted predictors by their names, which are separated by commas.

    Raises
    ------
    InputError
        If there is none of a name.
    """
    return {name: get_predictor(name) for name in names(text) or []}


def whole_numbers(option: str, text: str) -> list[int]:
    """Read whole numbers that are separated by commas.

    Raises
    ------
    InputError
        If there is something else between the commas.
    """
    entries = names(text) or []
    for entry in entries:
        if not entry.isdecimal():
            raise InputError(f"{option}: expected whole numbers such as 23,46, found {entry!r}")
    return [int(entry) for entry in entries]


def set_threads(threads: int | None, task: Task) -> None:
    """Let torch use ``threads`` CPU threads; None: one where the task's images are small."""
    if threads is None and max(task.input_shape[1:]) <= SMALL_IMAGE:
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)


def searcher_options(
    searcher: str,
    predictor: str | None,
    acquisition: str | None,
    proxies: str | None,
    warm_start: int | None,
    transfer: str | None = None,
) -> dict[str, Any]:
    """Return the options given on the command line, refusing them for searchers without any."""
    options: dict[str, Any] = {
        "predictor": predictor,
        "acquisition": acquisition,
        "proxies": proxies,
        "num_initial": warm_start,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if (given or transfer is not None) and searcher != "bananas":
        raise InputError(
            f"searcher {searcher!r} takes no --predictor, --acquisition, --proxies, --warm-start "
            "or --transfer; leave them out"
        )
    return given


def proxy_names(text: str | None) -> list[str]:
    """Return the proxies of a search: the default ranking's unless named, ``none`` for none."""
    from proxies import DEFAULT_RANKING

    if text is None:
        return list(DEFAULT_RANKING)
    if text.strip() == "none":
        return []
    return names(text) or []


def parse_scale(text: str | None) -> dict[str, int]:
    """Read ``channels=16,cells=5``; None is empty.

    Raises
    ------
    InputError
        If an entry is not a name and a whole number.
    """
    scale = {}
    for entry in names(text) or []:
        name, _, value = entry.partition("=")
        if not value.isdecimal():
            raise InputError(f"--scale: expected name=number such as channels=16, found {entry!r}")
        scale[name.strip()] = int(value)
    return scale


def parse_workers(text: str) -> int | None:
    """Read a number of worker processes; ``auto`` is None.

    Raises
    ------
    InputError
        If it is neither.
    """
    if text.strip() == "auto":
        return None
    if not text.strip().isdecimal() or int(text) < 1:
        raise InputError(f"--workers: expected auto or a whole number from 1, found {text!r}")
    return int(text)


def read_recipe(path: Path | None) -> dict[str, Any]:
    """Read entries of a recipe from a JSON file; None is empty.

    Raises
    ------
    InputError
        If the file is not a JSON object.
    """
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object with entries of the recipe")
    return values

"""Search strategies: each an Optuna sampler."""

from collections.abc import Callable
from typing import Any

import optuna

from predictnas.errors import unknown_name
from predictnas.search.acquisition import ACQUISITIONS
from predictnas.search.bananas import BananasSampler, Scorer
from predictnas.search.designs import (
    DESIGNS,
    LABEL_DRIVEN,
    ROUND,
    design_of_table,
    diverse_design,
    get_design,
    uncertain_batch,
)
from predictnas.search.valid import ValidSampler
from predictnas.spaces import Space

__all__ = [
    "ACQUISITIONS",
    "DESIGNS",
    "LABEL_DRIVEN",
    "ROUND",
    "SEARCHERS",
    "BananasSampler",
    "Scorer",
    "ValidSampler",
    "design_of_table",
    "diverse_design",
    "get_design",
    "get_searcher",
    "uncertain_batch",
]


def _random(space: Space, seed: int) -> optuna.samplers.BaseSampler:
    return _valid(space, optuna.samplers.RandomSampler(seed=seed), seed)


def _tpe(space: Space, seed: int) -> optuna.samplers.BaseSampler:
    # Spelt out, because Optuna 5 changed the defaults and a baseline must stay what it was.
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=10,
        n_ei_candidates=24,
        multivariate=True,
        constant_liar=False,
        seed=seed,
    )
    return _valid(space, sampler, seed)


def _valid(
    space: Space, sampler: optuna.samplers.BaseSampler, seed: int
) -> optuna.samplers.BaseSampler:
    return sampler if space.is_product else ValidSampler(space, sampler, seed=seed)


def _bananas(space: Space, seed: int, **options: Any) -> optuna.samplers.BaseSampler:
    return BananasSampler(space, seed=seed, **options)


SEARCHERS: dict[str, Callable[..., optuna.samplers.BaseSampler]] = {
    "bananas": _bananas,
    "random": _random,
    "tpe": _tpe,
}


def get_searcher(name: str) -> Callable[..., optuna.samplers.BaseSampler]:
    """Return the maker of a sampler, called with a space, ``seed=`` and the sampler's options.

    Raises
    ------
    InputError
        If there is no searcher of that name.
    """
    if name not in SEARCHERS:
        raise unknown_name("searcher", name, SEARCHERS)
    return SEARCHERS[name]

"""Optuna's samplers in spaces where not every combination of options is an architecture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from predictnas.errors import InputError
from predictnas.spaces import Space

__all__ = ["ValidSampler"]

# How often a sampler may propose again what is no architecture.
MAX_PROPOSALS = 100


class ValidSampler(optuna.samplers.BaseSampler):
    """Lets another sampler propose until its proposal is an architecture of the space.

    Where that proposes nothing for all choices together (as random samplers do, and others before
    they have seen enough trials), or nothing valid in 100 attempts, the architecture is drawn
    uniformly from the space.

    Parameters
    ----------
    space
        The space.
    sampler
        The sampler that proposes.
    seed
        Seed of the draws from the space.
    """

    def __init__(self, space: Space, sampler: optuna.samplers.BaseSampler, *, seed: int) -> None:
        self.space = space
        self.sampler = sampler
        self._rng = np.random.default_rng(seed)

    def reseed_rng(self) -> None:
        """Draw anew, in a process of its own."""
        self._rng = np.random.default_rng()
        self.sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the distributions of all choices."""
        del study, trial
        return dict(self.space.distributions())

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the options of an architecture."""
        inner = self.sampler.infer_relative_search_space(study, trial)
        for _ in range(MAX_PROPOSALS):
            proposal = self.sampler.sample_relative(study, trial, inner)
            if proposal.keys() != search_space.keys():
                break
            try:
                self.space.from_params(proposal)
            except InputError:
                continue
            return proposal
        return dict(self.space.params(self.space.sample(1, self._rng)[0]))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Leave what is no choice of the space to the other sampler."""
        return self.sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell the other sampler."""
        self.sampler.after_trial(study, trial, state, values)

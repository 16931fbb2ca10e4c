"""BANANAS: Bayesian optimisation over architectures with a predictor as the surrogate."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from sklearn.base import clone

from predictnas.errors import InputError, unknown_name
from predictnas.predictors import Predictor, get_predictor
from predictnas.search.acquisition import ACQUISITIONS, log_expected_improvement
from predictnas.search.candidates import local_search, mutants, unseen
from predictnas.spaces import Arch, Space

__all__ = ["BananasSampler", "Scorer"]

IntArray = NDArray[np.int64]


class Scorer(Protocol):
    """Computes proxy scores of architectures, and knows what they are worth.

    :class:`~predictnas.scoring.ProxyScorer` is one.
    """

    @property
    def identity(self) -> str:
        """Text that is equal for scorers whose scores mean the same."""

    def __call__(self, archs: IntArray) -> pd.DataFrame:
        """Return ``proxy_*`` columns for archs ``(n, choices)``, NaN where undefined."""

    def rank(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Return one number for every row of scores, larger for more promising ones."""

    def fill(self, table: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
        """Return the scores with stand-ins, taken from ``reference``, for undefined ones."""


class BananasSampler(optuna.samplers.BaseSampler):
    """Proposes the architecture whose training promises the most.

    The first trials are a warm start: half of them the best of a random pool by their proxy
    scores, half random, so that the surrogate sees the top and the spread. Each later trial
    fits the predictor to all labels, looks at mutants of the best architectures, at random ones
    and, climbing the acquisition function, at their neighbours, and proposes the best of those
    that the study does not hold. Of an architecture that the study has labelled with several
    seeds the mean counts. No architecture is proposed twice, up to isomorphism, whether
    its training succeeded, failed or still runs.

    Proposals depend on the seed and on the study's trials alone, not on what a process did
    before: a resumed study goes on as if it had not stopped.

    Parameters
    ----------
    space
        What to search; objectives read the proposal with ``space.suggest(trial)``.
    predictor
        Surrogate: an unfitted :class:`~predictnas.predictors.Predictor` or its name.
    acquisition
        ``"ei"``, expected improvement over the best predicted mean among the labelled, or
        ``"ts"``, Thompson sampling.
    scorer
        Computes proxy scores (see :class:`~predictnas.scoring.ProxyScorer`); they choose the
        warm start and are inputs of the predictor. None: a random warm start, graphs alone.
    num_initial
        Trials of the warm start.
    pool_size
        Random architectures scored for the warm start.
    num_incumbents
        Best labelled architectures that are mutated.
    max_edits
        Largest number of choices that a mutant changes.
    num_candidates
        New architectures to evaluate a trial at most. With a scorer each costs its passes, so
        there the default is 32; otherwise 512.
    seed
        Seed of all draws; None draws one.

    Raises
    ------
    InputError
        If a name is unknown or a number is out of range.

    References
    ----------
    C. White, W. Neiswanger, Y. Savani, BANANAS: Bayesian optimization with neural architectures
    for neural architecture search, 2021, arXiv:1910.11858. L. Schneider et al., Mutation is all
    you need, 2021, arXiv:2107.07343 (the part that local mutation plays).

    Examples
    --------
    >>> import optuna
    >>> from predictnas.search import BananasSampler
    >>> from predictnas.spaces import get_space
    >>> space = get_space("nasbench201")
    >>> study = optuna.create_study(sampler=BananasSampler(space, num_initial=3, seed=0))
    >>> study.optimize(lambda trial: float(sum(space.suggest(trial))), n_trials=3)
    >>> len(study.trials)
    3
    """

    def __init__(
        self,
        space: Space,
        *,
        predictor: Predictor | str = "gp",
        acquisition: str = "ei",
        scorer: Scorer | None = None,
        num_initial: int = 12,
        pool_size: int = 128,
        num_incumbents: int = 10,
        max_edits: int = 2,
        num_candidates: int | None = None,
        seed: int | None = None,
    ) -> None:
        if acquisition not in ACQUISITIONS:
            raise unknown_name("acquisition", acquisition, ACQUISITIONS)
        if num_candidates is None:
            num_candidates = 512 if scorer is None else 32
        numbers = {
            "num_initial": num_initial,
            "pool_size": pool_size,
            "num_incumbents": num_incumbents,
            "max_edits": max_edits,
            "num_candidates": num_candidates,
        }
        for name, number in numbers.items():
            if number < 1:
                raise InputError(f"{name} must be at least 1, found {number}")
        if isinstance(predictor, str):
            predictor = get_predictor(predictor, operations=space.operations)
        self.space = space
        self.predictor = predictor
        self.acquisition = acquisition
        self.scorer = scorer
        self.num_initial = num_initial
        self.pool_size = pool_size
        self.num_incumbents = num_incumbents
        self.max_edits = max_edits
        self.num_candidates = num_candidates
        self.seed = int(np.random.default_rng(seed).integers(2**31)) if seed is None else seed
        self._scores: dict[Arch, dict[str, float]] = {}
        self._pool: tuple[IntArray, NDArray[np.float64]] | None = None

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002 (Optuna's signature)
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return the space's choices: one categorical each, always the same."""
        return dict(self.space.distributions())

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Propose an architecture and note on the trial where it comes from."""
        # A queued trial brings its architecture along; a proposal for it would be thrown away.
        if not search_space or "fixed_params" in trial.system_attrs:
            return {}
        self._raise_error_if_multi_objective(study)
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        held = [(arch, t) for t in trials if (arch := self._arch(t))]
        keys = self.space.keys(_array([arch for arch, _ in held], self.space))
        known = set(keys)
        # By key: a study may hold several labels of an architecture, one for each seed.
        labelled: dict[str, list[tuple[Arch, FrozenTrial]]] = {}
        for key, (arch, t) in zip(keys, held, strict=True):
            if t.state == TrialState.COMPLETE:
                labelled.setdefault(key, []).append((arch, t))
        # Not the trial's number: that moves on when a process dies and its trial is redone.
        rng = np.random.default_rng([self.seed, len(known)])
        if len(labelled) < self.num_initial:
            proposal, notes = self._warm_start(len(labelled), known, rng)
        else:
            sign = 1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1.0
            proposal, notes = self._optimise(list(labelled.values()), sign, known, rng)
        if self.scorer is not None:
            self._scored(_array([proposal], self.space))
            notes["proxies"] = _stored(self._scores[proposal])
            notes["proxies_identity"] = self.scorer.identity
        for name, value in notes.items():
            # Samplers have no public way to annotate a trial; Optuna's own do it like this.
            study._storage.set_trial_user_attr(trial._trial_id, name, value)
        return dict(self.space.params(proposal))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that is not one of the space's choices at random."""
        independent = optuna.samplers.RandomSampler(seed=self.seed + trial.number)
        return independent.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Do nothing: draws depend on the study's trials, and every copy sees those."""

    def _warm_start(
        self, count: int, known: set[str], rng: np.random.Generator
    ) -> tuple[Arch, dict[str, Any]]:
        if self.scorer is not None and count % 2 == 0:
            pool, ranks = self._ranked_pool()
            for row in np.argsort(-ranks, kind="stable"):
                if self.space.key(_arch(pool[row])) not in known:
                    return _arch(pool[row]), {"origin": "warm start, by proxies"}
        return self._random(known, rng), {"origin": "warm start, random"}

    def _ranked_pool(self) -> tuple[IntArray, NDArray[np.float64]]:
        """Return the warm-start pool and its ranks; scored once a process, when first needed."""
        if self._pool is None:
            assert self.scorer is not None
            rng = np.random.default_rng(self.seed)
            pool = unseen(self.space, self.space.sample(self.pool_size, rng), ())
            self._pool = pool, self.scorer.rank(self._scored(pool))
        return self._pool

    def _optimise(
        self,
        labelled: Sequence[Sequence[tuple[Arch, FrozenTrial]]],
        sign: float,
        known: set[str],
        rng: np.random.Generator,
    ) -> tuple[Arch, dict[str, Any]]:
        labels = sign * np.array([np.mean([t.value for _, t in group]) for group in labelled])
        archs = _array([group[0][0] for group in labelled], self.space)
        reference = None
        if self.scorer is not None:
            self._take_over([pair for group in labelled for pair in group], self.scorer.identity)
            reference = self._scored(archs)
        table = self._table(archs, reference)
        predictor = clone(self.predictor).fit(table, labels)
        incumbent = float(predictor.predict(table).max())

        def value(rows: IntArray) -> NDArray[np.float64]:
            return log_expected_improvement(predictor, self._table(rows, reference), incumbent, 0)

        order = np.argsort(-labels, kind="stable")[: self.num_incumbents]
        around = mutants(self.space, archs[order], self.num_candidates, self.max_edits, rng)
        at_random = self.space.sample(self.num_candidates, rng)
        # Half of the new architectures to look at are starts, half are left to the local search.
        quarter = max(self.num_candidates // 4, 1)
        starts = [unseen(self.space, part, known)[:quarter] for part in (around, at_random)]
        # The warm-start pool has its scores already.
        pool = archs[:0] if self.scorer is None else self._ranked_pool()[0]
        candidates = unseen(self.space, np.concatenate([*starts, pool]), known)
        if not len(candidates):
            return self._random(known, rng), {"origin": "random"}
        candidates, _ = local_search(
            self.space, value, candidates, known, budget=self.num_candidates // 2
        )
        table = self._table(candidates, reference)
        seed = int(rng.integers(2**31))
        chosen = int(np.argmax(ACQUISITIONS[self.acquisition](predictor, table, incumbent, seed)))
        mean, std = predictor.predict(table.iloc[[chosen]], return_std=True)
        notes = {
            "origin": "acquisition",
            "predicted_mean": sign * float(mean[0]),
            "predicted_std": float(std[0]),
        }
        return _arch(candidates[chosen]), notes

    def _random(self, known: set[str], rng: np.random.Generator) -> Arch:
        """Return a random architecture that is not known, or any once the space is used up."""
        for _ in range(100):
            fresh = unseen(self.space, self.space.sample(64, rng), known)
            if len(fresh):
                return _arch(fresh[0])
        return _arch(self.space.sample(1, rng)[0])

    def _table(self, archs: IntArray, reference: pd.DataFrame | None) -> pd.DataFrame:
        """Return the predictor's inputs; undefined scores are filled from ``reference``."""
        graphs = pd.Series(self.space.graphs(archs), dtype=object, name="graph")
        if self.scorer is None or reference is None:
            return graphs.to_frame()
        return pd.concat([graphs, self.scorer.fill(self._scored(archs), reference)], axis=1)

    def _take_over(self, labelled: Sequence[tuple[Arch, FrozenTrial]], identity: str) -> None:
        """Read the scores that stand on trials and mean what this scorer's mean."""
        for arch, trial in labelled:
            if trial.user_attrs.get("proxies_identity") == identity:
                stored = trial.user_attrs["proxies"]
                self._scores.setdefault(
                    arch, {f"proxy_{k}": np.nan if v is None else v for k, v in stored.items()}
                )

    def _scored(self, archs: IntArray) -> pd.DataFrame:
        assert self.scorer is not None
        missing = [arch for arch in map(_arch, archs) if arch not in self._scores]
        if missing:
            frame = self.scorer(_array(missing, self.space))
            records = frame.to_dict(orient="records")
            for arch, record in zip(missing, records, strict=True):
                self._scores[arch] = {str(name): float(score) for name, score in record.items()}
        return pd.DataFrame([self._scores[_arch(arch)] for arch in archs])

    def _arch(self, trial: FrozenTrial) -> Arch | None:
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        # An objective may suggest more than the architecture.
        choices = {name: params[name] for name in self.space.choices if name in params}
        return self.space.from_params(choices) if len(choices) == len(self.space.choices) else None


def _arch(row: IntArray) -> Arch:
    return tuple(int(i) for i in row)


def _array(archs: Sequence[Arch], space: Space) -> IntArray:
    return np.array(archs, dtype=np.int64).reshape(-1, len(space.choices))


def _stored(scores: dict[str, float]) -> dict[str, float | None]:
    """Return scores as storages keep them: plain names, None for undefined."""
    return {
        name.removeprefix("proxy_"): score if np.isfinite(score) else None
        for name, score in scores.items()
    }

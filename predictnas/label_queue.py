"""The labels that a study is still to make, put into its queue a few at a time."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from predictnas.errors import InputError
from predictnas.spaces import Arch, Space

__all__ = ["LabelQueue", "random_architectures", "trial_choices"]

SMALL_SPACE = 2**16
"""Combinations up to which a space is shuffled instead of drawn from: so it can be used up."""

MAX_FRUITLESS = 100
"""Batches of random architectures without a new one after which a space counts as used up."""

QUEUED_AT_ONCE = 8
"""Trials that are put into a study's queue at a time: those in it are read before each trial."""

_DRAWN_AT_ONCE = 256


class LabelQueue:
    """What to train into a study: architectures, each with every seed, in the order they came.

    Architecture by architecture, so that a study that breaks off anywhere is a table of
    architectures with all of their seeds, but for the last. A label is one architecture, up to
    isomorphism, trained with one seed; those that the study holds, as a finished, failed, running
    or waiting trial, are left out. The study's own queue is filled a few trials at a time, because
    writing twenty thousand takes minutes.

    Parameters
    ----------
    study, space
        Where the labels go and what they are labels of.
    seeds
        Seeds of training, one label each; None: one label, with the seed of the objective, for
        architectures that the study does not hold with any.
    """

    def __init__(
        self, study: optuna.Study, space: Space, seeds: Sequence[int] | None = None
    ) -> None:
        self.study = study
        self.space = space
        self.seeds = seeds
        self._known: set[tuple[str, int | None]] = set()
        self._read: set[int] = set()
        self._wanted: deque[tuple[Arch, str, int | None, str]] = deque()
        self._refresh()
        self._taken = set(self._known)

    def __len__(self) -> int:
        """How many labels are neither in the study nor in its queue yet."""
        return len(self._wanted)

    def add(self, archs: Sequence[Arch], *, origin: str) -> int:
        """Add architectures; return how many labels are new.

        Parameters
        ----------
        archs
            Architectures; labels that were added or that the study holds are skipped.
        origin
            What chose them, for the report: ``"random"``, ``"given"``.
        """
        before = len(self._wanted)
        for arch in archs:
            key = self.space.key(arch)
            for seed in self._labels_of_each:
                if (key, seed) not in self._taken:
                    self._taken.add((key, seed))
                    self._wanted.append((arch, key, seed, origin))
        return len(self._wanted) - before

    def add_random(self, count: int, seed: int) -> None:
        """Add labels of random architectures, the same ones however often a run is resumed.

        Parameters
        ----------
        count
            How many labels; of the last architecture perhaps not with every seed.
        seed
            Seed of the draws.

        Raises
        ------
        InputError
            If the space has too few distinct architectures.
        """
        self.add_first(random_architectures(self.space, seed), count, origin="random")

    def add_first(self, archs: Iterable[Arch], count: int, *, origin: str) -> None:
        """Add the first labels of architectures that there are more of.

        Parameters
        ----------
        archs
            Architectures in the order in which they are wanted; those labelled are skipped.
        count
            How many labels; of the last architecture perhaps not with every seed.
        origin
            As for :meth:`add`.

        Raises
        ------
        InputError
            If there are too few new ones.
        """
        total = len(self) + count
        for arch in archs:
            if len(self) >= total:
                break
            self.add([arch], origin=origin)
        if len(self) < total:
            raise InputError(
                f"space {self.space.name} has too few distinct architectures: {total - len(self)} "
                "more labels were asked for than could be drawn; lower --trials"
            )
        while len(self) > total:
            _, key, label_seed, _ = self._wanted.pop()
            self._taken.discard((key, label_seed))

    def refill(self, count: int, *, running: int = 0) -> int:
        """Put labels into the study's own queue, which is empty; return how many.

        Parameters
        ----------
        count
            How many at most; no more than a few at a time.
        running
            How many labels are being made: a queue that chooses by labels waits for them.
        """
        del running
        return self.fill(min(count, QUEUED_AT_ONCE))

    def fill(self, count: int) -> int:
        """Put up to ``count`` labels into the study's own queue; return how many."""
        self._refresh()  # on a server other processes add trials too
        filled = 0
        while filled < count and self._wanted:
            arch, key, seed, origin = self._wanted.popleft()
            if (key, seed) in self._known:
                continue
            attrs: dict[str, Any] = {"arch": self.space.format(arch), "key": key, "origin": origin}
            if seed is not None:
                attrs["seed"] = seed
            self.study.enqueue_trial(self.space.params(arch), user_attrs=attrs)
            self._known.add((key, seed))
            filled += 1
        return filled

    @property
    def _labels_of_each(self) -> Sequence[int | None]:
        return [None] if self.seeds is None else self.seeds

    def _refresh(self) -> None:
        for trial in self.study.get_trials(deepcopy=False):
            if trial.number not in self._read and (key := _key(trial, self.space)) is not None:
                self._read.add(trial.number)
                self._known.add((key, self._seed(trial)))

    def _seed(self, trial: FrozenTrial) -> int | None:
        if self.seeds is None:
            return None
        attrs = trial.user_attrs
        # What does not name a seed will be trained with that of the objective, the first one.
        return int(attrs.get("seed", attrs.get("provenance", {}).get("seed", self.seeds[0])))


def trial_choices(trial: FrozenTrial, space: Space) -> dict[str, Any] | None:
    """Return the choices of a trial, also of one that waits, or None where they are incomplete."""
    params = trial.system_attrs.get("fixed_params") or trial.params
    return params if set(params) == set(space.choices) else None


def _key(trial: FrozenTrial, space: Space) -> str | None:
    if "key" in trial.user_attrs:
        return str(trial.user_attrs["key"])
    params = trial_choices(trial, space)
    return None if params is None else space.key(space.from_params(params))


def random_architectures(space: Space, seed: int) -> Iterator[Arch]:
    """Yield architectures drawn at random, none of them twice as it stands."""
    rng = np.random.default_rng(seed)
    if space.size <= SMALL_SPACE:
        yield from (tuple(int(i) for i in row) for row in rng.permutation(space.iterate()))
        return
    seen: set[Arch] = set()
    fruitless = 0
    while fruitless < MAX_FRUITLESS:
        before = len(seen)
        for row in space.sample(_DRAWN_AT_ONCE, rng):
            arch = tuple(int(i) for i in row)
            if arch not in seen:
                seen.add(arch)
                yield arch
        fruitless = 0 if len(seen) > before else fruitless + 1

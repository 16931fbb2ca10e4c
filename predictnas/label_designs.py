"""Labels of architectures that a design chooses, all at once or from labels as they come."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray

from predictnas.errors import InputError
from predictnas.label_queue import LabelQueue, random_architectures, trial_choices
from predictnas.labels import labels_frame
from predictnas.search import LABEL_DRIVEN, ROUND, get_design
from predictnas.spaces import Arch, Space

if TYPE_CHECKING:
    from encoders import ArchGraph

__all__ = ["DesignedQueue", "check_design"]

POOL = 2000
"""Architectures that a design chooses from, where the space has as many."""

POOL_PER_LABEL = 4
"""How many times as many as there are to be labelled it chooses from at least."""

KEYS_AT_ONCE = 256


def check_design(name: str, round_size: int | None, trials: int | None) -> None:
    """Check what the command line says of a design, before there is a study.

    Parameters
    ----------
    name
        One of :data:`~predictnas.search.DESIGNS`.
    round_size
        Architectures it is to choose at a time; None: as many as it does by default.
    trials
        How many labels there are to be; None: those of given architectures.

    Raises
    ------
    InputError
        If there is no such design, it has nothing to choose, or it chooses everything at once.
    """
    get_design(name)
    if name != "random" and trials is None:
        raise InputError(
            f"--design {name} chooses what --archs leaves of --trials N, found --archs alone; "
            "give --trials, or leave --design out"
        )
    if round_size is not None and name not in LABEL_DRIVEN:
        raise InputError(
            f"--design {name} chooses everything at once and takes no --batch; leave it out, or "
            f"choose by labels: {', '.join(sorted(LABEL_DRIVEN))}"
        )


class DesignedQueue(LabelQueue):
    """A queue that a design goes on filling from a pool of random architectures.

    A design that looks at labels chooses a round of architectures when those of the last are
    labelled with all seeds, so that what it chooses does not depend on how many processes train;
    any other chooses everything at once. Architectures that the design chose before, and that
    lack a seed, come first. The pool is the same one however often a run is resumed; with it, a
    design that looks at no labels goes on with the choice that it made.

    Parameters
    ----------
    study, space, seeds
        As for :class:`~predictnas.label_queue.LabelQueue`.
    design
        One of :data:`~predictnas.search.DESIGNS`; it is also the origin of the labels.
    seed
        Seed of the pool and of the design.
    round_size
        Architectures a round; None: :data:`~predictnas.search.ROUND`.
    on_step
        Called with a line when architectures are chosen.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        seeds: Sequence[int],
        design: str,
        *,
        seed: int,
        round_size: int | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(study, space, seeds)
        self.design = design
        self.seed = seed
        self.round_size = ROUND if round_size is None else round_size
        self.on_step = on_step
        self._pool = _Pool(space, seed)

    def refill(self, count: int, *, running: int = 0) -> int:
        """Put labels into the study's own queue, choosing more where none is left.

        Parameters and result are those of :meth:`LabelQueue.refill`.

        Raises
        ------
        InputError
            If the space has too few distinct architectures.
        """
        if len(self):
            return super().refill(count, running=running)
        if self.design not in LABEL_DRIVEN:
            self._choose(count)
            return super().refill(count, running=running)
        if running:
            return 0
        self._choose(min(count, self.round_size * len(self._labels_of_each)))
        # At once: what was killed goes on with its round, not with another choice.
        return self.fill(len(self))

    def _choose(self, count: int) -> None:
        """Add labels of architectures that the design began with, and of those it chooses now."""
        self._refresh()
        self._taken |= self._known  # on a server other processes add trials too
        held: dict[str, Arch] = {}
        begun = []
        for trial in self.study.get_trials(deepcopy=False):
            params = trial_choices(trial, self.space)
            if params is not None:
                arch = self.space.from_params(params)
                held.setdefault(self.space.key(arch), arch)
                if trial.user_attrs.get("origin") == self.design:
                    begun.append(arch)
        self.add_first(chain(begun, self._chosen(count, held)), count, origin=self.design)

    def _chosen(self, count: int, held: Mapping[str, Arch]) -> Iterator[Arch]:
        """Choose as many architectures as labels are lacking, beside those held by key."""
        wanted = math.ceil((count - len(self)) / len(self._labels_of_each))
        if not wanted:
            return
        self._pool.draw(max(POOL, POOL_PER_LABEL * (len(held) + wanted)))
        candidates = set(self._pool.keys)
        # Others that are held, by key: their order does not tell which was labelled first.
        others = {key: held[key] for key in sorted(held.keys() - candidates)}
        archs = [*self._pool.archs, *others.values()]
        keys = [*self._pool.keys, *others]
        graphs = [*self._pool.graphs, *map(self.space.graph, others.values())]
        taken = np.array([key in held for key in keys])
        labels = self._labels(keys) if self.design in LABEL_DRIVEN else None
        wanted = min(wanted, int((~taken).sum()))
        if not wanted:
            return
        table = pd.DataFrame({"graph": pd.Series(graphs, dtype=object)})
        rows = get_design(self.design)(table, wanted, seed=self.seed, held=taken, labels=labels)
        if self.on_step is not None:
            known = 0 if labels is None else int(np.isfinite(labels).sum())
            given = f", given {known} labelled ones" if known else ""
            self.on_step(f"{self.design}: {wanted} of {len(keys)} architectures chosen{given}")
        yield from (archs[row] for row in rows)

    def _labels(self, keys: Sequence[str]) -> NDArray[np.float64]:
        """Return the mean label of architectures by key, NaN where there is none."""
        frame = labels_frame(self.study)
        if frame.empty:
            return np.full(len(keys), np.nan)
        means = frame.groupby("key")["valid_accuracy"].mean()
        return np.asarray(means.reindex(list(keys)).to_numpy(dtype=np.float64))


class _Pool:
    """Random architectures of a space, no two isomorphic, that more can be added to.

    Attributes
    ----------
    archs, keys, graphs
        The architectures, their keys and their graphs.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.archs: list[Arch] = []
        self.keys: list[str] = []
        self.graphs: list[ArchGraph] = []
        self._source = random_architectures(space, seed)

    def draw(self, size: int) -> None:
        """Draw until there are ``size``, or all of the space."""
        known = set(self.keys)
        while len(self.keys) < size:
            drawn = list(islice(self._source, KEYS_AT_ONCE))
            if not drawn:
                return
            archs = np.array(drawn)
            for arch, key, graph in zip(
                drawn, self.space.keys(archs), self.space.graphs(archs), strict=True
            ):
                if key not in known:
                    known.add(key)
                    self.archs.append(arch)
                    self.keys.append(key)
                    self.graphs.append(graph)

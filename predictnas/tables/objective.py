"""The objective that looks an architecture up instead of training it."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.errors import CandidateError, InputError
from predictnas.spaces import ArchLike, Space
from predictnas.tables.curves import CURVE_PREFIX
from predictnas.tables.labels import SEED, LabelTable, label_table
from predictnas.tables.table_space import TableSpace

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

__all__ = ["TableObjective"]


class TableObjective:
    """An Optuna objective: the validation accuracy that a table gives for the suggested choices.

    It stands for trainings, whose seconds a virtual clock counts: each trial notes its own in the
    user attribute ``seconds`` and, in ``virtual_seconds``, the sum over the trials of its study so
    far, itself included. Where the table has a curve of the validation column, its values are
    reported epoch by epoch, so that pruners work, and a pruned trial costs its share of the
    seconds by epochs. An architecture whose key the study has a complete trial of is not trained
    again, as with real training: it gets the label of that trial, be it of an isomorphic one, and
    costs nothing, unless `pay_again`. Architectures that the table does not hold, nor an
    isomorphic one, are failed trials that cost nothing.

    Only the validation column, its curve and the seconds are read in a search; `test_accuracy`
    reads the test column, for the report.

    Parameters
    ----------
    table
        Columns ``arch`` and those named below; ``seed`` where there are several trainings.
    space
        The space of the architectures.
    valid_column, test_column
        What is searched by and what is reported; test_column None: nothing.
    seed
        The training that is looked up. None: the mean over all trainings of an architecture,
        which costs the seconds of all of them.
    seconds_column
        The seconds of a training; None: there is no clock.
    pool
        Whether `space` of the objective is that of the table's rows alone, for tables that hold a
        part of their space.
    pay_again
        Whether an architecture that is proposed again, or an isomorphic one, is looked up again
        and costs its seconds again.

    Attributes
    ----------
    space
        What samplers shall search: make them with it.

    Raises
    ------
    InputError
        When a column is not there, the table is not of the space or holds no training of the seed.
        From a call, `CandidateError` for an architecture that is not in the table.

    Examples
    --------
    >>> import optuna, pandas as pd
    >>> from predictnas.search import get_searcher
    >>> from predictnas.spaces import get_space
    >>> table = pd.DataFrame({
    ...     "arch": ["8:8:8:8:8", "64:64:64:64:64"],
    ...     "valid_accuracy": [61.0, 74.0], "test_accuracy": [60.0, 73.0], "seconds": [5.0, 9.0],
    ... })
    >>> objective = TableObjective(table, get_space("nats-size"), pool=True)
    >>> sampler = get_searcher("random")(objective.space, seed=0)
    >>> study = optuna.create_study(direction="maximize", sampler=sampler)
    >>> study.optimize(objective, n_trials=8)
    >>> study.best_value, study.trials[-1].user_attrs["virtual_seconds"]
    (74.0, 14.0)
    >>> objective.test_accuracy(objective.space.from_params(study.best_params))
    73.0
    """

    def __init__(
        self,
        table: pd.DataFrame,
        space: Space,
        valid_column: str = "valid_accuracy",
        test_column: str | None = "test_accuracy",
        *,
        seed: int | None = None,
        seconds_column: str | None = "seconds",
        pool: bool = False,
        pay_again: bool = False,
    ) -> None:
        if valid_column == test_column:
            raise InputError(
                f"{valid_column!r} would be searched by and reported; name two columns"
            )
        self.valid_column = valid_column
        self.test_column = test_column
        self.seed = seed
        self.pay_again = pay_again
        rows = _of_seed(table, seed)
        for column in (test_column, seconds_column):
            if column is not None and column not in rows:
                raise InputError(
                    f"the table has no column {column!r}; its columns are: "
                    f"{', '.join(map(str, rows.columns))}; name another, or none"
                )
        self._test_rows = rows
        self._base = space
        curve = f"{CURVE_PREFIX}{valid_column}"
        wanted = ("arch", SEED, valid_column, seconds_column, curve)
        labels = label_table(rows[[name for name in wanted if name in rows]], space, valid_column)
        self.space = TableSpace(space, labels.archs) if pool else space
        self._labels = labels
        self._places = _Places(labels)
        self._curves = labels.curves.get(curve)
        self._seconds = None
        if seconds_column is not None:
            self._seconds = _seconds(rows[seconds_column], labels, seconds_column)

    def __call__(self, trial: "optuna.Trial") -> float:
        """Look up the architecture that ``trial`` suggests."""
        import optuna

        try:
            # Of the whole space: what of it is not a row of the table is a failed trial.
            arch = self._base.suggest(trial)
        except InputError as error:
            raise _failure(trial, str(error)) from error
        key = self._base.key(arch)
        trial.set_user_attr("arch", self._base.format(arch))
        trial.set_user_attr("key", key)
        others = [t for t in trial.study.get_trials(deepcopy=False) if t.number != trial.number]
        known = None if self.pay_again else _complete(others, key)
        first = arch if known is None else self._base.from_params(known.params)
        row = self._places.of(first, key) if self.space.is_valid([arch])[0] else None
        if row is None:
            raise _failure(trial, f"the table does not hold {self._base.format(arch)}")
        trained = self._follow(trial, row)
        if self._seconds is not None:
            cost = 0.0 if known is not None else float(self._seconds[row]) * (trained or 1.0)
            trial.set_user_attr("seconds", cost)
            spent = sum(t.user_attrs.get("seconds", 0.0) for t in others)
            trial.set_user_attr("virtual_seconds", spent + cost)
        if trained is not None:
            raise optuna.TrialPruned
        return float(self._labels.targets[row])

    def test_accuracy(self, arch: ArchLike) -> float:
        """Return what the test column gives for an architecture, by the same seed or mean.

        Raises
        ------
        InputError
            When there is no test column, or the table does not hold the architecture.
        """
        if self.test_column is None:
            raise InputError("this objective was made without a test column; name it")
        names = [name for name in ("arch", SEED, self.test_column) if name in self._test_rows]
        labels = label_table(self._test_rows[names], self._base, self.test_column)
        chosen = tuple(int(option) for option in arch)
        row = _Places(labels).of(chosen, self._base.key(chosen))
        if row is None:
            raise InputError(f"the table does not hold {self._base.format(chosen)}")
        return float(labels.targets[row])

    def _follow(self, trial: "optuna.Trial", row: int) -> float | None:
        """Report the curve of a row; return at which share of its epochs the trial was pruned."""
        if self._curves is None:
            return None
        known = np.flatnonzero(np.isfinite(self._curves[row]))
        for place in known.tolist():
            trial.report(float(self._curves[row, place]), place + 1)
            if trial.should_prune():
                return float((place + 1) / (known[-1] + 1))
        return None


class _Places:
    """Where a label table holds an architecture, or an isomorphic one."""

    def __init__(self, labels: LabelTable) -> None:
        self._by_arch = {tuple(arch): row for row, arch in enumerate(labels.archs.tolist())}
        self._by_key: dict[str, int] = {}
        for row, key in enumerate(labels.keys):
            self._by_key.setdefault(key, row)

    def of(self, arch: tuple[int, ...], key: str) -> int | None:
        return self._by_arch.get(arch, self._by_key.get(key))


def _complete(
    trials: "Sequence[optuna.trial.FrozenTrial]", key: str
) -> "optuna.trial.FrozenTrial | None":
    """Return the first complete trial of a key."""
    import optuna

    complete = optuna.trial.TrialState.COMPLETE
    own = (t for t in trials if t.state == complete and t.user_attrs.get("key") == key)
    return next(own, None)


def _failure(trial: "optuna.Trial", reason: str) -> CandidateError:
    trial.set_user_attr("failure", reason)
    return CandidateError(reason)


def _of_seed(table: pd.DataFrame, seed: int | None) -> pd.DataFrame:
    if seed is None:
        return table
    if SEED not in table:
        raise InputError(f"the table does not say its seeds; leave out the seed {seed}")
    rows = table[table[SEED] == seed]
    if rows.empty:
        found = ", ".join(map(str, sorted(set(table[SEED]))[:10]))
        raise InputError(f"the table holds no training with seed {seed}; its seeds are: {found}")
    # Without the column: isomorphic architectures would count as trainings of one, and be averaged.
    return rows.drop(columns=SEED).reset_index(drop=True)


def _seconds(given: pd.Series, labels: LabelTable, column: str) -> NDArray[np.float64]:
    """Return the seconds of all trainings of every architecture, shape (n,).

    A mean over seeds would not show that those of one are not given.
    """
    if column in labels.frame and given.notna().all():
        seconds = labels.frame[column].to_numpy(dtype=np.float64) * labels.num_labels
        if np.isfinite(seconds).all() and np.all(seconds >= 0):
            return np.asarray(seconds)
    raise InputError(
        f"the column {column!r} must hold the seconds of every training; name another, or none"
    )

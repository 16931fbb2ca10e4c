"""Label tables: architectures of one space with what was measured of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.spaces import Archs, Space
from predictnas.tables.curves import CURVE_PREFIX, group_means, read_curves
from predictnas.tables.replicates import Replicates
from predictnas.tables.units import check_accuracies, is_accuracy, name_words

__all__ = ["LabelTable", "first_trainings", "label_table"]

PROXY_PREFIX = "proxy_"
SEED = "seed"

# What rows of one training may differ in: readings of a clock, and numbers of the rows.
CLOCKS = {
    *("seconds", "second", "secs", "sec", "s", "ms", "minutes", "hours"),
    *("time", "runtime", "duration", "latency", "timestamp"),
}
_ROW_NUMBER = re.compile(r"index|number|row|id|trial|Unnamed: \d+")  # the last by pandas
# That of a number which was kept in single precision once.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Distinct architectures of one space, each with a label and other numbers.

    Attributes
    ----------
    space
        The space of the architectures.
    archs
        Option indices, shape ``(n, len(space.choices))``; no two rows are equal.
    frame
        The numeric columns of the table, the target among them, as float64, ``n`` rows; means
        where an architecture has several labels.
    target
        Name of the column with the labels.
    replicates
        The single labels, where the table says which seed each was trained with.
    curves
        For every column ``curve_NAME`` an array ``(n, epochs)``, means like those of `frame`; NaN
        behind the end of a curve that is shorter than others.
    """

    space: Space
    archs: Archs
    frame: pd.DataFrame
    target: str
    replicates: Replicates | None = None
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.archs)

    @property
    def targets(self) -> NDArray[np.float64]:
        """The labels, shape ``(n,)``, all finite."""
        return np.asarray(self.frame[self.target].to_numpy(dtype=np.float64))

    @property
    def num_labels(self) -> NDArray[np.int64]:
        """How many labels stand behind each of `targets`, shape ``(n,)``."""
        if self.replicates is None:
            return np.ones(len(self), dtype=np.int64)
        return self.replicates.counts

    @property
    def standard_errors(self) -> NDArray[np.float64]:
        """Standard error of each of `targets` by its labels, shape ``(n,)``; NaN where one is."""
        if self.replicates is None:
            return np.full(len(self), np.nan)
        return self.replicates.standard_errors

    @property
    def proxy_columns(self) -> list[str]:
        """Names of the columns that hold proxy scores: those that begin with ``proxy_``."""
        return [name for name in self.frame.columns if name.startswith(PROXY_PREFIX)]

    @cached_property
    def graphs(self) -> list[ArchGraph]:
        """The graph of every architecture; built once."""
        return self.space.graphs(self.archs)

    @cached_property
    def keys(self) -> list[str]:
        """The key of every architecture, equal for isomorphic ones; computed once."""
        return self.space.keys(self.archs)

    @cached_property
    def twins(self) -> NDArray[np.int64]:
        """A number for every architecture, equal for those that may stand for one another.

        These are what the space calls isomorphic (`keys`) and what has the same graph once it is
        pruned, which is all that predictors see; neither always implies the other. Splits that
        keep twins together give no answer away. Shape ``(n,)``.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        _, by_key = np.unique(self.keys, return_inverse=True)
        _, by_graph = np.unique([graph.key() for graph in self.graphs], return_inverse=True)
        links = (np.ones(len(self)), (by_key, by_key.max() + 1 + by_graph))
        size = int(by_key.max() + by_graph.max()) + 2
        _, component = connected_components(coo_array(links, shape=(size, size)), directed=False)
        numbers: NDArray[np.int64] = component[by_key].astype(np.int64)
        return numbers

    def features(self, *, graph: bool = True, proxies: bool | Sequence[str] = True) -> pd.DataFrame:
        """Return the inputs of a predictor.

        Parameters
        ----------
        graph
            Whether to include the column ``graph``, of :class:`encoders.ArchGraph`.
        proxies
            Whether to include all of `proxy_columns`, or the names of the numeric columns to
            include.

        Returns
        -------
        DataFrame
            ``n`` rows in the order of `archs`; proxy scores may be missing (NaN).

        Raises
        ------
        InputError
            When nothing is left as input, or a column is not there or is the target.
        """
        names = self._feature_names(proxies)
        if not graph and not names:
            raise InputError(
                "a predictor needs inputs, found neither the graph nor any proxy column; "
                "use the graph or add proxy_* columns to the table"
            )
        columns: dict[str, pd.Series] = {}
        if graph:
            columns["graph"] = pd.Series(self.graphs, dtype=object)
        columns.update({name: self.frame[name] for name in names})
        return pd.DataFrame(columns)

    def _feature_names(self, proxies: bool | Sequence[str]) -> list[str]:
        if isinstance(proxies, bool):
            # A proxy may itself be what is predicted; then it is no input.
            return [name for name in self.proxy_columns if proxies and name != self.target]
        for name in proxies:
            if name == self.target:
                raise InputError(f"{name!r} is the target and cannot be an input too; leave it out")
            if name not in self.frame.columns:
                raise _no_column(name, list(self.frame.columns))
        return list(proxies)


def label_table(frame: pd.DataFrame, space: Space, target: str) -> LabelTable:
    """Check a table and read its architectures.

    Where there is a column ``seed``, a row is one training: the result has one row for every key,
    spelt as where it first occurs, with the means over its seeds and its isomorphic twins.
    Otherwise it has one row for every architecture, twins among them. Rows that repeat an
    architecture and a seed with the same numbers are dropped but for the first. Messages count rows
    from 1, without a header line.

    Parameters
    ----------
    frame
        A column ``arch`` in the space's native text, numeric columns, and perhaps a column
        ``seed`` of whole numbers and columns ``curve_NAME`` with a list of numbers in each row;
        other columns are left out of the result.
    space
        The space that the architectures belong to.
    target
        Name of the numeric column with the labels.

    Raises
    ------
    InputError
        When there is no column ``arch`` or no rows, the target is not a numeric column, a label is
        missing or infinite, an architecture is not of this space, rows of one architecture and
        seed disagree, or an accuracy mixes fractions and percent: a column or a curve with
        ``accuracy`` in its name, or a target with ``acc``.
    """
    if "arch" not in frame.columns:
        raise InputError(
            "a label table needs a column 'arch' with the architectures, found: "
            f"{', '.join(map(str, frame.columns)) or 'no columns'}"
        )
    if frame.empty:
        raise InputError("a label table needs at least one row, found none")
    seeds = _seeds(frame)
    numbers = _numeric(frame.drop(columns=SEED, errors="ignore"))
    if target not in numbers.columns:
        raise _no_column(target, list(numbers.columns))
    targets = numbers[target].to_numpy(dtype=np.float64)
    unusable = np.flatnonzero(~np.isfinite(targets))
    if unusable.size:
        raise InputError(
            f"labels must be finite numbers, found {unusable.size} NaN or infinite among "
            f"{len(targets)} in {target!r}, the first in row {unusable[0] + 1}; remove those rows"
        )
    for name in numbers.columns:
        if is_accuracy(name, short=name == target):
            check_accuracies(numbers[name].to_numpy(), name)
    archs = _parse(frame["arch"], space)
    first = first_trainings(frame, archs, target=target)
    archs, numbers = archs[first], numbers.iloc[first].reset_index(drop=True)
    curves = read_curves(frame.iloc[first])
    for name, curve in curves.items():
        if is_accuracy(name, short=name == CURVE_PREFIX + target):
            check_accuracies(curve, name)
    if seeds is None:
        return LabelTable(space, archs, numbers, target, curves=curves)
    rows, heads = _by_key(archs, space)
    return LabelTable(
        space,
        archs[heads],
        numbers.groupby(rows).mean(),
        target,
        Replicates(rows, seeds[first], targets[first]),
        {name: group_means(curve, rows) for name, curve in curves.items()},
    )


def first_trainings(
    frame: pd.DataFrame, archs: Archs, *, target: str | None = None, source: str | None = None
) -> NDArray[np.int64]:
    """Return where each architecture and seed stands first, if the rows that repeat it agree.

    They agree if all numbers and curves are equal to within the rounding of single precision, NaN
    among them; but what a clock measured, and the number of a row, may differ unless it is the
    target.

    Parameters
    ----------
    frame
        A table as `label_table` reads it.
    archs
        The architectures of its rows.
    target
        The column with the labels, which is compared first; None: there is none yet.
    source
        The table, for the message.

    Returns
    -------
    array (trainings,)
        Rows, in the order of the table.

    Raises
    ------
    InputError
        When rows with one architecture and seed differ in a column, or a seed is no whole number.
    """
    seeds = _seeds(frame)
    trainings = archs if seeds is None else np.column_stack([archs, seeds])
    _, first, inverse = np.unique(trainings, axis=0, return_index=True, return_inverse=True)
    origin = first[inverse.reshape(-1)]
    repeats = np.flatnonzero(origin != np.arange(len(origin)))
    for name, values, others in _compared(frame, repeats, origin[repeats], target):
        differing = ~np.isclose(values, others, rtol=_ROUNDING, atol=0, equal_nan=True)
        found = np.flatnonzero(differing.any(axis=1))
        if not found.size:
            continue
        number, epoch = found[0], int(np.argmax(differing[found[0]]))
        row = int(repeats[number])
        where = "" if source is None else f"{source}: "
        of_seed = "" if seeds is None else f" of seed {seeds[row]}"
        of_epoch = f" in epoch {epoch + 1} of" if name.startswith(CURVE_PREFIX) else " in"
        raise InputError(
            f"{where}rows {origin[row] + 1} and {row + 1} give {frame['arch'].iloc[row]!r} "
            f"different labels{of_seed}{of_epoch} {name!r}, {others[number, epoch]:g} and "
            f"{values[number, epoch]:g}; {found.size} rows repeat an architecture with another "
            "label: keep one of each or their mean, or say in a column 'seed' which training each "
            "is"
        )
    return np.sort(first).astype(np.int64)


def _compared(
    frame: pd.DataFrame, rows: NDArray[np.int64], others: NDArray[np.int64], target: str | None
) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the columns that repeated rows must agree in: of both sides ``(k, 1 or epochs)``."""
    if not rows.size:
        return
    both = frame.iloc[np.concatenate([rows, others])]
    numbers = _numeric(both.drop(columns=SEED, errors="ignore"))
    for name in sorted(numbers.columns, key=lambda name: name != target):
        if name == target or not _may_differ(name):
            values = numbers[name].to_numpy()[:, None]
            yield name, values[: len(rows)], values[len(rows) :]
    for name, curves in read_curves(both).items():
        yield name, curves[: len(rows)], curves[len(rows) :]


def _may_differ(name: str) -> bool:
    """Return whether a column of numbers says nothing of the training, or only how long it was."""
    return bool(CLOCKS & name_words(name) or _ROW_NUMBER.fullmatch(name))


def _seeds(frame: pd.DataFrame) -> NDArray[np.int64] | None:
    """Return the seed of every row, or None where the table does not have them."""
    if SEED not in frame.columns:
        return None
    column = frame[SEED]
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = np.flatnonzero(~(np.isfinite(values) & (values == np.floor(values))))
        if not wrong.size:
            return np.asarray(values.astype(np.int64))
        found: Any = f"{values[wrong[0]]:g} in row {wrong[0] + 1}"
    else:
        found = f"{column.iloc[0]!r} in row 1"
    raise InputError(
        f"the column 'seed' must hold a whole number for every training, found {found}; give it, "
        "or drop the column"
    )


def _by_key(archs: Archs, space: Space) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of each row's key, in order of occurrence, and where each key is first."""
    distinct, inverse = np.unique(archs, axis=0, return_inverse=True)
    keys = np.array(space.keys(distinct))[inverse.reshape(-1)]
    numbers, _ = pd.factorize(keys)
    _, heads = np.unique(numbers, return_index=True)
    return numbers.astype(np.int64), heads.astype(np.int64)


def _numeric(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that hold real numbers, as float64."""
    columns = {
        str(name): np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
        for name, column in frame.items()
        if pd.api.types.is_numeric_dtype(column.dtype)
        and not pd.api.types.is_bool_dtype(column.dtype)
        and not pd.api.types.is_complex_dtype(column.dtype)
    }
    return pd.DataFrame(columns)


def _no_column(name: str, numeric: Sequence[str]) -> InputError:
    return InputError(
        f"the table has no numeric column {name!r}; its numeric columns are: "
        f"{', '.join(numeric) or 'none'}"
    )


def _parse(texts: pd.Series, space: Space) -> Archs:
    """Read all architectures, or say which rows are not of the space."""
    values = texts.tolist()
    for number, text in enumerate(values, start=1):
        if not isinstance(text, str):
            raise InputError(f"row {number}: expected the text of an architecture, found {text!r}")
    try:
        archs = space.parse_all(values)
    except InputError:
        raise _unreadable(values, space) from None
    invalid = np.flatnonzero(~space.is_valid(archs))
    if invalid.size:
        raise InputError(
            f"row {invalid[0] + 1}: {values[invalid[0]]!r} is not a valid architecture of "
            f"{space.name}; {invalid.size} of {len(values)} rows are not"
        )
    return archs


def _unreadable(texts: list[str], space: Space) -> InputError:
    failures: list[tuple[int, InputError]] = []
    for number, text in enumerate(texts, start=1):
        try:
            space.parse(text)
        except InputError as error:
            failures.append((number, error))
    number, reason = failures[0]
    count = f"{len(failures)} of {len(texts)} rows"
    if 2 * len(failures) > len(texts):
        return InputError(
            f"{count} are not architectures of {space.name}: the table seems to hold those of "
            f"another space; row {number}: {reason}"
        )
    return InputError(
        f"row {number}: {reason}; {count} cannot be read as architectures of {space.name}"
    )

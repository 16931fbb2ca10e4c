"""Reading the tables that predictors take, with every mistake named."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, column_or_1d

from encoders import INPUT, OUTPUT, ArchGraph
from predictnas.errors import InputError

__all__ = ["GRAPH", "Inputs", "read_inputs", "read_targets"]

GRAPH: Final = "graph"


@dataclass(frozen=True, eq=False)
class Inputs:
    """A table of architectures, checked.

    Attributes
    ----------
    graphs
        One graph a row; None where the table has no graph column.
    numeric
        The numeric columns, finite, shape ``(n, k)``.
    columns
        The names of the `k` numeric columns, in alphabetical order, so that the order in the
        table makes no difference.
    """

    graphs: tuple[ArchGraph, ...] | None
    numeric: NDArray[np.float64]
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.numeric)

    def names(self) -> tuple[str, ...]:
        """Return the names of all columns in alphabetical order."""
        graph = () if self.graphs is None else (GRAPH,)
        return tuple(sorted((*self.columns, *graph)))

    def rows(self, start: int, stop: int) -> "Inputs":
        """Return the rows from `start` up to, not including, `stop`."""
        graphs = None if self.graphs is None else self.graphs[start:stop]
        return Inputs(graphs, self.numeric[start:stop], self.columns)

    def taken(self, rows: NDArray[np.int64]) -> "Inputs":
        """Return the rows with the given numbers."""
        graphs = None if self.graphs is None else tuple(self.graphs[row] for row in rows.tolist())
        return Inputs(graphs, self.numeric[rows], self.columns)

    def operations(self) -> tuple[str, ...] | None:
        """Return the operations that the graphs carry, without the two ends; None without graphs.

        They are the vocabulary for a part of the rows, which may lack some.
        """
        if self.graphs is None:
            return None
        found = {operation for graph in self.graphs for operation in graph.operations}
        return tuple(sorted(found - {INPUT, OUTPUT}))

    def frame(self) -> pd.DataFrame:
        """Return the rows as a table again, for predictors inside others to read."""
        table = pd.DataFrame(self.numeric, columns=list(self.columns))
        if self.graphs is not None:
            table[GRAPH] = pd.Series(self.graphs, dtype=object)
        return table

    def identities(self) -> list[str]:
        """Return a text for every row, equal for rows that hold the same architecture.

        It is the key of the graph, or the numbers where there are no graphs.
        """
        if self.graphs is not None:
            return [graph.key() for graph in self.graphs]
        return [row.tobytes().hex() for row in self.numeric]


def read_inputs(X: Any, expected: Sequence[str] | None = None) -> Inputs:
    """Read a table of architectures.

    Parameters
    ----------
    X
        A DataFrame with a column ``graph`` of `ArchGraph` and any numeric columns, or numeric
        columns alone. A plain array ``(n, k)``, or a DataFrame whose columns are numbered,
        counts as a table with columns ``x0`` to ``x{k-1}``. What was read
        before is returned as it is.
    expected
        The names of all columns that there must be, in any order; None accepts any.

    Raises
    ------
    InputError
        If there are no rows or no columns, a column is missing, unexpected, not numeric or not
        finite, or the graph column holds something else than graphs.
    """
    if isinstance(X, Inputs):
        _check_columns(X.names(), expected)
        return X
    if not isinstance(X, pd.DataFrame) or all(isinstance(name, int) for name in X.columns):
        X = _read_array(X, expected)
    _check_columns(list(X.columns), expected)
    if len(X) == 0:
        raise InputError("expected a table with at least one row, found none; give an architecture")
    graphs = _read_graphs(X[GRAPH]) if GRAPH in X.columns else None
    columns = tuple(sorted(name for name in X.columns if name != GRAPH))
    numeric = np.empty((len(X), len(columns)))
    for index, name in enumerate(columns):
        numeric[:, index] = _read_numbers(X[name])
    return Inputs(graphs, numeric, columns)


def read_targets(y: Any, rows: int) -> NDArray[np.float64]:
    """Read `rows` targets as an array ``(n,)``.

    Raises
    ------
    InputError
        If they are not numbers, their number is not `rows`, or one is not finite.
    """
    if y is None:
        raise InputError("requires y to be passed, but the target y is None; give the targets")
    try:
        targets = np.asarray(column_or_1d(y, warn=True), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected one number per row as target: {error}") from None
    if len(targets) != rows:
        raise InputError(
            f"expected one target for each of the {rows} rows, found {len(targets)}; "
            "give as many targets as rows"
        )
    _check_finite("the target y", targets)
    return targets


def _read_array(X: Any, expected: Sequence[str] | None) -> pd.DataFrame:
    array = check_array(X, dtype=np.float64, input_name="X")
    if expected is not None and array.shape[1] != len(expected):
        # In the words of scikit-learn, whose estimator checks look for them.
        raise InputError(
            f"X has {array.shape[1]} features, but predict is expecting {len(expected)} features "
            f"as input, as many as fit saw: {', '.join(expected)}"
        )
    return pd.DataFrame(array, columns=[f"x{k}" for k in range(array.shape[1])])


def _check_columns(names: Sequence[Any], expected: Sequence[str] | None) -> None:
    if not names:
        raise InputError("expected a graph column or numeric columns, found none; give some")
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise InputError(
            f"expected columns with distinct names, found {', '.join(map(repr, names))}; "
            "rename them"
        )
    if expected is None:
        return
    missing = sorted(set(expected) - set(names))
    extra = sorted(set(names) - set(expected))
    if missing or extra:
        found = [f"{', '.join(missing)} missing"] if missing else []
        found += [f"{', '.join(extra)} too many"] if extra else []
        raise InputError(
            f"expected the columns seen in fit, found {' and '.join(found)}; "
            "give the same columns in any order"
        )


def _read_graphs(column: "pd.Series[Any]") -> tuple[ArchGraph, ...]:
    graphs = tuple(column)
    # Tables are long and have few types.
    others = {kind for kind in set(map(type, graphs)) if not issubclass(kind, ArchGraph)}
    if others:
        row = next(row for row, graph in enumerate(graphs) if type(graph) in others)
        raise InputError(
            f"expected an ArchGraph in every row of column {GRAPH!r}, found "
            f"{type(graphs[row]).__name__} in row {row}; make graphs with Space.graphs"
        )
    return graphs


def _read_numbers(column: "pd.Series[Any]") -> NDArray[np.float64]:
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_complex_dtype(column):
        raise InputError(
            f"expected numbers in column {column.name!r}, found {column.dtype}; "
            "drop or encode the column"
        )
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    _check_finite(f"column {column.name!r}", values)
    return values


def _check_finite(where: str, values: NDArray[np.float64]) -> None:
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        kind = "NaN" if np.isnan(values[wrong[0]]) else "inf"
        raise InputError(
            f"expected finite numbers in {where}, found {kind} in row {wrong[0]} "
            f"({len(wrong)} of {len(values)} rows are not finite); drop or fill these rows"
        )

"""The design matrix: encoded graphs and warped numeric columns side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from encoders import ENCODERS, ArchGraph, Encoder, EncodingError, get_encoder
from predictnas.errors import InputError, unknown_name
from predictnas.predictors.checks import check_names
from predictnas.predictors.inputs import GRAPH, Inputs
from predictnas.predictors.sharing import once
from predictnas.predictors.warp import YeoJohnson

__all__ = ["Features", "GraphEncodings", "NumericWarps"]

# Warped columns vary by about one; less than this is rounding error.
SMALLEST_RANGE = 1e-9
CHUNK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class GraphEncodings:
    """Encodings of the graph column, laid out for the training graphs.

    Attributes
    ----------
    names
        The names of the encodings, none where graphs are not used.
    operations
        The operations that graphs may carry; None for those of the training graphs.
    graphs
        The distinct graphs, of training and without labels. The encoders learn their layout from
        them, so they are all that has to be stored.
    """

    names: tuple[str, ...]
    operations: tuple[str, ...] | None
    graphs: tuple[ArchGraph, ...]

    @cached_property
    def encoders(self) -> tuple[Encoder, ...]:
        """The fitted encoders, one for each name."""
        try:
            return tuple(self._made(name).fit(self.graphs) for name in self.names)
        except EncodingError as error:
            raise InputError(str(error)) from None

    def _made(self, name: str) -> Encoder:
        encoder = get_encoder(name)(operations=self.operations)
        if "larger" in encoder.get_params():
            # Columns that no training graph fills would not vary, and are left out here anyway.
            encoder.set_params(larger="cut")
        return encoder

    def columns(self) -> list[list[str]]:
        """Return the names of the columns of each encoding."""
        return [list(encoder.get_feature_names_out()) for encoder in self.encoders]

    def transform(self, inputs: Inputs) -> NDArray[np.float64]:
        """Return the encoded graphs, shape ``(n, number of columns)``."""
        try:
            encoded = [encoder.transform(inputs.graphs) for encoder in self.encoders]
        except EncodingError as error:
            raise InputError(str(error)) from None
        return np.concatenate([np.empty((len(inputs), 0)), *encoded], axis=1)


@dataclass(frozen=True, eq=False)
class NumericWarps:
    """The numeric columns, each warped and clipped to the range seen in training.

    Attributes
    ----------
    warps
        The warp of each column.
    lower, upper
        The range of the warped training values of each column.
    """

    warps: tuple[YeoJohnson, ...]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @classmethod
    def learn(cls, numeric: NDArray[np.float64]) -> Self:
        """Learn the warps of the columns of an array ``(n, k)``."""
        warps = tuple(YeoJohnson.learn(column) for column in numeric.T)
        warped = _warped(numeric, warps)
        return cls(warps, warped.min(axis=0), warped.max(axis=0))

    def transform(self, numeric: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the warped columns, shape ``(n, k)``."""
        return np.clip(_warped(numeric, self.warps), self.lower, self.upper)


@dataclass(frozen=True, eq=False)
class Features:
    """A fitted map from a table to a design matrix ``(n, d)``.

    The columns form groups: every encoding is one, every numeric column is one. Columns that do
    not vary over the training rows are left out. A group is centred and divided by the square
    root of its total variance over the training rows, so that groups count equally however many
    columns they have. Within an encoding whose columns have different units, every column is
    standardised first; within others rare entries keep their small weight. Numeric
    columns first go through a monotone warp, since proxy scores are heavy-tailed and differ in
    unit by orders of magnitude, and are clipped to the range seen in training, so that a broken
    score of an unlabelled architecture cannot move it far away from all others.

    Attributes
    ----------
    encodings, numeric
        The maps from graphs and from numeric columns.
    names
        The names of all their columns.
    kept
        The numbers among these of the columns of the design matrix, shape ``(d,)``.
    groups
        The group of every column of the design matrix, from 0, shape ``(d,)``.
    centre, scale
        What is subtracted from every column and divided by, shape ``(d,)``.
    """

    encodings: GraphEncodings
    numeric: NumericWarps
    names: tuple[str, ...]
    kept: NDArray[np.int64]
    groups: NDArray[np.int64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def learn(
        cls,
        inputs: Inputs,
        encoding: str | Sequence[str],
        operations: Sequence[str] | None,
        unlabelled: Sequence[ArchGraph] | None = None,
    ) -> Self:
        """Learn the features of a training table.

        Parameters
        ----------
        inputs
            The training rows.
        encoding
            One or several names of `encoders.ENCODERS`, or an empty tuple to use numeric columns
            alone. Tables without graphs use none.
        operations
            The operations that graphs may carry, here and later; None takes those seen here.
        unlabelled
            Further graphs, on which encodings are laid out, centred and scaled as well.

        Raises
        ------
        InputError
            If an encoding does not exist or cannot represent the graphs, or there is nothing to
            learn from.
        """
        check_names("encoding", encoding)
        check_names("operations", operations)
        more = () if inputs.graphs is None else tuple(unlabelled or ())
        names = (encoding,) if isinstance(encoding, str) else tuple(encoding)
        vocabulary = None if operations is None else tuple(operations)
        key = inputs.graphs, inputs.numeric, inputs.columns, names, vocabulary, more
        return once(lambda: cls._learn(inputs, names, vocabulary, more), cls._learn, *key)

    @classmethod
    def _learn(
        cls,
        inputs: Inputs,
        names: tuple[str, ...],
        operations: tuple[str, ...] | None,
        more: tuple[ArchGraph, ...],
    ) -> Self:
        encodings = _graph_encodings(inputs, names, operations, more)
        if not encodings.names and not inputs.columns:
            raise InputError(
                f"expected numeric columns beside {GRAPH!r} where no encoding is used, found "
                f"none; give an encoding: {', '.join(ENCODERS)}"
            )
        numeric = NumericWarps.learn(inputs.numeric)
        graphs = None if inputs.graphs is None else (*inputs.graphs, *more)
        everything = Inputs(graphs, np.empty((len(inputs) + len(more), 0)), ())
        parts = encodings.transform(everything), numeric.transform(inputs.numeric)
        columns = [*encodings.columns(), *([name] for name in inputs.columns)]
        group_of = np.repeat(np.arange(len(columns)), [len(group) for group in columns])
        kept = np.flatnonzero(_of_columns(np.ptp, parts) > SMALLEST_RANGE)
        if len(kept) == 0:
            # A design matrix needs a column, be it a constant one.
            kept = np.zeros(1, dtype=np.int64)
        _, groups = np.unique(group_of[kept], return_inverse=True)
        variances = _of_columns(np.var, parts)[kept]
        mixed = [encoder.mixed_units for encoder in encodings.encoders]
        mixed += [False] * len(inputs.columns)
        own = np.where(np.array(mixed)[group_of[kept]], np.sqrt(variances), 1.0)
        own[own <= SMALLEST_RANGE] = 1.0
        total = np.bincount(groups, weights=variances / own**2)
        return cls(
            encodings=encodings,
            numeric=numeric,
            names=tuple(name for group in columns for name in group),
            kept=kept,
            groups=groups,
            centre=_of_columns(np.mean, parts)[kept],
            scale=own * np.sqrt(np.where(total > SMALLEST_RANGE**2, total, 1.0))[groups],
        )

    def check_layout(self) -> None:
        """Raise InputError if the encodings no longer have the columns that were learned."""
        encoded = tuple(name for group in self.encodings.columns() for name in group)
        if encoded != self.names[: len(self.names) - len(self.numeric.warps)]:
            raise InputError(
                f"expected the columns of encoding {', '.join(self.encodings.names)} as another "
                "version of PredictNAS laid them out, found others; fit again"
            )

    def transform(self, inputs: Inputs) -> NDArray[np.float64]:
        """Return the design matrix ``(n, d)`` of a table with the columns seen in training.

        It may be shared with others, and is not to be changed.

        Raises
        ------
        InputError
            If a graph has an operation that is not in the vocabulary, or cannot be encoded.
        """
        key = self._content, inputs.graphs, inputs.numeric
        return once(lambda: self._transformed(inputs), *key)

    @property
    def _content(self) -> tuple[Any, ...]:
        """All that matters to what rows become."""
        encodings, numeric = self.encodings, self.numeric
        return (
            (encodings.names, encodings.operations, encodings.graphs),
            (numeric.warps, numeric.lower, numeric.upper),
            (self.kept, self.centre, self.scale),
        )

    def _transformed(self, inputs: Inputs) -> NDArray[np.float64]:
        matrix = np.empty((len(inputs), len(self.kept)))
        # Encodings can be far wider than what is kept of them, hence the chunks.
        for start in range(0, len(inputs), CHUNK_ROWS):
            chunk = inputs.rows(start, start + CHUNK_ROWS)
            parts = [self.encodings.transform(chunk), self.numeric.transform(chunk.numeric)]
            matrix[start : start + CHUNK_ROWS] = np.concatenate(parts, axis=1)[:, self.kept]
        matrix -= self.centre
        matrix /= self.scale
        return matrix


def _of_columns(
    measure: Callable[..., Any], parts: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return a measure of every column of matrices side by side, which may differ in length."""
    return np.concatenate([measure(part, axis=0) for part in parts])


def _graph_encodings(
    inputs: Inputs,
    names: tuple[str, ...],
    operations: tuple[str, ...] | None,
    unlabelled: tuple[ArchGraph, ...],
) -> GraphEncodings:
    for name in names:
        if name not in ENCODERS:
            raise unknown_name("encoding", name, ENCODERS)
    if len(set(names)) < len(names):
        raise InputError(f"expected every encoding once, found {', '.join(names)}; remove repeats")
    if not names or inputs.graphs is None:
        return GraphEncodings((), None, ())
    return GraphEncodings(names, operations, tuple(dict.fromkeys((*inputs.graphs, *unlabelled))))


def _warped(numeric: NDArray[np.float64], warps: tuple[YeoJohnson, ...]) -> NDArray[np.float64]:
    warped = np.empty(numeric.shape)
    for index, warp in enumerate(warps):
        warped[:, index] = warp.transform(numeric[:, index])
    return warped

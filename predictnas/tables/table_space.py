"""The architectures of a table as a space of their own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoders import ArchGraph, GraphBatch
from predictnas.errors import InputError
from predictnas.spaces import Arch, ArchLike, Archs, Space

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TableSpace"]


class TableSpace(Space):
    """The part of a space that a table holds: its rows and nothing else are architectures.

    Text, graphs, keys and networks are those of the whole space. What is drawn, listed as a
    neighbour or mutated is a row of the table, so every sampler that asks a space for
    architectures searches among the rows. Where no row is one choice away, the neighbours are the
    nearest rows; where none is as many choices away as a mutation asks for, it moves to a row
    whose distance is closest to that.

    Parameters
    ----------
    space
        The whole space.
    archs
        Its architectures that the table holds (n, len(choices)); rows that occur twice count once.

    Raises
    ------
    InputError
        If there is none, or one is not of the space.

    Examples
    --------
    >>> from predictnas.spaces import get_space
    >>> archs = [(0, 0, 0, 0, 0), (0, 0, 0, 0, 3), (7, 7, 7, 7, 7)]
    >>> rows = TableSpace(get_space("nats-size"), archs)
    >>> rows.size
    3
    >>> rows.neighbors((0, 0, 0, 0, 0)).tolist()
    [[0, 0, 0, 0, 3]]
    >>> rows.neighbors((7, 7, 7, 7, 7)).tolist()
    [[0, 0, 0, 0, 0], [0, 0, 0, 0, 3]]
    """

    def __init__(self, space: Space, archs: ArrayLike) -> None:
        self.base = space
        self.name = space.name
        self.choices = space.choices
        self.operations = space.operations
        self.default_scale = space.default_scale
        rows = space.validate(archs)
        if not len(rows):
            raise InputError("a space of a table needs at least one architecture, found none")
        self._members: Archs = np.unique(rows, axis=0)
        self._known = {row.tobytes() for row in self._members}
        self._by_text: dict[str, Arch] | None = None

    @property
    def identity(self) -> str:
        """What tells the whole space from others."""
        return self.base.identity

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self._members)

    def is_valid(self, archs: ArrayLike) -> NDArray[np.bool_]:
        """Return for every row of `archs` (n, len(choices)) whether the table holds it.

        Raises
        ------
        InputError
            If `archs` is not a table of integers of that shape.
        """
        rows = np.ascontiguousarray(self._rows(archs))
        return np.array([row.tobytes() in self._known for row in rows], dtype=np.bool_)

    def iterate(self) -> Archs:
        """Return all rows (n, len(choices)), in ascending order."""
        return self._members.copy()

    def _draw(self, n: int, rng: np.random.Generator) -> Archs:
        return np.asarray(self._members[rng.integers(len(self._members), size=n)])

    def neighbors(self, arch: ArchLike) -> Archs:
        """Return the rows (m, len(choices)) that differ from `arch` in the fewest choices."""
        distances = self._distances(self._one(arch))
        others = distances > 0
        if not others.any():
            return self._members[:0]
        return np.asarray(self._members[distances == distances[others].min()])

    def mutate(self, archs: ArrayLike, rng: np.random.Generator, edits: int = 1) -> Archs:
        """Move every architecture to a row that differs from it in `edits` choices.

        Where there is none, to one whose number of differing choices is closest to that.

        Parameters
        ----------
        archs
            Rows of the table (n, len(choices)).
        rng
            The source of randomness.
        edits
            How many choices shall differ.

        Returns
        -------
        array (n, len(choices))
            The mutants, row by row, drawn uniformly from those that fit.

        Raises
        ------
        InputError
            If `edits` is not between 1 and the number of choices, or the table has one row only.
        """
        rows = self.validate(archs)
        if not 1 <= edits <= len(self.choices):
            raise InputError(f"expected from 1 to {len(self.choices)} edits, found {edits}")
        if self.size == 1:
            raise InputError("expected a table of several architectures to mutate, found one")
        mutants = np.empty_like(rows)
        parents, inverse = np.unique(rows, axis=0, return_inverse=True)
        for number, parent in enumerate(parents):
            distances = self._distances(parent)
            off = np.where(distances > 0, np.abs(distances - edits), len(self.choices))
            fitting = np.flatnonzero(off == off.min())
            places = np.flatnonzero(inverse.reshape(-1) == number)
            mutants[places] = self._members[rng.choice(fitting, size=len(places))]
        return mutants

    def _distances(self, arch: ArchLike) -> NDArray[np.int64]:
        """Return in how many choices every row differs from an architecture."""
        return np.asarray(np.sum(self._members != np.asarray(arch), axis=1))

    # What belongs to the whole space

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the labelled graph of an architecture."""
        return self.base.graph(self._one(arch))

    def graphs(self, archs: ArrayLike) -> list[ArchGraph]:
        """Return the labelled graphs of architectures (n, len(choices))."""
        return self.base.graphs(self.validate(archs))

    def graph_batch(self, archs: ArrayLike) -> GraphBatch:
        """Return the labelled graphs of architectures (n, len(choices)) as arrays."""
        return self.base.graph_batch(self.validate(archs))

    def key(self, arch: ArchLike) -> str:
        """Return the key of the whole space."""
        return self.base.key(self._one(arch))

    def keys(self, archs: ArrayLike) -> list[str]:
        """Return the keys of architectures (n, len(choices))."""
        return self.base.keys(self.validate(archs))

    def format(self, arch: ArchLike) -> str:
        """Return an architecture in native text."""
        return self.base.format(self._one(arch))

    def format_all(self, archs: ArrayLike) -> list[str]:
        """Return architectures (n, len(choices)) in native text."""
        return self.base.format_all(self.validate(archs))

    def parse(self, text: str) -> Arch:
        """Read an architecture in native text.

        Raises
        ------
        InputError
            If it is malformed, or the table does not hold it.
        """
        arch = self.base.parse(text)
        if not self.is_valid([arch])[0]:
            # A space may leave out of its text what an architecture has but does not use.
            if self._by_text is None:
                texts = self.base.format_all(self._members)
                rows = map(tuple, self._members.tolist())
                self._by_text = dict(zip(texts, rows, strict=True))
            arch = self._by_text.get(self.base.format(arch), arch)
        return self._one(arch)

    def build(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, **scale: int
    ) -> "nn.Module":
        """Return the network of an architecture, with fresh weights; see the whole space."""
        return self.base.build(self._one(arch), input_shape, num_classes, **scale)

    def network_source(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, **scale: int
    ) -> str:
        """Return the source of the network of an architecture; see the whole space."""
        return self.base.network_source(self._one(arch), input_shape, num_classes, **scale)

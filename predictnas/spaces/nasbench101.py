"""The cell space of NAS-Bench-101."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoders import ABSENT, INPUT, OUTPUT, ArchGraph, GraphBatch
from predictnas.errors import InputError
from predictnas.spaces.base import Arch, ArchLike, Archs
from predictnas.spaces.nasbench101_cells import EDGES, MAX_EDGES, VERTICES, Cells, distinct_cells
from predictnas.spaces.networks import NetworkFileSpace

__all__ = ["NasBench101"]

OPERATIONS = ("conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")
_NOTATION = '{"matrix":[[0,1,…],…],"ops":["input",…,"output"]}'


class NasBench101(NetworkFileSpace):
    """Cells of at most seven vertices and nine edges, with one of three operations on a vertex.

    A vertex applies its operation to the sum of what its edges bring; the output concatenates
    them. There is a choice for each of the 21 edges from a vertex to a later one, and one for the
    operation of each of the five vertices between input and output. As published, a cell is first
    pruned: vertices that are on no path from input to output do not count, nor do their edges. It
    is valid if there is such a path, and at most nine edges are left.

    The native text is JSON with the members ``matrix``, the upper triangular adjacency matrix, and
    ``ops``, as in the specifications of the benchmark; `format` writes the pruned cell. By the key
    there are 423,624 distinct cells. A sample is uniform over the valid combinations of options,
    of which every cell is then written in its pruned form, the vertices that it has first.

    The network stacks a cell in three stages, with max-pooling between them that halves the
    resolution while the channels double. Published: ``channels=128, cells=3``. Its vertices are
    numbered as the benchmark trained them, since the first ones are widest where the channels do
    not divide evenly; so isomorphic cells have the same network.

    References
    ----------
    C. Ying, A. Klein, E. Christiansen, E. Real, K. Murphy, F. Hutter. NAS-Bench-101: Towards
    reproducible neural architecture search. ICML 2019 (arXiv:1902.09635).

    Examples
    --------
    >>> space = NasBench101()
    >>> arch = space.parse('{"matrix": [[0, 1, 1], [0, 0, 1], [0, 0, 0]], '
    ...                    '"ops": ["input", "maxpool3x3", "output"]}')
    >>> space.params(arch)["0->1"], space.params(arch)["1->6"], space.params(arch)["vertex_1"]
    ('on', 'on', 'maxpool3x3')
    >>> space.format(arch)
    '{"matrix":[[0,1,1],[0,0,1],[0,0,0]],"ops":["input","maxpool3x3","output"]}'
    >>> space.graph(arch)
    ArchGraph(operations=('input', 'maxpool3x3', 'output'), edges=((0, 1), (0, 2), (1, 2)))
    """

    name = "nasbench101"
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {f"{source}->{target}": ("off", "on") for source, target in EDGES}
        | {f"vertex_{vertex}": OPERATIONS for vertex in range(1, VERTICES - 1)}
    )
    operations = OPERATIONS
    num_distinct = 423_624
    default_scale: Mapping[str, int] = MappingProxyType({"channels": 16, "cells": 3})
    network = "NasBench101Network"

    def is_valid(self, archs: ArrayLike) -> NDArray[np.bool_]:
        """Return for every row of `archs` (n, len(choices)) whether it is a cell of the benchmark.

        Raises
        ------
        InputError
            If `archs` is not a table of integers of that shape.
        """
        rows = self._rows(archs)
        cells = Cells.of(rows)
        return super().is_valid(rows) & cells.connected & (cells.num_edges <= MAX_EDGES)

    def _draw(self, n: int, rng: np.random.Generator) -> Archs:
        rows = super()._draw(n, rng)
        return Cells.of(rows).rows

    def iterate(self) -> Archs:
        """Return one row for every distinct cell (423624, len(choices)), in ascending order."""
        rows = np.concatenate([distinct_cells(vertices) for vertices in range(2, VERTICES + 1)])
        numbers = np.ravel_multi_index(tuple(rows.T), tuple(self._num_options))
        return rows[np.argsort(numbers)]

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the graph of the pruned cell, with its operations on the nodes."""
        return self.graphs([self._one(arch)])[0]

    def graphs(self, archs: ArrayLike) -> list[ArchGraph]:
        """Return the graphs of the pruned cells of architectures (n, len(choices))."""
        return self.graph_batch(archs).graphs()

    def graph_batch(self, archs: ArrayLike) -> GraphBatch:
        """Return the graphs of the pruned cells of architectures (n, len(choices)) as arrays."""
        cells = Cells.of(self.validate(archs))
        codes = np.empty((len(cells.inner), VERTICES), dtype=np.int64)
        codes[:, 0], codes[:, -1] = len(OPERATIONS), len(OPERATIONS) + 1
        present = np.arange(VERTICES - 2) < cells.inner[:, None]
        codes[:, 1:-1] = np.where(present, cells.options, ABSENT)
        return GraphBatch(OPERATIONS, codes, cells.matrices.astype(np.int8))

    def key(self, arch: ArchLike) -> str:
        """Return 32 hexadecimal digits: the module hash of the benchmark, for the pruned cell.

        It is equal exactly for isomorphic cells.
        """
        return self.keys([self._one(arch)])[0]

    def keys(self, archs: ArrayLike) -> list[str]:
        """Return the module hashes of architectures (n, len(choices))."""
        return Cells.of(self.validate(archs)).hashes()

    def format(self, arch: ArchLike) -> str:
        """Return the pruned cell as JSON."""
        return self.format_all([self._one(arch)])[0]

    def format_all(self, archs: ArrayLike) -> list[str]:
        """Return the pruned cells of architectures (n, len(choices)) as JSON."""
        cells = Cells.of(self.validate(archs))
        return [
            json.dumps(
                {"matrix": cells.matrix(index), "ops": _labels(cells, index)},
                separators=(",", ":"),
            )
            for index in range(len(cells.inner))
        ]

    def parse(self, text: str) -> Arch:
        """Read a cell of two to seven vertices as JSON; it need not be pruned.

        Raises
        ------
        InputError
            If it is malformed, or no cell of the benchmark. Where the text is not JSON, the message
            gives the position, counted in characters from 1.
        """
        matrix, labels = _members(text)
        last = len(labels) - 1
        place = [*range(last), VERTICES - 1]
        choices = dict.fromkeys(self.choices, 0)
        for source, row in enumerate(matrix):
            for target, entry in enumerate(row):
                if entry == 1:
                    choices[f"{place[source]}->{place[target]}"] = 1
        for vertex, label in enumerate(labels[1:last], start=1):
            choices[f"vertex_{vertex}"] = OPERATIONS.index(label)
        arch = tuple(choices.values())
        if not self.is_valid([arch])[0]:
            cells = Cells.of(np.array([arch]))
            found = f"{cells.num_edges[0]} edges" if cells.connected[0] else "no such path"
            raise InputError(
                f"expected a path from input to output and at most {MAX_EDGES} edges on such "
                f"paths, found {found}; is it a cell of another space than {self.name}?"
            )
        return arch

    def _network_arguments(self, arch: Arch) -> dict[str, Any]:
        cells = Cells.of(np.array([arch]))
        order = cells.numbering(0)
        matrix = np.array(cells.matrix(0))[np.ix_(order, order)]
        labels = _labels(cells, 0)
        return {
            "matrix": tuple(map(tuple, matrix.tolist())),
            "operations": tuple(labels[vertex] for vertex in order[1:-1]),
        }


def _labels(cells: Cells, index: int) -> tuple[str, ...]:
    """Return the names of the vertices of a pruned cell."""
    options = cells.options[index, : cells.inner[index]].tolist()
    return (INPUT, *(OPERATIONS[option] for option in options), OUTPUT)


def _members(text: str) -> tuple[list[list[int]], list[str]]:
    """Return the adjacency matrix and the names of the vertices, or refuse the text."""
    if not isinstance(text, str):
        raise InputError(f"expected the text of a cell, found {text!r}; write {_NOTATION}")
    try:
        cell = json.loads(text)
    except json.JSONDecodeError as error:
        found = repr(text[error.pos :][:20]) if text[error.pos :] else "the end"
        raise InputError(
            f"expected JSON, found {found} at character {error.pos + 1}; write {_NOTATION}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise InputError(
            f"expected a cell, found JSON of great depth or length; write {_NOTATION}"
        ) from error
    if not isinstance(cell, dict) or cell.keys() != {"matrix", "ops"}:
        raise _malformed("an object with the members matrix and ops", cell)
    matrix, labels = cell["matrix"], cell["ops"]
    if not isinstance(labels, list) or not 2 <= len(labels) <= VERTICES:
        raise _malformed(f"as ops a list of 2 to {VERTICES} names", labels)
    for vertex, label in enumerate(labels):
        names = {0: (INPUT,), len(labels) - 1: (OUTPUT,)}.get(vertex, OPERATIONS)
        if label not in names:
            raise _malformed(f"for vertex {vertex} {' or '.join(names)}", label)
    if not isinstance(matrix, list) or len(matrix) != len(labels):
        raise _malformed(f"as matrix {len(labels)} rows, one for each of ops", matrix)
    for vertex, row in enumerate(matrix):
        if not isinstance(row, list) or len(row) != len(labels):
            raise _malformed(f"as row {vertex} of matrix {len(labels)} numbers", row)
        if not all(type(entry) is int and entry in (0, 1) for entry in row):
            raise _malformed(f"in row {vertex} of matrix only 0 and 1", row)
        if any(row[: vertex + 1]):
            raise _malformed(f"in row {vertex} of matrix no edge to a vertex up to {vertex}", row)
    return matrix, labels


def _malformed(expected: str, found: Any) -> InputError:
    text = json.dumps(found, separators=(",", ":"))
    return InputError(f"expected {expected}, found {text[:60]}; write {_NOTATION}")

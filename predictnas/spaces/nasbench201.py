"""The cell space of NAS-Bench-201."""

import hashlib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from encoders import INPUT, OUTPUT, ArchGraph, GraphBatch
from predictnas.errors import InputError
from predictnas.spaces.base import Arch, ArchLike
from predictnas.spaces.networks import NetworkFileSpace

__all__ = ["NasBench201"]

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
# Edge i -> j applies its operation to node i; node j is the sum over its incoming edges.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


def _wiring() -> tuple[tuple[int, int], ...]:
    """Return the edges between input (0), the six operations (1 to 6) and output (7)."""
    wiring = [(0, k) for k, (source, _) in enumerate(EDGES, start=1) if source == 0]
    wiring += [(k, 7) for k, (_, target) in enumerate(EDGES, start=1) if target == 3]
    wiring += [
        (k, m)
        for k, (_, middle) in enumerate(EDGES, start=1)
        for m, (source, _) in enumerate(EDGES, start=1)
        if source == middle
    ]
    return tuple(sorted(wiring))


WIRING = _wiring()


class NasBench201(NetworkFileSpace):
    """Cells of four nodes with one of five operations on each of the six edges between them.

    The network stacks a cell in three stages at one, two and four times the channels, with
    residual blocks that halve the image between them. The native text is that of the benchmark,
    ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``, where ``op~i`` in the j-th group is the operation on
    the edge from node i to node j.

    References
    ----------
    X. Dong, Y. Yang. NAS-Bench-201: Extending the scope of reproducible neural architecture
    search. ICLR 2020 (arXiv:2001.00326).

    Examples
    --------
    >>> space = NasBench201()
    >>> space.size
    15625
    >>> space.format((3, 0, 1, 0, 0, 1))
    '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|'
    >>> space.graph((3, 0, 1, 0, 0, 1)).canonical().operations
    ('input', 'nor_conv_3x3', 'output')
    """

    name = "nasbench201"
    network = "NasBench201Network"
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {f"{source}->{target}": OPERATIONS for source, target in EDGES}
    )
    operations = OPERATIONS
    num_distinct = 6_466
    default_scale: Mapping[str, int] = MappingProxyType({"channels": 16, "cells": 5})

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the graph of a cell: input, the six operations in the order of `choices`, output.

        Zeros and identities are kept, so node `k` is always the k-th choice.
        """
        return _graph(self._one(arch))

    def graphs(self, archs: ArrayLike) -> list[ArchGraph]:
        """Return the graphs of cells (n, 6)."""
        return self.graph_batch(archs).graphs()

    def graph_batch(self, archs: ArrayLike) -> GraphBatch:
        """Return the graphs of cells (n, 6) as arrays."""
        rows = self.validate(archs)
        codes = np.pad(rows, ((0, 0), (1, 1)))
        codes[:, 0], codes[:, -1] = len(OPERATIONS), len(OPERATIONS) + 1
        adjacency = np.zeros((len(EDGES) + 2, len(EDGES) + 2), dtype=np.int8)
        adjacency[tuple(zip(*WIRING, strict=True))] = 1
        return GraphBatch(
            OPERATIONS, codes, np.broadcast_to(adjacency, (len(rows), *adjacency.shape))
        )

    def key(self, arch: ArchLike) -> str:
        """Return 32 hexadecimal digits: equal for cells that the benchmark counts as the same.

        This is the isomorphism of the paper, under which the space has 6,466 distinct cells: node
        0 spells "0"; an edge spells "#" if it is zero or leaves a node that spells "#", the node
        it leaves if it is an identity, and otherwise "(node)@operation"; a node spells its
        incoming edges, sorted and joined by "+".

        It is not the key of the graph. It tells apart some cells that compute the same, since a
        zero summand stays ("#+(0)@..."), and it merges a shared with a repeated subexpression,
        which compute different functions once both copies have weights of their own.
        """
        return hashlib.sha256(_spell(self._one(arch)).encode()).hexdigest()[:32]

    def format(self, arch: ArchLike) -> str:
        """Return a cell in the benchmark's notation."""
        groups = ["|", "|", "|"]
        for (source, target), option in zip(EDGES, self._one(arch), strict=True):
            groups[target - 1] += f"{OPERATIONS[option]}~{source}|"
        return "+".join(groups)

    def parse(self, text: str) -> Arch:
        """Read a cell in the benchmark's notation.

        Raises
        ------
        InputError
            If it is malformed; the message gives the first wrong piece and its position, counted
            in characters from 1.
        """
        if not isinstance(text, str):
            raise InputError(f"expected the text of a cell, found {text!r}; write {_NOTATION}")
        options: list[int] = []
        cursor = 0
        for source, target in EDGES:
            opening = "|" if target == 1 or source > 0 else "|+|"
            cursor = _skip(text, cursor, opening)
            end = text.find("|", cursor)
            piece = text[cursor : len(text) if end < 0 else end]
            operation, tilde, node = piece.partition("~")
            if operation not in OPERATIONS or not tilde or node != str(source):
                expected = f"one of {', '.join(OPERATIONS)}, then ~{source}"
                raise _malformed(expected, piece, cursor)
            options.append(OPERATIONS.index(operation))
            cursor += len(piece)
        cursor = _skip(text, cursor, "|")
        if cursor < len(text):
            raise _malformed("the end", text[cursor:], cursor)
        return tuple(options)

    def _network_arguments(self, arch: Arch) -> dict[str, object]:
        return {"operations": tuple(self.params(arch).values())}


_NOTATION = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"


def _malformed(expected: str, piece: str, cursor: int) -> InputError:
    found = repr(piece[:20]) if piece else "the end"
    return InputError(
        f"expected {expected} at character {cursor + 1}, found {found}; write {_NOTATION}"
    )


def _skip(text: str, cursor: int, literal: str) -> int:
    """Return the position behind `literal`, which must stand at `cursor`."""
    for offset, character in enumerate(literal):
        position = cursor + offset
        if text[position : position + 1] != character:
            raise _malformed(repr(literal[offset:]), text[position:], position)
    return cursor + len(literal)


@cache
def _graph(arch: Arch) -> ArchGraph:
    return ArchGraph((INPUT, *(OPERATIONS[option] for option in arch), OUTPUT), WIRING)


def _spell(arch: Arch) -> str:
    """Return the expression of the last node, by which the benchmark compares cells."""
    terms: tuple[list[str], ...] = ([], [], [])
    nodes = ["0"]
    for (source, target), option in zip(EDGES, arch, strict=True):
        if len(nodes) < target:
            nodes.append("+".join(sorted(terms[target - 2])))
        operation, node = OPERATIONS[option], nodes[source]
        if operation == "none" or node == "#":
            terms[target - 1].append("#")
        elif operation == "skip_connect":
            terms[target - 1].append(node)
        else:
            terms[target - 1].append(f"({node})@{operation}")
    return "+".join(sorted(terms[-1]))

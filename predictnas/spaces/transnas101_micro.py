"""The cell-level space of TransNAS-Bench-101."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from encoders import IDENTITY, INPUT, OUTPUT, ArchGraph
from predictnas.errors import InputError
from predictnas.spaces.base import Arch, ArchLike
from predictnas.spaces.nasbench201 import EDGES, WIRING
from predictnas.spaces.networks import NetworkFileSpace

__all__ = ["TransNas101Micro"]

# The digits of the benchmark's notation are positions in here.
OPERATIONS = ("none", IDENTITY, "conv_1x1", "conv_3x3")
# What an identity that leaves node 0 is in a cell that halves the resolution.
REDUCE = "factorized_reduce"

PREFIX = "64-41414-"
_NOTATION = f"{PREFIX}a_bc_def with digits from 0 to {len(OPERATIONS) - 1}"
# The digits of the edges, in the order of `choices`, with what stands between the groups.
_PATTERN = f"{PREFIX}?_??_???"

# Images of this side or smaller keep their size in the stem.
SMALL_SIDE = 64


class TransNas101Micro(NetworkFileSpace):
    """Cells of four nodes with one of four operations on each of the six edges between them.

    The native text is that of the benchmark, such as ``64-41414-1_02_333``: base channels; the
    skeleton, which is the same for all; and a digit for each of the edges 0→1 _ 0→2 1→2 _
    0→3 1→3 2→3: 0 none, 1 identity, 2 convolution 1 × 1, 3 convolution 3 × 3. The text always has
    the published 64 channels, whatever the scale of `build`.

    The network stacks five modules of cells, 41414. A module 1 keeps the shape; in the first cell
    of a module 4 the operations that leave node 0 double the channels and halve the resolution,
    and identities among them are factorised reductions. So identities that leave node 0 are
    operations of their own, `graph` labels them ``"factorized_reduce"``, and by the key there are
    1,376 distinct cells; 169 have no path from input to output. In the published measurements,
    cells of one key differ no more than repeated trainings do; cells that agree only up to those
    identities differ by much more.

    The published network is ``channels=64, cells=2`` on images of 256 × 256, whose stem halves
    the resolution twice. For images up to 64 × 64 the stem is one convolution that keeps the
    resolution, since the modules halve it three times more.

    References
    ----------
    Y. Duan, X. Chen, H. Xu, Z. Chen, X. Liang, T. Zhang, Z. Li. TransNAS-Bench-101: Improving
    transferability and generalizability of cross-task neural architecture search. CVPR 2021
    (arXiv:2105.11871).

    Examples
    --------
    >>> space = TransNas101Micro()
    >>> space.size
    4096
    >>> space.parse("64-41414-1_02_333")
    (1, 0, 2, 3, 3, 3)
    >>> space.graph((3, 0, 1, 0, 0, 1)).canonical().operations
    ('input', 'conv_3x3', 'output')
    """

    name = "transnas101-micro"
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {f"{source}->{target}": OPERATIONS for source, target in EDGES}
    )
    operations = (*OPERATIONS, REDUCE)
    num_distinct = 1_376
    default_scale: Mapping[str, int] = MappingProxyType({"channels": 16, "cells": 2})
    network = "TransNas101MicroNetwork"

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the graph of a cell: input, the six operations in the order of `choices`, output.

        Zeros and identities are kept, so node `k` is always the k-th choice; an identity that
        leaves node 0 is called ``"factorized_reduce"``.
        """
        return _graph(self._one(arch))

    def format(self, arch: ArchLike) -> str:
        """Return a cell in the benchmark's notation."""
        text = _PATTERN
        for option in self._one(arch):
            text = text.replace("?", str(option), 1)
        return text

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
        digits = [str(option) for option in range(len(OPERATIONS))]
        options: list[int] = []
        for position, literal in enumerate(_PATTERN):
            character = text[position : position + 1]
            if literal == "?" and character in digits:
                options.append(digits.index(character))
            elif character != literal or literal == "?":
                expected = f"one of {', '.join(digits)}" if literal == "?" else repr(literal)
                raise _malformed(expected, text, position)
        if len(text) > len(_PATTERN):
            raise _malformed("the end", text, len(_PATTERN))
        return tuple(options)

    def _network_arguments(self, arch: Arch) -> dict[str, Any]:
        return {"operations": tuple(OPERATIONS[option] for option in arch)}

    def _arguments(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, scale: Mapping[str, int]
    ) -> dict[str, Any]:
        arguments = super()._arguments(arch, input_shape, num_classes, scale)
        return {**arguments, "reducing_stem": min(input_shape[1:]) > SMALL_SIDE}


def _malformed(expected: str, text: str, position: int) -> InputError:
    found = repr(text[position : position + 20]) if position < len(text) else "the end"
    return InputError(
        f"expected {expected} at character {position + 1}, found {found}; write {_NOTATION}"
    )


@cache
def _graph(arch: Arch) -> ArchGraph:
    labels = (
        REDUCE if OPERATIONS[option] == IDENTITY and source == 0 else OPERATIONS[option]
        for (source, _), option in zip(EDGES, arch, strict=True)
    )
    return ArchGraph((INPUT, *labels, OUTPUT), WIRING)

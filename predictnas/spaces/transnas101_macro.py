"""The skeleton space of TransNAS-Bench-101."""

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoders import INPUT, OUTPUT, ArchGraph
from predictnas.errors import InputError
from predictnas.spaces.base import Arch, ArchLike
from predictnas.spaces.networks import NetworkFileSpace

__all__ = ["TransNas101Macro"]

# The digits of the benchmark's notation: what a module does to channels and resolution.
KINDS = ("1", "2", "3", "4")
DOUBLING, HALVING = ("2", "4"), ("3", "4")
NONE = "none"
MIN_MODULES, MAX_MODULES = 4, 6
# How many modules may double the channels, and how many halve the resolution.
DOUBLINGS, HALVINGS = range(1, 4), range(1, 5)

PREFIX, SUFFIX = "64-", "-basic"
_NOTATION = (
    f"{PREFIX}abcdef{SUFFIX} with {MIN_MODULES} to {MAX_MODULES} digits from 1 to {len(KINDS)}"
)

# Images of this side or smaller keep their size in the stem.
SMALL_SIDE = 64


class TransNas101Macro(NetworkFileSpace):
    """Chains of four to six modules that say where channels double and resolution halves.

    A module is two residual blocks. Its kind is 1 if it keeps channels and resolution, 2 if it
    doubles the channels, 3 if it halves the resolution, 4 if it does both. One to three modules
    double the channels and one to four halve the resolution, which makes 3,256 architectures. The
    native text is that of the benchmark, such as ``64-232323-basic``: base channels, a digit for
    each module, and the kind of block. The text always has the published 64 channels, whatever
    the scale of `build`.

    The published network is ``channels=64, cells=2`` on images of 256 × 256, whose stem halves
    the resolution twice. For images up to 64 × 64 the stem is one convolution that keeps the
    resolution.

    References
    ----------
    Y. Duan, X. Chen, H. Xu, Z. Chen, X. Liang, T. Zhang, Z. Li. TransNAS-Bench-101: Improving
    transferability and generalizability of cross-task neural architecture search. CVPR 2021
    (arXiv:2105.11871).

    Examples
    --------
    >>> space = TransNas101Macro()
    >>> len(space.iterate())
    3256
    >>> space.parse("64-4123-basic")
    (3, 0, 1, 2, 4, 4)
    >>> space.graph((3, 0, 1, 2, 4, 4)).operations
    ('input', 'module_4', 'module_1', 'module_2', 'module_3', 'output')
    """

    name = "transnas101-macro"
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {
            f"module_{number}": KINDS if number <= MIN_MODULES else (*KINDS, NONE)
            for number in range(1, MAX_MODULES + 1)
        }
    )
    operations = tuple(f"module_{kind}" for kind in KINDS)
    num_distinct = 3_256
    default_scale: Mapping[str, int] = MappingProxyType({"channels": 16, "cells": 2})
    network = "TransNas101MacroNetwork"

    def is_valid(self, archs: ArrayLike) -> NDArray[np.bool_]:
        """Return for every row of `archs` (n, len(choices)) whether it is an architecture.

        Raises
        ------
        InputError
            If `archs` is not a table of integers of that shape.
        """
        rows = self._rows(archs)
        doubling, halving = (
            np.isin(rows, [KINDS.index(kind) for kind in kinds]).sum(axis=1)
            for kinds in (DOUBLING, HALVING)
        )
        absent = rows == len(KINDS)
        gap = (absent[:, :-1] & ~absent[:, 1:]).any(axis=1)
        valid: NDArray[np.bool_] = super().is_valid(rows) & ~gap
        return valid & np.isin(doubling, DOUBLINGS) & np.isin(halving, HALVINGS)

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the chain of the modules, from ``"module_1"`` to ``"module_4"`` by their kind."""
        modules = [self.operations[option] for option in self._one(arch) if option < len(KINDS)]
        edges = tuple((node, node + 1) for node in range(len(modules) + 1))
        return ArchGraph((INPUT, *modules, OUTPUT), edges)

    def key(self, arch: ArchLike) -> str:
        """Return 32 hexadecimal digits of the text: no two architectures are the same."""
        return hashlib.sha256(self.format(arch).encode()).hexdigest()[:32]

    def format(self, arch: ArchLike) -> str:
        """Return an architecture in the benchmark's notation."""
        return f"{PREFIX}{_kinds(self._one(arch))}{SUFFIX}"

    def parse(self, text: str) -> Arch:
        """Read an architecture in the benchmark's notation.

        Raises
        ------
        InputError
            If it is malformed, or not in the space; the message gives the first wrong piece and
            its position, counted in characters from 1.
        """
        if not isinstance(text, str):
            raise InputError(
                f"expected the text of an architecture, found {text!r}; write {_NOTATION}"
            )
        _check_literal(PREFIX, text, 0)
        options: list[int] = []
        for character in text[len(PREFIX) : len(PREFIX) + MAX_MODULES]:
            if character not in KINDS:
                break
            options.append(KINDS.index(character))
        cursor = len(PREFIX) + len(options)
        if len(options) < MIN_MODULES:
            raise _malformed(f"one of {', '.join(KINDS)}", text, cursor)
        _check_literal(SUFFIX, text, cursor)
        if len(text) > cursor + len(SUFFIX):
            raise _malformed("the end", text, cursor + len(SUFFIX))
        arch = (*options, *[len(KINDS)] * (MAX_MODULES - len(options)))
        if not self.is_valid([arch])[0]:
            raise InputError(
                f"expected {DOUBLINGS[0]} to {DOUBLINGS[-1]} modules among 2 and 4, and "
                f"{HALVINGS[0]} to {HALVINGS[-1]} among 3 and 4, found {_kinds(arch)} at character "
                f"{len(PREFIX) + 1}; the benchmark has no other architectures"
            )
        return arch

    def _network_arguments(self, arch: Arch) -> dict[str, Any]:
        return {"skeleton": _kinds(arch)}

    def _arguments(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, scale: Mapping[str, int]
    ) -> dict[str, Any]:
        arguments = super()._arguments(arch, input_shape, num_classes, scale)
        return {**arguments, "reducing_stem": min(input_shape[1:]) > SMALL_SIDE}


def _kinds(arch: Arch) -> str:
    """Return the digits of the modules that are there."""
    return "".join(KINDS[option] for option in arch if option < len(KINDS))


def _check_literal(literal: str, text: str, cursor: int) -> None:
    """Check that `literal` stands at `cursor`."""
    for position, character in enumerate(literal, start=cursor):
        if text[position : position + 1] != character:
            raise _malformed(repr(character), text, position)


def _malformed(expected: str, text: str, position: int) -> InputError:
    found = repr(text[position : position + 20]) if position < len(text) else "the end"
    return InputError(
        f"expected {expected} at character {position + 1}, found {found}; write {_NOTATION}"
    )

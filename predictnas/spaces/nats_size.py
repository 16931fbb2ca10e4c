"""The size space of NATS-Bench."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from encoders import INPUT, OUTPUT, ArchGraph
from predictnas.errors import InputError
from predictnas.spaces.base import Arch, ArchLike
from predictnas.spaces.networks import NetworkFileSpace

__all__ = ["NatsSize"]

WIDTHS = ("8", "16", "24", "32", "40", "48", "56", "64")
LAYERS = 5
_NOTATION = ":".join(["c"] * LAYERS) + f" with widths among {', '.join(WIDTHS)}"


class NatsSize(NetworkFileSpace):
    """Networks of one cell that differ in the channels of their five layers.

    The layers are a cell, a reduction, a cell, a reduction and a cell, the topology of the cell
    being the best of NAS-Bench-201 on CIFAR-100; each has 8, 16, …, 64 channels, and the stem
    those of the first. The native text is that of the benchmark, such as ``64:32:8:48:16``. All
    32,768 combinations are architectures, no two of which are the same.

    Where a cell has other channels than what comes before it, its identity is a 1 × 1 convolution
    with batch normalisation. Published: ``cells=1, divisor=1``. A larger number of ``cells``
    repeats the cells; a ``divisor`` makes every layer thinner by that factor, to train at less
    cost, and up to 8 it keeps all widths apart.

    References
    ----------
    X. Dong, L. Liu, K. Musial, B. Gabrys. NATS-Bench: Benchmarking NAS algorithms for architecture
    topology and size. IEEE TPAMI 2021 (arXiv:2009.00437).

    Examples
    --------
    >>> space = NatsSize()
    >>> space.size
    32768
    >>> space.parse("64:32:8:48:16")
    (7, 3, 0, 5, 1)
    >>> space.graph((7, 3, 0, 5, 1)).operations[1:4]
    ('layer_1_64', 'layer_2_32', 'layer_3_8')
    """

    name = "nats-size"
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {f"layer_{number}": WIDTHS for number in range(1, LAYERS + 1)}
    )
    operations = tuple(
        f"layer_{number}_{width}" for number in range(1, LAYERS + 1) for width in WIDTHS
    )
    num_distinct = 32_768
    default_scale: Mapping[str, int] = MappingProxyType({"cells": 1, "divisor": 4})
    network = "NatsSizeNetwork"

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the chain of the layers, each named by its number and width."""
        layers = [f"{name}_{width}" for name, width in self.params(arch).items()]
        edges = tuple((node, node + 1) for node in range(LAYERS + 1))
        return ArchGraph((INPUT, *layers, OUTPUT), edges)

    def key(self, arch: ArchLike) -> str:
        """Return 32 hexadecimal digits of the text: no two architectures are the same."""
        return hashlib.sha256(self.format(arch).encode()).hexdigest()[:32]

    def format(self, arch: ArchLike) -> str:
        """Return an architecture in the benchmark's notation."""
        return ":".join(self.params(arch).values())

    def parse(self, text: str) -> Arch:
        """Read an architecture in the benchmark's notation.

        Raises
        ------
        InputError
            If it is malformed; the message gives the first wrong piece and its position, counted
            in characters from 1.
        """
        if not isinstance(text, str):
            raise InputError(
                f"expected the text of an architecture, found {text!r}; write {_NOTATION}"
            )
        pieces = text.split(":")
        options: list[int] = []
        position = 1
        for number, piece in enumerate(pieces[:LAYERS], start=1):
            if piece not in WIDTHS:
                raise InputError(
                    f"expected for layer {number} one of {', '.join(WIDTHS)} at character "
                    f"{position}, found {piece[:20]!r}; write {_NOTATION}"
                )
            options.append(WIDTHS.index(piece))
            position += len(piece) + 1
        if len(pieces) != LAYERS:
            raise InputError(
                f"expected {LAYERS} widths, found {len(pieces)} before character {len(text) + 1}; "
                f"write {_NOTATION}"
            )
        return tuple(options)

    def _network_arguments(self, arch: Arch) -> dict[str, Any]:
        return {"widths": tuple(int(WIDTHS[option]) for option in arch)}

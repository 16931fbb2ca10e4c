"""The cell space of DARTS and NAS-Bench-301."""

import hashlib
from collections.abc import Mapping
from itertools import permutations
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoders import INPUT, OUTPUT, ArchGraph
from predictnas.spaces.base import Arch, ArchLike
from predictnas.spaces.genotype import CELLS, NODES, Edge, format_genotype, parse_genotype
from predictnas.spaces.networks import NetworkFileSpace

__all__ = ["Darts"]

OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
ADD = "add"
# The nodes 0 and 1 of a cell are the outputs of the cell before the last and of the last.
ENDS = {cell: (f"{cell}_0", f"{cell}_1") for cell in CELLS}

# For every node all ordered pairs of different earlier nodes, in the order of the options.
INPUTS = {node: tuple(permutations(range(node), 2)) for node in NODES}
# The same as a table of node, option and place.
_SOURCES = np.zeros((len(NODES), len(INPUTS[NODES[-1]]), 2), dtype=np.int64)
for _row, _pairs in zip(_SOURCES, INPUTS.values(), strict=True):
    _row[: len(_pairs)] = _pairs

# All ways to renumber the four nodes; the inputs stay 0 and 1.
_RENUMBERINGS = np.array([(0, 1, *order) for order in permutations(NODES)])
# The states of an edge (source, operation) and of a node (two edges), for digits of a code.
_EDGE_STATES = NODES[-1] * len(OPERATIONS)
_PLACE_VALUES = (_EDGE_STATES**2) ** np.arange(len(NODES))
# Architectures whose renumberings are held in memory at once.
_CHUNK = 4096


class Darts(NetworkFileSpace):
    """Pairs of a normal and a reduction cell of four nodes, each with two operations.

    In a cell, nodes 0 and 1 are the outputs of the two cells before it; each of the nodes 2 to 5
    is the sum of two operations on two different earlier nodes; the output is the concatenation of
    nodes 2 to 5. For every node there is one choice of the two inputs, in order, and one of the
    operation on each. The native text is the genotype as DARTS prints it,
    ``Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=[2, 3, 4, 5], reduce=[…], …)``.

    The order of the two inputs is kept, since it numbers the parameters of the published network,
    but it makes no difference otherwise, nor do the numbers of the nodes. The 2.8e20 combinations
    of options, all valid and equally likely in a sample, are 1.08e18 genotypes apart from that
    order; by the key there are 382,128,166 cells, which makes 1.46e17 pairs.

    The network is that of DARTS for small images. Published: ``channels=36, layers=20``, and
    ``channels=32, layers=8`` in NAS-Bench-301. Below three layers there are reduction cells only.

    References
    ----------
    H. Liu, K. Simonyan, Y. Yang. DARTS: Differentiable architecture search. ICLR 2019
    (arXiv:1806.09055). A. Zela, J. Siems, L. Zimmer, J. Lukasik, M. Keuper, F. Hutter. Surrogate
    NAS benchmarks: Going beyond the limited search spaces of tabular NAS benchmarks. ICLR 2022
    (arXiv:2008.09777).

    Examples
    --------
    >>> space = Darts()
    >>> f"{space.size:.2e}"
    '2.76e+20'
    >>> space.format((0,) * 24)[:54]
    "Genotype(normal=[('max_pool_3x3', 0), ('max_pool_3x3',"
    """

    name = "darts"
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {
            f"{cell}_{node}_{part}": options
            for cell in CELLS
            for node in NODES
            for part, options in (
                ("inputs", tuple(f"{first}+{second}" for first, second in INPUTS[node])),
                ("first", OPERATIONS),
                ("second", OPERATIONS),
            )
        }
    )
    operations = (*OPERATIONS, ADD, *ENDS["normal"], *ENDS["reduce"])
    num_distinct = 382_128_166**2
    default_scale: Mapping[str, int] = MappingProxyType({"channels": 8, "layers": 5})
    network = "DartsNetwork"

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the graph of both cells, side by side between the input and the output.

        The input leads to the nodes ``"normal_0"``, ``"normal_1"``, ``"reduce_0"`` and
        ``"reduce_1"``, the inputs of the cells. Each of the nodes 2 to 5 of a cell is a node
        ``"add"`` behind its two operations, the one on the smaller input first, and leads to the
        output, which stands for the concatenation. An edge from an input of the reduction cell to
        an ``"add"``, left by an identity, is a factorised reduction.
        """
        operations, wiring = [INPUT], []
        adds = []
        for cell, edges in _cells(self._one(arch)).items():
            nodes = [len(operations), len(operations) + 1]
            operations += ENDS[cell]
            wiring += [(0, node) for node in nodes]
            for first in range(0, len(edges), 2):
                add = len(operations) + 2
                for operation, source in sorted(edges[first : first + 2], key=lambda edge: edge[1]):
                    wiring += [(nodes[source], len(operations)), (len(operations), add)]
                    operations.append(operation)
                operations.append(ADD)
                nodes.append(add)
            adds += nodes[2:]
        wiring += [(add, len(operations)) for add in adds]
        return ArchGraph((*operations, OUTPUT), tuple(wiring))

    def key(self, arch: ArchLike) -> str:
        """Return 32 hexadecimal digits: equal exactly if both cells are isomorphic.

        An isomorphism of cells renumbers the nodes 2 to 5 and may swap the two edges into a node;
        it leaves the two inputs as they are. So the key is equal exactly where that of the graph
        is, and much faster to have.
        """
        return self.keys([self._one(arch)])[0]

    def keys(self, archs: ArrayLike) -> list[str]:
        """Return the keys of architectures (n, len(choices))."""
        rows = self.validate(archs)
        codes = [_codes(rows[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK)]
        return [
            hashlib.sha256(f"{normal},{reduce}".encode()).hexdigest()[:32]
            for chunk in codes
            for normal, reduce in chunk.tolist()
        ]

    def format(self, arch: ArchLike) -> str:
        """Return an architecture as a genotype."""
        return format_genotype(_cells(self._one(arch)))

    def parse(self, text: str) -> Arch:
        """Read a genotype.

        Raises
        ------
        InputError
            If it is malformed; the message gives the first wrong piece and its position, counted
            in characters from 1.
        """
        options: list[int] = []
        for edges in parse_genotype(text, OPERATIONS).values():
            for node in NODES:
                (first, left), (second, right) = edges[2 * node - 4 : 2 * node - 2]
                options.append(INPUTS[node].index((left, right)))
                options += [OPERATIONS.index(first), OPERATIONS.index(second)]
        return tuple(options)

    def _network_arguments(self, arch: Arch) -> dict[str, Any]:
        return {cell: tuple(edges) for cell, edges in _cells(arch).items()}


def _cells(arch: Arch) -> dict[str, list[Edge]]:
    """Return for each cell the operation and source of the two edges into every node, in order."""
    cells: dict[str, list[Edge]] = {cell: [] for cell in CELLS}
    options = iter(arch)
    for edges in cells.values():
        for node in NODES:
            for source in INPUTS[node][next(options)]:
                edges.append((OPERATIONS[next(options)], source))
    return cells


def _codes(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each of the two cells (n, 2), equal exactly for isomorphic cells.

    It is the smallest over all renumberings of the nodes that keep sources before their targets;
    its digits are the nodes in order, and those of a node its two edges, the larger first.
    """
    options = rows.reshape(len(rows), len(CELLS), len(NODES), 3)
    sources = _SOURCES[np.arange(len(NODES)), options[..., 0]]
    # From here on the axes are renumbering, architecture, cell, node and edge.
    sources = _RENUMBERINGS[:, sources]
    targets = _RENUMBERINGS[:, None, None, list(NODES)]
    possible = np.all(sources < targets[..., None], axis=(3, 4))
    edges = np.sort(sources * len(OPERATIONS) + options[..., 1:], axis=-1)
    nodes = edges[..., 1] * _EDGE_STATES + edges[..., 0]
    codes = (nodes * _PLACE_VALUES[targets - NODES[0]]).sum(axis=-1)
    smallest: NDArray[np.int64] = np.where(possible, codes, np.iinfo(np.int64).max).min(axis=0)
    return smallest

"""The space of vision transformers of AutoFormer."""

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from encoders import INPUT, OUTPUT, ArchGraph
from predictnas.spaces.base import Arch, ArchLike
from predictnas.spaces.configuration import option_index, option_indices, read_members
from predictnas.spaces.networks import NetworkFileSpace

__all__ = ["Transformer"]

DEPTHS = ("12", "13", "14")
WIDTHS = ("192", "216", "240")
HEADS = ("3", "4")
MLP_RATIOS = ("3.5", "4")
MAX_BLOCKS = 14
# The identity of graphs.
INACTIVE = "skip_connect"

_MEMBERS = ("layer_num", "embed_dim", "num_heads", "mlp_ratio")
_NOTATION = (
    '{"layer_num":12,"embed_dim":192,"num_heads":[…],"mlp_ratio":[…]} with a number for each of '
    f"{MAX_BLOCKS} blocks, of which layer_num count"
)


class Transformer(NetworkFileSpace):
    """Vision transformers: depth, embedding width, and heads and MLP ratio of every block.

    The options are those of the published "supernet-tiny". The width of queries, keys and values
    is that of the heads together, so it changes with their number. The native text is JSON with
    the members of the published configurations, such as
    ``{"layer_num":12,"embed_dim":216,"num_heads":[3,4,…],"mlp_ratio":[4,3.5,…]}``; numbers for
    blocks that are not there may be left out, and are then those of the first options.

    Blocks beyond the depth are inactive: graph, key and network do not depend on their options,
    which are kept all the same. So all 2,415,919,104 combinations of options are valid, a change
    of one option leads from any depth to any other and back, and samplers that know nothing of
    conditions only propose architectures; the depth is uniform in a sample. Distinct are
    ``3 · (4¹² + 4¹³ + 4¹⁴) = 1,056,964,608``, which the key tells apart.

    Published: ``channels=64``, the channels of a head, with the widths in proportion, and
    ``patches=14``, the patches along a side: 16 × 16 pixels each on images of 224 × 224. Patches
    are as large as it takes to have no more than ``patches`` along a side; where they do not fit,
    the image ends in zeros on the right and below. There are learned position embeddings, not the
    relative ones of the paper, and neither dropout nor stochastic depth.

    References
    ----------
    M. Chen, H. Peng, J. Fu, H. Ling. AutoFormer: Searching transformers for visual recognition.
    ICCV 2021 (arXiv:2107.00651). H. Touvron, M. Cord, M. Douze, F. Massa, A. Sablayrolles,
    H. Jégou. Training data-efficient image transformers & distillation through attention.
    ICML 2021 (arXiv:2012.12877).

    Examples
    --------
    >>> space = Transformer()
    >>> f"{space.size:,}"
    '2,415,919,104'
    >>> smallest = (0,) * len(space.choices)
    >>> space.format(smallest)[:48]
    '{"layer_num":12,"embed_dim":192,"num_heads":[3,3'
    >>> space.graph(smallest).operations[:4]
    ('input', 'embed_192', 'attention_3', 'mlp_3.5')
    """

    name = "transformer"
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {"depth": DEPTHS, "width": WIDTHS}
        | {
            f"{kind}_{block}": options
            for block in range(1, MAX_BLOCKS + 1)
            for kind, options in (("heads", HEADS), ("mlp_ratio", MLP_RATIOS))
        }
    )
    operations = (
        *(f"embed_{width}" for width in WIDTHS),
        *(f"attention_{heads}" for heads in HEADS),
        *(f"mlp_{ratio}" for ratio in MLP_RATIOS),
        INACTIVE,
    )
    default_scale: Mapping[str, int] = MappingProxyType({"channels": 16, "patches": 8})
    num_distinct = len(WIDTHS) * (4**12 + 4**13 + 4**14)
    network = "TransformerNetwork"

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the chain of the embedding and of attention and MLP of every block.

        Every attention and every MLP adds its result to what it gets. Since all do, these residual
        edges say nothing about an architecture and are left out. Those of inactive blocks are
        identities, so that all graphs are of one size.
        """
        row = self._one(arch)
        operations = [INPUT, f"embed_{WIDTHS[row[1]]}"]
        for heads, ratio in zip(*_blocks(row), strict=True):
            operations += [f"attention_{heads}", f"mlp_{ratio}"]
        operations += [INACTIVE] * (2 + 2 * MAX_BLOCKS - len(operations))
        edges = tuple((node, node + 1) for node in range(len(operations)))
        return ArchGraph((*operations, OUTPUT), edges)

    def key(self, arch: ArchLike) -> str:
        """Return 32 hexadecimal digits of the width and the active blocks."""
        row = self._one(arch)
        return hashlib.sha256(repr((row[1], _blocks(row))).encode()).hexdigest()[:32]

    def format(self, arch: ArchLike) -> str:
        """Return an architecture as JSON, with the options of inactive blocks."""
        depth, width, *blocks = self._one(arch)
        heads = ",".join(HEADS[option] for option in blocks[::2])
        ratios = ",".join(MLP_RATIOS[option] for option in blocks[1::2])
        return (
            f'{{"layer_num":{DEPTHS[depth]},"embed_dim":{WIDTHS[width]},'
            f'"num_heads":[{heads}],"mlp_ratio":[{ratios}]}}'
        )

    def parse(self, text: str) -> Arch:
        """Read an architecture as JSON; the options of inactive blocks may be left out.

        Raises
        ------
        InputError
            If it is malformed. Where the text is not JSON, the message gives the position, counted
            in characters from 1.
        """
        members = read_members(text, _MEMBERS, _NOTATION)
        depth = option_index("layer_num", members["layer_num"], DEPTHS, _NOTATION)
        arch = [depth, option_index("embed_dim", members["embed_dim"], WIDTHS, _NOTATION)]
        lengths = range(int(DEPTHS[depth]), MAX_BLOCKS + 1)
        blocks = []
        for name, options in (("num_heads", HEADS), ("mlp_ratio", MLP_RATIOS)):
            given = option_indices(name, members[name], options, lengths, _NOTATION)
            blocks.append(given + [0] * (MAX_BLOCKS - len(given)))
        for pair in zip(*blocks, strict=True):
            arch += pair
        return tuple(arch)

    def _network_arguments(self, arch: Arch) -> dict[str, Any]:
        heads, ratios = _blocks(arch)
        return {
            "width": int(WIDTHS[arch[1]]),
            "heads": tuple(int(number) for number in heads),
            "mlp_ratios": tuple(float(ratio) for ratio in ratios),
        }

    def _arguments(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, scale: Mapping[str, int]
    ) -> dict[str, Any]:
        arguments = super()._arguments(arch, input_shape, num_classes, scale)
        return {**arguments, "image_size": (input_shape[1], input_shape[2])}


def _blocks(arch: Arch) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the heads and the MLP ratios of the active blocks."""
    depth = int(DEPTHS[arch[0]])
    heads, ratios = arch[2::2][:depth], arch[3::2][:depth]
    return tuple(HEADS[option] for option in heads), tuple(MLP_RATIOS[option] for option in ratios)

"""The space of inverted residual stages of Once-for-All."""

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from encoders import INPUT, OUTPUT, ArchGraph
from predictnas.spaces.base import Arch, ArchLike
from predictnas.spaces.configuration import option_index, option_indices, read_members
from predictnas.spaces.networks import NetworkFileSpace

__all__ = ["MobileNet"]

STAGES, MAX_BLOCKS = 5, 4
RESOLUTIONS = ("128", "160", "192", "224")
DEPTHS = ("2", "3", "4")
KERNELS = ("3", "5", "7")
EXPANSIONS = ("3", "4", "6")
# The identity of graphs.
INACTIVE = "skip_connect"
# A stage has choices for its depth, and for kernel and expansion of every block; here they start.
_STAGE_CHOICES = 1 + 2 * MAX_BLOCKS
_STARTS = range(1, 1 + STAGES * _STAGE_CHOICES, _STAGE_CHOICES)

_MEMBERS = ("ks", "e", "d", "image_size")
_NOTATION = (
    f'{{"ks":[…],"e":[…],"d":[…],"image_size":224}} with {STAGES * MAX_BLOCKS} kernel sizes and '
    f"expansion ratios, {MAX_BLOCKS} for each stage, and {STAGES} depths"
)

# Of the five halvings of the network, an image keeps so many that this side is left.
MIN_FINAL_SIDE = 3
MAX_HALVINGS = 5

# Kernel size and expansion ratio of each block, for each stage.
Stages = tuple[tuple[tuple[str, str], ...], ...]


class MobileNet(NetworkFileSpace):
    """Five stages of two to four inverted residual blocks, and the resolution they work at.

    Each stage has a depth, and each of its blocks a kernel size and an expansion ratio, as in
    Once-for-All on the skeleton of MobileNetV3-Large; ProxylessNAS has the same kinds of blocks.
    The native text is the dictionary of the published code, such as
    ``{"ks":[3,7,…],"e":[6,3,…],"d":[2,4,3,2,4],"image_size":160}``, with kernel size and expansion
    ratio of four blocks for each stage.

    Blocks beyond the depth of their stage are inactive: graph, key and network do not depend on
    their options. They keep these options all the same, in the text too, as in the published code.
    So all 1.2e22 combinations of options are valid, a change of one option leads from any depth
    to any other and back, and samplers that know nothing of conditions only propose
    architectures; depths are uniform in a sample. Distinct are
    ``4 · ((3·3)² + (3·3)³ + (3·3)⁴)⁵ ≈ 8.7e19``, which the key tells apart.

    The resolution is in the unit of the paper: at 224 the network sees an image as it is given, at
    128 shrunk to 128/224 of height and width (of each, rounded). The four resolutions are those
    at which the published network was trained; only below 6 × 6 do two of them round to the same
    size.

    Published: ``channels=24``, the channels of the first stage, with all others in proportion, on
    images of 224 × 224, which five strides reduce to 7 × 7. An image smaller than 96 × 96 is
    halved less often, by the last of the strides only, so that 3 × 3 are left at the resolution
    224. There is no dropout.

    References
    ----------
    H. Cai, C. Gan, T. Wang, Z. Zhang, S. Han. Once-for-all: Train one network and specialize it
    for efficient deployment. ICLR 2020 (arXiv:1908.09791). H. Cai, L. Zhu, S. Han. ProxylessNAS:
    Direct neural architecture search on target task and hardware. ICLR 2019 (arXiv:1812.00332).
    A. Howard et al. Searching for MobileNetV3. ICCV 2019 (arXiv:1905.02244).

    Examples
    --------
    >>> space = MobileNet()
    >>> f"{space.size:.1e}"
    '1.2e+22'
    >>> smallest = (0,) * len(space.choices)
    >>> space.format(smallest)[-38:]
    '3,3],"d":[2,2,2,2,2],"image_size":128}'
    >>> space.graph(smallest).operations[:4]
    ('input', 'resolution_128', 'stage_1_k3_e3', 'stage_1_k3_e3')
    """

    name = "mobilenet"
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {"resolution": RESOLUTIONS}
        | {
            name: options
            for stage in range(1, STAGES + 1)
            for name, options in (
                (f"depth_{stage}", DEPTHS),
                *(
                    (f"{kind}_{stage}_{block}", options)
                    for block in range(1, MAX_BLOCKS + 1)
                    for kind, options in (("kernel", KERNELS), ("expansion", EXPANSIONS))
                ),
            )
        }
    )
    operations = (
        *(f"resolution_{resolution}" for resolution in RESOLUTIONS),
        *(
            f"stage_{stage}_k{kernel}_e{expansion}"
            for stage in range(1, STAGES + 1)
            for kernel in KERNELS
            for expansion in EXPANSIONS
        ),
        INACTIVE,
    )
    default_scale: Mapping[str, int] = MappingProxyType({"channels": 12})
    num_distinct = len(RESOLUTIONS) * (
        sum((len(KERNELS) * len(EXPANSIONS)) ** int(depth) for depth in DEPTHS) ** STAGES
    )
    network = "MobileNetNetwork"

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the chain of the blocks behind the resolution, with residual edges.

        A block is named by stage, kernel size and expansion ratio. The blocks of a stage after
        the first add their result to what they get; so what follows a block also gets what those
        before it got, back to the first of the stage. An inactive block is an identity, so that
        every block has its place in all graphs, whatever the depths.
        """
        row = self._one(arch)
        operations, edges = [INPUT, f"resolution_{RESOLUTIONS[row[0]]}"], [(0, 1)]
        sources = [1]
        for stage, blocks in enumerate(_stages(row), start=1):
            for number, (kernel, expansion) in enumerate(blocks):
                edges += [(source, len(operations)) for source in sources]
                sources = [*sources, len(operations)] if number > 0 else [len(operations)]
                operations.append(f"stage_{stage}_k{kernel}_e{expansion}")
            for _ in range(len(blocks), MAX_BLOCKS):
                edges += [(source, len(operations)) for source in sources]
                sources = [len(operations)]
                operations.append(INACTIVE)
        edges += [(source, len(operations)) for source in sources]
        return ArchGraph((*operations, OUTPUT), tuple(edges))

    def key(self, arch: ArchLike) -> str:
        """Return 32 hexadecimal digits of the resolution and the active blocks."""
        row = self._one(arch)
        return hashlib.sha256(repr((row[0], _stages(row))).encode()).hexdigest()[:32]

    def format(self, arch: ArchLike) -> str:
        """Return an architecture as JSON, with the options of inactive blocks."""
        row = self._one(arch)
        stages = [row[start : start + _STAGE_CHOICES] for start in _STARTS]
        kernels = ",".join(KERNELS[option] for stage in stages for option in stage[1::2])
        expansions = ",".join(EXPANSIONS[option] for stage in stages for option in stage[2::2])
        depths = ",".join(DEPTHS[stage[0]] for stage in stages)
        return (
            f'{{"ks":[{kernels}],"e":[{expansions}],"d":[{depths}],'
            f'"image_size":{RESOLUTIONS[row[0]]}}}'
        )

    def parse(self, text: str) -> Arch:
        """Read an architecture as JSON, with the options of inactive blocks.

        Raises
        ------
        InputError
            If it is malformed. Where the text is not JSON, the message gives the position, counted
            in characters from 1.
        """
        members = read_members(text, _MEMBERS, _NOTATION)

        def read(name: str, options: Sequence[str], length: int) -> list[int]:
            lengths = range(length, length + 1)
            return option_indices(name, members[name], options, lengths, _NOTATION)

        kernels = read("ks", KERNELS, STAGES * MAX_BLOCKS)
        expansions = read("e", EXPANSIONS, STAGES * MAX_BLOCKS)
        depths = read("d", DEPTHS, STAGES)
        arch = [option_index("image_size", members["image_size"], RESOLUTIONS, _NOTATION)]
        for stage, depth in enumerate(depths):
            blocks = slice(stage * MAX_BLOCKS, (stage + 1) * MAX_BLOCKS)
            arch.append(depth)
            for pair in zip(kernels[blocks], expansions[blocks], strict=True):
                arch += pair
        return tuple(arch)

    def _network_arguments(self, arch: Arch) -> dict[str, Any]:
        stages = tuple(
            tuple((int(kernel), int(expansion)) for kernel, expansion in blocks)
            for blocks in _stages(arch)
        )
        return {"stages": stages, "resolution": int(RESOLUTIONS[arch[0]])}

    def _arguments(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, scale: Mapping[str, int]
    ) -> dict[str, Any]:
        arguments = super()._arguments(arch, input_shape, num_classes, scale)
        side, halvings = min(input_shape[1:]), 0
        while halvings < MAX_HALVINGS and side >= MIN_FINAL_SIDE * 2 ** (halvings + 1):
            halvings += 1
        return {**arguments, "halvings": halvings}


def _stages(arch: Arch) -> Stages:
    """Return kernel size and expansion ratio of the active blocks of each stage."""
    stages = []
    for start in _STARTS:
        depth, *options = arch[start : start + _STAGE_CHOICES]
        active = options[: 2 * int(DEPTHS[depth])]
        stages.append(
            tuple(
                (KERNELS[kernel], EXPANSIONS[expansion])
                for kernel, expansion in zip(active[::2], active[1::2], strict=True)
            )
        )
    return tuple(stages)

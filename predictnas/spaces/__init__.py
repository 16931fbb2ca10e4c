"""Search spaces: sets of architectures, each with its notation, graphs and networks."""

from predictnas.errors import unknown_name
from predictnas.spaces.base import Arch, ArchLike, Archs, Space
from predictnas.spaces.darts import Darts
from predictnas.spaces.nasbench101 import NasBench101
from predictnas.spaces.nasbench201 import NasBench201
from predictnas.spaces.nats_size import NatsSize
from predictnas.spaces.transnas101_macro import TransNas101Macro
from predictnas.spaces.transnas101_micro import TransNas101Micro

__all__ = [
    "SPACES",
    "Arch",
    "ArchLike",
    "Archs",
    "Darts",
    "NasBench101",
    "NasBench201",
    "NatsSize",
    "Space",
    "TransNas101Macro",
    "TransNas101Micro",
    "get_space",
]

SPACES: dict[str, type[Space]] = {
    "nasbench201": NasBench201,
    "nasbench101": NasBench101,
    "transnas101-micro": TransNas101Micro,
    "transnas101-macro": TransNas101Macro,
    "nats-size": NatsSize,
    "darts": Darts,
}


def get_space(name: str) -> Space:
    """Return the space that is registered under `name`.

    Raises
    ------
    InputError
        If there is none; the message lists the choices.
    """
    if name not in SPACES:
        raise unknown_name("space", name, SPACES)
    return SPACES[name]()

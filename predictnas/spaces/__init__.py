"""Search spaces: sets of architectures, each with its notation, graphs and networks."""

from predictnas.errors import unknown_name
from predictnas.spaces.base import Arch, ArchLike, Archs, Space
from predictnas.spaces.nasbench201 import NasBench201

__all__ = ["SPACES", "Arch", "ArchLike", "Archs", "NasBench201", "Space", "get_space"]

SPACES: dict[str, type[Space]] = {
    "nasbench201": NasBench201,
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

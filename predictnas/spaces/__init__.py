"""Search spaces: sets of architectures, each with its notation, graphs and networks."""

from predictnas.errors import InputError, unknown_name
from predictnas.spaces.base import Arch, ArchLike, Archs, Space
from predictnas.spaces.darts import Darts
from predictnas.spaces.declared import DeclaredSpace
from predictnas.spaces.grammar import Grammar
from predictnas.spaces.grammar_space import GrammarSpace
from predictnas.spaces.hierarchical import Hierarchical
from predictnas.spaces.loading import space_at
from predictnas.spaces.mobilenet import MobileNet
from predictnas.spaces.nasbench101 import NasBench101
from predictnas.spaces.nasbench201 import NasBench201
from predictnas.spaces.nats_size import NatsSize
from predictnas.spaces.transformer import Transformer
from predictnas.spaces.transnas101_macro import TransNas101Macro
from predictnas.spaces.transnas101_micro import TransNas101Micro

__all__ = [
    "SPACES",
    "Arch",
    "ArchLike",
    "Archs",
    "Darts",
    "DeclaredSpace",
    "Grammar",
    "GrammarSpace",
    "Hierarchical",
    "MobileNet",
    "NasBench101",
    "NasBench201",
    "NatsSize",
    "Space",
    "TransNas101Macro",
    "TransNas101Micro",
    "Transformer",
    "get_space",
    "load_space",
]

SPACES: dict[str, type[Space]] = {
    "nasbench201": NasBench201,
    "nasbench101": NasBench101,
    "transnas101-micro": TransNas101Micro,
    "transnas101-macro": TransNas101Macro,
    "nats-size": NatsSize,
    "darts": Darts,
    "mobilenet": MobileNet,
    "transformer": Transformer,
    "hierarchical": Hierarchical,
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


def load_space(name: str) -> Space:
    """Return the space that a user names, be it registered or their own.

    Parameters
    ----------
    name
        A name of the registry; or ``FILE.py:CLASS`` or ``package.module:CLASS``, whose code is
        then run: never take that from data.

    Raises
    ------
    InputError
        If there is none, its code fails, or it has the name of a registered one.
    """
    if ":" not in name:
        return get_space(name)
    space = space_at(name)
    if type(space) is not SPACES.get(space.name, type(space)):
        raise InputError(
            f"{name}: expected a space with a name of its own, found {space.name}, which is "
            "registered; name it differently in the class"
        )
    return space

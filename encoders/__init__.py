"""Architectures as labelled graphs, and their encodings as scikit-learn transformers."""

from encoders.adjacency import AdjacencyEncoder
from encoders.arch_graph import ArchGraph
from encoders.base import Encoder
from encoders.canonical import IDENTITY, INPUT, OUTPUT, ZERO
from encoders.errors import EncodingError
from encoders.path import PathEncoder
from encoders.weisfeiler_lehman import WeisfeilerLehmanEncoder

__all__ = [
    "ENCODERS",
    "IDENTITY",
    "INPUT",
    "OUTPUT",
    "ZERO",
    "AdjacencyEncoder",
    "ArchGraph",
    "Encoder",
    "EncodingError",
    "PathEncoder",
    "WeisfeilerLehmanEncoder",
    "get_encoder",
]

ENCODERS: dict[str, type[Encoder]] = {
    "adjacency": AdjacencyEncoder,
    "path": PathEncoder,
    "weisfeiler_lehman": WeisfeilerLehmanEncoder,
}


def get_encoder(name: str) -> type[Encoder]:
    """Return the encoder class that is registered under `name`.

    Raises
    ------
    EncodingError
        If there is none; the message lists the choices.
    """
    try:
        return ENCODERS[name]
    except KeyError:
        raise EncodingError(
            f"unknown encoder {name!r}; choose from: {', '.join(ENCODERS)}"
        ) from None

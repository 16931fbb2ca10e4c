"""Architectures as labelled graphs, and their encodings as scikit-learn transformers."""

from encoders.adjacency import AdjacencyEncoder
from encoders.arch_graph import ArchGraph
from encoders.base import Encoder
from encoders.canonical import IDENTITY, INPUT, OUTPUT, ZERO
from encoders.embedding import EmbeddingEncoder
from encoders.errors import EncodingError
from encoders.graph_batch import ABSENT, GraphBatch
from encoders.graph_features import GraphFeatureEncoder
from encoders.laplacian import LaplacianEncoder
from encoders.path import PathEncoder
from encoders.traced import trace_graph
from encoders.weisfeiler_lehman import WeisfeilerLehmanEncoder

__all__ = [
    "ABSENT",
    "ENCODERS",
    "IDENTITY",
    "INPUT",
    "OUTPUT",
    "ZERO",
    "AdjacencyEncoder",
    "ArchGraph",
    "EmbeddingEncoder",
    "Encoder",
    "EncodingError",
    "GraphBatch",
    "GraphFeatureEncoder",
    "LaplacianEncoder",
    "PathEncoder",
    "WeisfeilerLehmanEncoder",
    "get_encoder",
    "trace_graph",
]

ENCODERS: dict[str, type[Encoder]] = {
    "adjacency": AdjacencyEncoder,
    "path": PathEncoder,
    "weisfeiler_lehman": WeisfeilerLehmanEncoder,
    "graf": GraphFeatureEncoder,
    "laplacian": LaplacianEncoder,
    "embedding": EmbeddingEncoder,
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

import re

import numpy as np
import pytest

from encoders import AdjacencyEncoder, ArchGraph
from predictnas.errors import InputError
from predictnas.spaces import NatsSize, get_space

SPACE = NatsSize()
MIXED = "64:8:24:48:16"


def test_the_space_has_the_published_size_and_no_two_are_the_same():
    everything = SPACE.iterate()
    assert SPACE.size == len(everything) == 32_768
    part = everything[::7]
    assert len(set(SPACE.format_all(part))) == len(set(SPACE.keys(part))) == len(part)
    np.testing.assert_array_equal(SPACE.parse_all(SPACE.format_all(part)), part)


def test_the_text_gives_the_widths_in_order():
    arch = SPACE.parse(MIXED)
    assert arch == (7, 0, 2, 5, 1)
    assert list(SPACE.params(arch).values()) == ["64", "8", "24", "48", "16"]
    assert SPACE.format(arch) == MIXED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected for layer 1 one of 8, 16, 24, 32, 40, 48, 56, 64 at character 1, found ''"),
        ("64:8:20:48:16", "expected for layer 3 one of .* at character 6, found '20'; write c:c:"),
        ("64:8:24:48:16 ", "expected for layer 5 one of .* at character 12, found '16 '; write"),
        ("64,8,24,48,16", "expected for layer 1 one of .* at character 1, found '64,8,24,48,16'"),
        ("64:8:24:48", "expected 5 widths, found 4 before character 11; write c:c:c:c:c"),
        (MIXED + ":8", "expected 5 widths, found 6 before character 16; write c:c:c:c:c"),
    ],
)
def test_malformed_text_is_refused_at_the_first_wrong_piece(text, message):
    with pytest.raises(InputError, match="^" + message):
        SPACE.parse(text)


def test_something_else_than_text_is_refused():
    with pytest.raises(InputError, match=re.escape("expected the text of an architecture, found")):
        SPACE.parse(3)


def test_the_graph_is_the_chain_of_the_layers():
    assert SPACE.graph(SPACE.parse(MIXED)) == ArchGraph(
        ("input", "layer_1_64", "layer_2_8", "layer_3_24", "layer_4_48", "layer_5_16", "output"),
        ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)),
    )


def test_every_architecture_has_35_neighbors():
    assert len(SPACE.neighbors(SPACE.parse(MIXED))) == 5 * 7


def test_architectures_are_encoded_and_told_apart():
    graphs = SPACE.graphs(SPACE.sample(200, np.random.default_rng(0), distinct=True))
    encoded = AdjacencyEncoder(operations=SPACE.operations).fit_transform(graphs)
    assert len(np.unique(encoded, axis=0)) == 200
    # One of eight widths for each of five layers, and the six edges of the chain.
    assert (encoded.sum(axis=1) == 5 + 6).all()


def test_get_space_finds_it():
    assert isinstance(get_space("nats-size"), NatsSize)

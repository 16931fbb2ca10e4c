import json
import re

import numpy as np
import pytest

from encoders import AdjacencyEncoder, ArchGraph
from predictnas.errors import InputError
from predictnas.spaces import Transformer, get_space

SPACE = Transformer()
NAMES = list(SPACE.choices)
SMALLEST = {
    "layer_num": 12,
    "embed_dim": 192,
    "num_heads": [3] * 14,
    "mlp_ratio": [3.5] * 14,
}


def text(**members):
    return json.dumps({**SMALLEST, **members})


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_size_is_that_counted_by_hand():
    assert SPACE.size == 3 * 3 * (2 * 2) ** 14 == 2_415_919_104
    assert SPACE.num_distinct == 3 * (4**12 + 4**13 + 4**14) == 1_056_964_608
    assert SPACE.is_product


def test_the_last_blocks_count_as_often_as_the_depths_say():
    # With the first twelve blocks and the width as they are, 1 + 4 + 16 architectures are left.
    rows = np.zeros((3 * 4**2, len(NAMES)), dtype=np.int64)
    rows[:, [0, -4, -3, -2, -1]] = np.indices((3, 2, 2, 2, 2)).reshape(5, -1).T
    assert len(set(SPACE.keys(rows))) == 1 + 4 + 4**2
    assert len({SPACE.graph(row).key() for row in rows}) == 1 + 4 + 4**2


def test_what_is_inactive_makes_no_difference_and_everything_else_does(rng):
    for row in SPACE.sample(5, rng):
        key, graph = SPACE.key(row), SPACE.graph(row).key()
        source = SPACE.network_source(row, (1, 8, 8), 2)
        depth = int(SPACE.params(row)["depth"])
        for neighbor in SPACE.neighbors(row):
            (position,) = np.flatnonzero(neighbor != row)
            name, _, block = NAMES[position].rpartition("_")
            same = name != "" and int(block) > depth
            assert (SPACE.key(neighbor) == key) is same, NAMES[position]
            assert (SPACE.graph(neighbor).key() == graph) is same
            other = SPACE.network_source(neighbor, (1, 8, 8), 2)
            built = [each[each.index("return TransformerNetwork(") :] for each in (source, other)]
            assert (built[0] == built[1]) is same


def test_the_text_names_what_the_published_configurations_name(rng):
    for row in SPACE.sample(20, rng):
        params = SPACE.params(row)
        expected = {
            "layer_num": int(params["depth"]),
            "embed_dim": int(params["width"]),
            "num_heads": [int(params[f"heads_{block}"]) for block in range(1, 15)],
            "mlp_ratio": [float(params[f"mlp_ratio_{block}"]) for block in range(1, 15)],
        }
        assert json.loads(SPACE.format(row)) == expected
        shuffled = dict(reversed(expected.items()))
        assert SPACE.parse(json.dumps(shuffled, indent=1)) == tuple(row.tolist())


def test_numbers_for_blocks_that_are_not_there_may_be_left_out():
    arch = SPACE.parse(text(layer_num=13, num_heads=[4] * 13, mlp_ratio=[4.0] * 14))
    params = SPACE.params(arch)
    assert [params[f"heads_{block}"] for block in (1, 13, 14)] == ["4", "4", "3"]
    assert params["mlp_ratio_14"] == "4"
    whole = SPACE.parse(text(layer_num=13, num_heads=[4] * 14, mlp_ratio=[4] * 14))
    assert arch != whole
    assert SPACE.key(arch) == SPACE.key(whole)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (text(layer_num=11), "expected for layer_num one of 12, 13, 14, found 11; write {"),
        (text(embed_dim=[192] * 14), "expected for embed_dim one of 192, 216, 240, found 14 num"),
        (text(num_heads=[3, 5] * 7), "expected for num_heads[1] one of 3, 4, found 5; write {"),
        (text(num_heads=[3] * 11), "expected as num_heads 12 to 14 numbers, found 11 numbers; w"),
        (text(layer_num=14, num_heads=[3] * 13), "expected as num_heads 14 numbers, found 13 n"),
        (text(mlp_ratio=4), "expected as mlp_ratio 12 to 14 numbers, found 4; write {"),
        (text(depth=12), "expected an object with the members layer_num, embed_dim, num_heads, ml"),
        (text()[:-1], "expected JSON, found the end at character"),
    ],
)
def test_malformed_text_is_refused(wrong, message):
    with pytest.raises(InputError, match="^" + re.escape(message)):
        SPACE.parse(wrong)


def test_the_graph_is_the_chain_of_the_layers():
    arch = SPACE.parse(text(embed_dim=216, num_heads=[3, 4] * 7, mlp_ratio=[4] * 13 + [3.5]))
    layers = ["attention_3", "mlp_4", "attention_4", "mlp_4"] * 6
    edges = tuple((node, node + 1) for node in range(30))
    idle = ["skip_connect"] * 4
    graph = SPACE.graph(arch)
    assert graph == ArchGraph(("input", "embed_216", *layers, *idle, "output"), edges)
    assert graph.canonical() == ArchGraph(("input", "embed_216", *layers, "output"), edges[:26])


def test_architectures_are_encoded_and_told_apart(rng):
    graphs = SPACE.graphs(SPACE.sample(100, rng, distinct=True))
    encoded = AdjacencyEncoder(operations=SPACE.operations).fit(graphs[:1]).transform(graphs)
    assert len(np.unique(encoded, axis=0)) == 100


def test_get_space_finds_it():
    assert isinstance(get_space("transformer"), Transformer)

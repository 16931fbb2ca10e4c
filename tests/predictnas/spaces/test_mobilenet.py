import json
import re
from itertools import pairwise, product

import numpy as np
import pytest

from encoders import AdjacencyEncoder, ArchGraph
from predictnas.errors import InputError
from predictnas.spaces import MobileNet, get_space

SPACE = MobileNet()
NAMES = list(SPACE.choices)
SMALLEST = dict.fromkeys(("ks", "e"), [3] * 20) | {"d": [2] * 5, "image_size": 128}


def text(**members):
    return json.dumps({**SMALLEST, **members})


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_size_is_that_counted_by_hand():
    assert SPACE.size == 4 * (3 * (3 * 3) ** 4) ** 5
    assert SPACE.is_product


def test_distinct_are_as_many_as_the_paper_says():
    # All options of one stage, the others as they are: the number of keys is that of subnetworks.
    width = len(NAMES) // 5
    stage = np.array(list(product(range(3), repeat=width)))
    base = np.zeros(len(NAMES), dtype=np.int64)
    for start in (1, 1 + 4 * width):
        rows = np.tile(base, (len(stage[::11]), 1))
        rows[:, start : start + width] = stage[::11]
        active = {
            (row[0], *row[1 : 1 + 2 * (row[0] + 2)])
            for row in rows[:, start : start + width].tolist()
        }
        assert len(set(SPACE.keys(rows))) == len(active)
    rows = np.tile(base, (len(stage), 1))
    rows[:, 1 : 1 + width] = stage
    assert len(set(SPACE.keys(rows))) == 9**2 + 9**3 + 9**4
    assert SPACE.num_distinct == 4 * (9**2 + 9**3 + 9**4) ** 5
    assert f"{SPACE.num_distinct / 4:.0e}" == "2e+19"


def inactive(row):
    """Return the positions of the choices that do not count, by the definition of the space."""
    params = SPACE.params(row)
    return [
        NAMES.index(f"{kind}_{stage}_{block}")
        for stage in range(1, 6)
        for block in range(int(params[f"depth_{stage}"]) + 1, 5)
        for kind in ("kernel", "expansion")
    ]


def test_what_is_inactive_makes_no_difference_and_everything_else_does(rng):
    for row in SPACE.sample(3, rng):
        key, graph = SPACE.key(row), SPACE.graph(row).key()
        source = SPACE.network_source(row, (1, 8, 8), 2)
        idle = inactive(row)
        for neighbor in SPACE.neighbors(row):
            (position,) = np.flatnonzero(neighbor != row)
            same = position in idle
            assert (SPACE.key(neighbor) == key) is same, NAMES[position]
            assert (SPACE.graph(neighbor).key() == graph) is same
            other = SPACE.network_source(neighbor, (1, 8, 8), 2)
            built = [each[each.index("return MobileNetNetwork(") :] for each in (source, other)]
            assert (built[0] == built[1]) is same


def test_depth_decides_which_blocks_count():
    deep = SPACE.parse(text(d=[2, 3, 4, 2, 3], ks=[3, 5, 7, 7] * 5))
    operations = SPACE.graph(deep).canonical().operations
    assert [each.split("_e")[0] for each in operations[2:-1]] == [
        f"stage_{stage}_k{kernel}"
        for stage, kernels in enumerate(((3, 5), (3, 5, 7), (3, 5, 7, 7), (3, 5), (3, 5, 7)), 1)
        for kernel in kernels
    ]


def test_the_text_is_the_dictionary_of_the_published_code(rng):
    for row in SPACE.sample(20, rng):
        params = SPACE.params(row)
        blocks = [f"{stage}_{block}" for stage in range(1, 6) for block in range(1, 5)]
        expected = {
            "ks": [int(params[f"kernel_{block}"]) for block in blocks],
            "e": [int(params[f"expansion_{block}"]) for block in blocks],
            "d": [int(params[f"depth_{stage}"]) for stage in range(1, 6)],
            "image_size": int(params["resolution"]),
        }
        assert json.loads(SPACE.format(row)) == expected
        shuffled = dict(reversed(expected.items()))
        assert SPACE.parse(json.dumps(shuffled, indent=1)) == tuple(row.tolist())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (text(ks=[3] * 19), "expected as ks 20 numbers, found 19 numbers; write {"),
        (text(e=[3, 5] * 10), "expected for e[1] one of 3, 4, 6, found 5; write {"),
        (text(d=[2, 2, 1, 2, 2]), "expected for d[2] one of 2, 3, 4, found 1; write {"),
        (text(d=2), "expected as d 5 numbers, found 2; write {"),
        (text(image_size=200), "expected for image_size one of 128, 160, 192, 224, found 200; wr"),
        (text(r=[224]), "expected an object with the members ks, e, d, image_size, each once, fou"),
        (text()[:-1], "expected JSON, found the end at character"),
    ],
)
def test_malformed_text_is_refused(wrong, message):
    with pytest.raises(InputError, match="^" + re.escape(message)):
        SPACE.parse(wrong)


def test_the_graph_has_an_edge_past_every_residual_block():
    arch = SPACE.parse(text(d=[2, 4, 2, 2, 2], e=[6] * 20, ks=[5] * 20, image_size=160))
    graph = SPACE.graph(arch).canonical()
    names = [f"stage_{stage}_k5_e6" for stage in (1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 5, 5)]
    # Nodes 2 and 3 are stage 1, 4 to 7 stage 2, 8 and 9 stage 3, and so on.
    stages = ((2, 3), (4, 5, 6, 7), (8, 9), (10, 11), (12, 13), (14,))
    edges = {(0, 1), (1, 2)}
    for stage, following in pairwise(stages):
        for number, block in enumerate(stage):
            edges |= {(block, later) for later in (*stage[number + 1 :], following[0])}
    assert graph == ArchGraph(("input", "resolution_160", *names, "output"), tuple(edges))


def test_inactive_blocks_keep_their_place_in_the_graph(rng):
    for row in SPACE.sample(20, rng):
        operations = SPACE.graph(row).operations
        assert len(operations) == 1 + 1 + 20 + 1
        depths = [int(SPACE.params(row)[f"depth_{stage}"]) for stage in range(1, 6)]
        for stage, depth in enumerate(depths):
            blocks = operations[2 + 4 * stage : 6 + 4 * stage]
            assert all(each.startswith(f"stage_{stage + 1}_k") for each in blocks[:depth])
            assert blocks[depth:] == ("skip_connect",) * (4 - depth)


def test_architectures_are_encoded_and_told_apart(rng):
    graphs = SPACE.graphs(SPACE.sample(100, rng, distinct=True))
    encoded = AdjacencyEncoder(operations=SPACE.operations).fit(graphs[:1]).transform(graphs)
    assert len(np.unique(encoded, axis=0)) == 100


def test_samples_have_uniform_depths_and_a_search_can_change_them(rng):
    rows = SPACE.sample(3000, rng)
    column = NAMES.index("depth_3")
    # Binomial with n = 3000, p = 1/3: standard deviation 26.
    assert (abs(np.bincount(rows[:, column]) - 1000) < 5 * 26).all()
    assert {int(row[column]) for row in SPACE.neighbors(rows[0])} == {0, 1, 2}


def test_get_space_finds_it():
    assert isinstance(get_space("mobilenet"), MobileNet)

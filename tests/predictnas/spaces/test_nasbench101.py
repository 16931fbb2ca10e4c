import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.spaces import NasBench101, get_space

TABLE = Path(__file__).parents[3].parent / "shared" / "data" / "nasbench101_10k.parquet"

SPACE = NasBench101()
DIAMOND = (
    '{"matrix":[[0,1,1,0,1],[0,0,0,1,0],[0,0,0,1,0],[0,0,0,0,1],[0,0,0,0,0]],'
    '"ops":["input","conv1x1-bn-relu","maxpool3x3","conv3x3-bn-relu","output"]}'
)


@pytest.fixture(scope="module")
def everything():
    return SPACE.iterate()


@pytest.fixture(scope="module")
def table():
    if not TABLE.exists():
        pytest.skip("the published table ../shared/data/nasbench101_10k.parquet is absent")
    return pytest.importorskip("pandas").read_parquet(TABLE)


def cell(edges, *labels):
    """Return the text of a cell with the given edges and the operations between."""
    names = ["input", *labels, "output"]
    matrix = [[int((i, j) in edges) for j in range(len(names))] for i in range(len(names))]
    return json.dumps({"matrix": matrix, "ops": names})


def pruned(row):
    """Return how many vertices and edges of a row are left, by walking through the cell."""
    edges = [tuple(map(int, n.split("->"))) for n, o in SPACE.params(row).items() if o == "on"]
    ahead, behind = {0}, {6}
    for source, target in sorted(edges):
        ahead |= {target} if source in ahead else set()
    for source, target in sorted(edges, reverse=True):
        behind |= {source} if target in behind else set()
    left = ahead & behind
    return len(left), sum(source in left and target in left for source, target in edges)


def test_the_space_has_the_published_number_of_cells(everything):
    assert SPACE.size == 2**21 * 3**5
    assert everything.shape == (423_624, 26)
    assert SPACE.is_valid(everything).all()
    numbers = np.ravel_multi_index(tuple(everything.T), (2,) * 21 + (3,) * 5)
    assert (np.diff(numbers) > 0).all()
    part = everything[:: len(everything) // 3000]
    assert len(set(SPACE.keys(part))) == len(part)
    np.testing.assert_array_equal(SPACE.parse_all(SPACE.format_all(part[:200])), part[:200])


def test_at_most_nine_edges_are_left_on_paths():
    chain = [(vertex, vertex + 1) for vertex in range(6)]
    nine = {*chain, (0, 2), (0, 3), (0, 4)}
    ops = ["maxpool3x3"] * 5
    arch = SPACE.parse(cell(nine, *ops))
    with pytest.raises(InputError, match="at most 9 edges on such paths, found 10 edges; is it"):
        SPACE.parse(cell(nine | {(0, 5)}, *ops))
    # All ten edges between the first five vertices, none of which leads on but the first.
    idle = {(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)}
    assert SPACE.format(SPACE.parse(cell(idle | {(0, 6)}, *ops))) == SPACE.format(
        SPACE.parse(cell({(0, 1)}))
    )
    row = np.array(arch)
    row[list(SPACE.choices).index("0->5")] = 1
    assert SPACE.is_valid([arch, row]).tolist() == [True, False]


def test_a_cell_without_a_path_is_refused():
    with pytest.raises(InputError, match="a path from input to output .*, found no such path"):
        SPACE.parse(cell({(0, 1)}, "maxpool3x3"))


def test_samples_follow_the_uniform_distribution_over_valid_rows():
    rng = np.random.default_rng(0)
    sampled = Counter(map(pruned, SPACE.sample(3000, rng)))
    drawn = rng.integers(0, np.array([2] * 21 + [3] * 5), (12_000, 26))
    kept = [pruned(row) for row in drawn[SPACE.is_valid(drawn)]][:3000]
    assert len(kept) == 3000
    expected = Counter(kept)
    assert all(0 < edges <= 9 for _, edges in sampled | expected)
    # The distance of two samples of 3,000 over about 30 kinds is 0.04 on average.
    kinds = sampled.keys() | expected.keys()
    assert sum(abs(sampled[kind] - expected[kind]) for kind in kinds) / 6000 < 0.08


def test_the_text_is_that_of_the_pruned_cell():
    arch = SPACE.parse(DIAMOND)
    assert SPACE.format(arch) == DIAMOND
    on = {name for name, option in SPACE.params(arch).items() if option == "on"}
    assert on == {"0->1", "0->2", "0->6", "1->3", "2->3", "3->6"}
    row = np.array(arch)
    # An edge to a vertex that leads nowhere, and what that vertex does, are not seen.
    row[list(SPACE.choices).index("3->5")] = 1
    row[list(SPACE.choices).index("vertex_5")] = 2
    assert SPACE.format(row) == DIAMOND
    assert SPACE.key(row) == SPACE.key(arch)
    assert SPACE.graph(row) == SPACE.graph(arch)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, found the end at character 1; write"),
        (DIAMOND[:-1], f"expected JSON, found the end at character {len(DIAMOND)}; write"),
        ("[1 2]", "expected JSON, found '2]' at character 4; write"),
        ("[" * 100_000, "expected a cell, found JSON of great depth or length; write"),
        ("9" * 5_000, "expected a cell, found JSON of great depth or length; write"),
        ("3", "expected an object with the members matrix and ops, found 3"),
        ('{"ops":[]}', 'expected an object with the members matrix and ops, found {"ops":[]}'),
        (cell({(0, 7)}, *["maxpool3x3"] * 6), "expected as ops a list of 2 to 7 names, found ["),
        (cell({(0, 1)}, "maxpool"), "expected for vertex 1 conv1x1-bn-relu or conv3x3-bn-relu or"),
        (DIAMOND.replace("input", "output"), 'expected for vertex 0 input, found "output"'),
        ('{"matrix":[[0]],"ops":["input","output"]}', "expected as matrix 2 rows, one for each"),
        ('{"matrix":[[0,1],[0]],"ops":["input","output"]}', "expected as row 1 of matrix 2 num"),
        ('{"matrix":[[0,2],[0,0]],"ops":["input","output"]}', "expected in row 0 of matrix only 0"),
        ('{"matrix":[[0,true],[0,0]],"ops":["input","output"]}', "expected in row 0 of matrix on"),
        (
            '{"matrix":[[0,1],[1,0]],"ops":["input","output"]}',
            "expected in row 1 of matrix no edge",
        ),
    ],
)
def test_malformed_text_is_refused_at_the_first_wrong_piece(text, message):
    with pytest.raises(InputError, match="^" + re.escape(message)) as caught:
        SPACE.parse(text)
    assert "\n" not in str(caught.value)


def test_something_else_than_text_is_refused():
    with pytest.raises(InputError, match="expected the text of a cell, found 3"):
        SPACE.parse(3)


def test_the_graph_has_the_operations_on_its_nodes():
    assert SPACE.graph(SPACE.parse(DIAMOND)) == ArchGraph(
        ("input", "conv1x1-bn-relu", "maxpool3x3", "conv3x3-bn-relu", "output"),
        ((0, 1), (0, 2), (0, 4), (1, 3), (2, 3), (3, 4)),
    )


def test_keys_are_equal_exactly_where_those_of_the_graphs_are():
    rows = SPACE.sample(400, np.random.default_rng(0))
    rows = np.concatenate([rows, SPACE.mutate(rows, np.random.default_rng(1))])
    keys, graphs = SPACE.keys(rows), [graph.key() for graph in SPACE.graphs(rows)]
    assert len(set(keys)) == len(set(graphs)) == len(set(zip(keys, graphs, strict=True)))
    assert len(set(keys)) < 800


def test_the_neighbors_of_the_smallest_cell():
    rows = SPACE.neighbors(SPACE.parse(cell({(0, 1)})))
    # Without its only edge it has no path; 20 other edges and two operations for each vertex.
    assert len(rows) == 20 + 5 * 2
    assert set(SPACE.format_all(rows)) == {SPACE.format(SPACE.parse(cell({(0, 1)})))}


def test_the_published_table_is_read_and_its_hashes_are_the_keys(table):
    rows = SPACE.parse_all(table["arch"])
    assert SPACE.format_all(rows) == table["arch"].tolist()
    assert SPACE.keys(rows) == table["module_hash"].tolist()


def test_get_space_finds_it():
    assert isinstance(get_space("nasbench101"), NasBench101)

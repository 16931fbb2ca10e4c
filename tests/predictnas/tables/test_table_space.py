import numpy as np
import pytest

from predictnas.errors import InputError
from predictnas.spaces import SPACES, get_space
from predictnas.tables import TableSpace


def part(name, count=30, seed=0):
    space = get_space(name)
    rows = space.sample(count, np.random.default_rng(seed))
    return space, np.unique(rows, axis=0)


@pytest.mark.parametrize("name", SPACES)
class TestEverySpace:
    def test_holds_its_rows_alone(self, name):
        space, rows = part(name)
        table = TableSpace(space, np.concatenate([rows, rows[:5]]))
        assert table.size == len(rows)
        assert not table.is_product
        np.testing.assert_array_equal(np.unique(table.iterate(), axis=0), rows)
        assert table.is_valid(rows).all()
        others = space.sample(50, np.random.default_rng(1))
        known = {tuple(row) for row in rows.tolist()}
        expected = [tuple(row) in known for row in others.tolist()]
        assert table.is_valid(others).tolist() == expected
        assert not table.is_valid(rows - 9).any()
        assert table.is_valid(rows[:0]).tolist() == []

    def test_moves_among_its_rows(self, name):
        space, rows = part(name)
        table = TableSpace(space, rows)
        rng = np.random.default_rng(2)
        assert table.is_valid(table.sample(40, rng)).all()
        for edits in (1, 2, 3):
            mutants = table.mutate(rows, rng, edits=edits)
            assert table.is_valid(mutants).all()
            assert (mutants != rows).any(axis=1).all()
        for row in rows[:10]:
            around = table.neighbors(row)
            assert len(around)
            assert table.is_valid(around).all()
            distances = (rows != row).sum(axis=1)
            nearest = distances[distances > 0].min()
            assert ((around != row).sum(axis=1) == nearest).all()
            assert len(around) == (distances == nearest).sum()

    def test_is_otherwise_the_whole_space(self, name):
        space, rows = part(name, 5)
        table = TableSpace(space, rows)
        assert table.name == space.name
        assert table.identity == space.identity
        assert table.choices == space.choices
        assert table.graphs(rows) == space.graphs(rows)
        assert table.graph(rows[0]) == space.graph(rows[0])
        assert table.graph_batch(rows).graphs() == space.graph_batch(rows).graphs()
        assert table.keys(rows) == space.keys(rows)
        assert table.key(rows[0]) == space.key(rows[0])
        texts = space.format_all(rows)
        assert table.format_all(rows) == texts
        np.testing.assert_array_equal(table.parse_all(texts), space.parse_all(texts))
        assert table.from_params(space.params(rows[1])) == tuple(rows[1].tolist())


def test_mutants_are_as_far_as_asked_where_a_row_is():
    space = get_space("nats-size")
    rows = [(0, 0, 0, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 1, 1), (0, 0, 0, 2, 2), (1, 1, 1, 1, 1)]
    table = TableSpace(space, rows)
    rng = np.random.default_rng(0)
    starts = np.zeros((200, 5), dtype=np.int64)
    far = table.mutate(starts, rng, edits=2)
    assert {tuple(row) for row in far.tolist()} == {(0, 0, 0, 1, 1), (0, 0, 0, 2, 2)}
    assert 70 < (far[:, 3] == 1).sum() < 130
    assert {tuple(row) for row in table.mutate(starts, rng).tolist()} == {(0, 0, 0, 0, 1)}
    # None is three or four choices away: two is closest to three, five to four.
    third = {tuple(row) for row in table.mutate(starts, rng, edits=3).tolist()}
    assert third == {(0, 0, 0, 1, 1), (0, 0, 0, 2, 2)}
    fourth = {tuple(row) for row in table.mutate(starts, rng, edits=4).tolist()}
    assert fourth == {(1, 1, 1, 1, 1)}


def test_draws_are_uniform_and_seeded():
    space, rows = part("darts", 4)
    table = TableSpace(space, rows)
    draws = table.sample(4000, np.random.default_rng(0))
    counts = np.unique(draws, axis=0, return_counts=True)[1]
    assert len(counts) == 4
    assert (np.abs(counts - 1000) < 120).all()
    np.testing.assert_array_equal(draws, table.sample(4000, np.random.default_rng(0)))
    assert len(table.sample(4, np.random.default_rng(0), distinct=True)) == 4
    with pytest.raises(InputError, match="expected 5 distinct architectures, found 4"):
        table.sample(5, np.random.default_rng(0), distinct=True)


def test_what_is_not_in_the_table_is_refused():
    space, rows = part("nasbench201", 3)
    table = TableSpace(space, rows)
    other = next(row for row in space.iterate() if not table.is_valid([row])[0])
    for ask in (table.graph, table.key, table.format, table.neighbors):
        with pytest.raises(InputError, match="expected an architecture of nasbench201"):
            ask(other)
    with pytest.raises(InputError, match="expected an architecture of nasbench201"):
        table.parse(space.format(other))
    with pytest.raises(InputError, match="expected from 1 to 6 edits, found 7"):
        table.mutate(rows, np.random.default_rng(0), edits=7)
    with pytest.raises(InputError, match="needs at least one architecture, found none"):
        TableSpace(space, rows[:0])
    with pytest.raises(InputError, match="a table of several architectures to mutate, found one"):
        TableSpace(space, rows[:1]).mutate(rows[:1], np.random.default_rng(0))
    assert len(TableSpace(space, rows[:1]).neighbors(rows[0])) == 0


def test_what_text_leaves_out_makes_no_other_row():
    space = get_space("nasbench101")
    # The second vertex is on no path.
    text = (
        '{"matrix":[[0,1,1,0],[0,0,0,0],[0,0,0,1],[0,0,0,0]],'
        '"ops":["input","conv3x3-bn-relu","maxpool3x3","output"]}'
    )
    arch = space.parse(text)
    table = TableSpace(space, [arch])
    assert table.parse(text) == table.parse(table.format(arch)) == arch
    assert space.parse(space.format(arch)) != arch


def test_networks_are_those_of_the_whole_space():
    space, rows = part("nasbench201", 2)
    table = TableSpace(space, rows)
    network = table.build(rows[0], (1, 8, 8), 10, channels=4, cells=1)
    assert set(network.state_dict()) == set(
        space.build(rows[0], (1, 8, 8), 10, channels=4, cells=1).state_dict()
    )
    source = table.network_source(rows[0], (1, 8, 8), 10)
    assert source == space.network_source(rows[0], (1, 8, 8), 10)

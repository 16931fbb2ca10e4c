import itertools
from collections import Counter

import networkx as nx
import numpy as np
import pytest

from encoders import ArchGraph, EncodingError, PathEncoder

# input -> a -> b -> output, input -> b -> output, input -> skip -> output
GRAPH = ArchGraph(
    ("input", "a", "b", "skip_connect", "output"),
    ((0, 1), (1, 2), (0, 2), (2, 4), (0, 3), (3, 4)),
)


def present(encoder, graph):
    encoder.fit([graph])
    return encoder.get_feature_names_out()[encoder.transform([graph])[0] == 1].tolist()


def test_a_canonical_row_worked_by_hand():
    encoder = PathEncoder(operations=("a", "b", "skip_connect", "none"))
    assert present(encoder, GRAPH) == ["input>output", "input>b>output", "input>a>b>output"]
    assert encoder.max_length_ == 2
    assert encoder.get_feature_names_out().tolist() == [
        "input>output",
        "input>a>output",
        "input>b>output",
        "input>a>a>output",
        "input>a>b>output",
        "input>b>a>output",
        "input>b>b>output",
    ]


def test_without_canonical_form_an_identity_is_an_operation():
    encoder = PathEncoder(operations=("a", "b", "skip_connect"), canonical=False)
    assert present(encoder, GRAPH) == [
        "input>b>output",
        "input>skip_connect>output",
        "input>a>b>output",
    ]


def test_longer_paths_are_left_out():
    encoder = PathEncoder(operations=("a", "b"), max_length=1)
    assert present(encoder, GRAPH) == ["input>output", "input>b>output"]
    assert len(encoder.get_feature_names_out()) == 3
    # The first sequence that is too long is the one whose number is that of the columns.
    chain = ArchGraph(("input", "a", "a", "output"), ((0, 1), (1, 2), (2, 3)))
    assert present(encoder, chain) == []


def test_without_a_path_the_row_is_zero():
    graph = ArchGraph(("input", "a", "output"), ((0, 1),))
    encoder = PathEncoder(operations=("a",), max_length=2)
    assert present(encoder, graph) == []
    assert len(encoder.get_feature_names_out()) == 3


def test_repeated_paths_count_once():
    graph = ArchGraph(("input", "a", "output"), ((0, 1), (0, 1), (1, 2)))
    np.testing.assert_array_equal(PathEncoder().fit_transform([graph]), [[0, 1]])


def test_rows_agree_with_enumerated_paths():
    rng = np.random.default_rng(1)
    pairs = tuple(itertools.combinations(range(7), 2))
    for _ in range(20):
        names = ("input", *rng.choice(["a", "b", "c"], size=5).tolist(), "output")
        edges = [pair for pair in pairs if rng.random() < 0.5]
        expected = {
            ">".join(names[node] for node in path)
            for path in nx.all_simple_paths(nx.DiGraph([*edges, (-1, 0), (6, 7)]), 0, 6)
        }
        encoder = PathEncoder(operations=("a", "b", "c"), max_length=5)
        assert set(present(encoder, ArchGraph(names, edges))) == expected


def test_too_many_paths_are_refused_before_memory_is_taken():
    encoder = PathEncoder(operations=tuple("abcdefgh"), max_length=40)
    with pytest.raises(EncodingError, match="at most 1,000,000 paths, found 8 operations on paths"):
        encoder.fit([GRAPH])


@pytest.mark.parametrize("max_length", [-1, 2.0, True, "3"])
def test_max_length_is_a_whole_number(max_length):
    with pytest.raises(EncodingError, match="max_length as a whole number of at least 0, found"):
        PathEncoder(max_length=max_length).fit([GRAPH])


def chain(*operations):
    nodes = ("input", *operations, "output")
    return ArchGraph(nodes, [(node, node + 1) for node in range(len(nodes) - 1)])


def test_pieces_worked_by_hand():
    encoder = PathEncoder(operations=("a", "b"), max_length=2, pieces=True).fit([GRAPH])
    names, row = encoder.get_feature_names_out().tolist(), encoder.transform([GRAPH])[0]
    sequences = ["a", "b", "a>a", "a>b", "b>a", "b>b"]
    assert names == [
        *("input>output", *(f"input>{sequence}>output" for sequence in sequences)),
        *(f"input>{sequence}" for sequence in sequences),
        *(f"{sequence}>output" for sequence in sequences),
        *sequences,
    ]
    assert dict(zip(names, row, strict=True)) == {
        **dict.fromkeys(names, 0.0),
        **dict.fromkeys(["input>output", "input>b>output", "input>a>b>output"], 1.0),
        **dict.fromkeys(["input>a", "input>b", "input>a>b"], 1.0),
        **dict.fromkeys(["b>output", "a>b>output", "a", "b", "a>b"], 1.0),
    }


def test_pieces_are_counted():
    encoder = PathEncoder(operations=("a",), max_length=2, pieces=True)
    names = ["input>a", "input>a>a", "a>output", "a>a>output", "a", "a>a"]
    rows = encoder.fit_transform([chain("a", "a", "a"), chain("a", "a", "a", "a")])
    assert encoder.get_feature_names_out().tolist()[3:] == names
    np.testing.assert_array_equal(rows[:, :3], 0)
    np.testing.assert_array_equal(rows[:, 3:], [[1, 1, 1, 1, 3, 2], [1, 1, 1, 1, 4, 3]])


def test_counts_agree_with_enumerated_pieces():
    rng = np.random.default_rng(2)
    pairs = tuple(itertools.combinations(range(7), 2))
    for _ in range(20):
        names = ("input", *rng.choice(["a", "b"], size=5).tolist(), "output")
        edges = [pair for pair in pairs if rng.random() < 0.5]
        walks = {
            tuple(path[start:stop])
            for path in nx.all_simple_paths(nx.DiGraph([*edges, (-1, 0), (6, 7)]), 0, 6)
            for start, stop in itertools.combinations(range(len(path) + 1), 2)
        }
        expected = Counter(
            ">".join(names[node] for node in walk)
            for walk in walks
            if walk == (0, 6) or 1 <= len(set(walk) - {0, 6}) <= 3
        )
        graph = ArchGraph(names, edges)
        encoder = PathEncoder(("a", "b"), max_length=3, canonical=False, pieces=True).fit([graph])
        row = encoder.transform([graph])[0]
        found = zip(encoder.get_feature_names_out()[row > 0], row[row > 0], strict=True)
        assert dict(found) == expected


def test_where_whole_paths_need_too_many_columns_these_are_of_pieces_unless_asked_for():
    operations = [f"op{index}" for index in range(11)]
    graphs = [chain(*operations[:9]), chain(*operations[1:10]), chain(*operations[8::-1])]
    encoder = PathEncoder(operations=operations).fit(graphs)
    # 1 + 11 + 11² + 11³, and all but one of these three times more; with one more operation it
    # would be 64,417.
    assert (encoder.max_length_, encoder.pieces_) == (3, True)
    rows = encoder.transform(graphs)
    assert rows.shape[1] == 5_853
    assert len(np.unique(rows, axis=0)) == 3
    # 1 + 11 + 11² + 11³ + 11⁴ are whole paths, all of them shorter than these.
    whole = PathEncoder(operations=operations, pieces=False).fit(graphs)
    assert (whole.max_length_, whole.pieces_) == (4, False)
    assert whole.transform(graphs).shape[1] == 16_105
    assert not PathEncoder(operations=operations, max_length=3).fit(graphs).pieces_
    with pytest.raises(EncodingError, match="expected at most 1,000,000 paths"):
        PathEncoder(operations=operations, max_length=9).fit(graphs)
    # 12 operations on up to five nodes: 271,453 whole paths, and 1,085,809 with pieces.
    with pytest.raises(EncodingError, match="expected at most 1,000,000 paths"):
        PathEncoder(operations=[*operations, "op11"], max_length=5, pieces=True).fit(graphs)
    # Fitted attributes say which columns these are.
    again = PathEncoder(operations, max_length=3, pieces=True).fit(graphs[:1])
    np.testing.assert_array_equal(again.transform(graphs), rows)


def test_paths_that_have_room_are_whole():
    encoder = PathEncoder(operations=("a", "b")).fit([chain(*"ab" * 6)])
    assert (encoder.max_length_, encoder.pieces_) == (12, False)


def test_pieces_of_many_operations_are_single_ones():
    operations = [f"op{index}" for index in range(5_001)]
    graphs = [chain("op7", "op5000"), chain("op5000", "op7")]
    encoder = PathEncoder(operations=operations).fit(graphs)
    assert (encoder.max_length_, encoder.pieces_) == (1, True)
    rows = encoder.transform(graphs)
    assert rows.shape[1] == 1 + 4 * 5_001
    assert (rows[0] != rows[1]).any()


def test_a_graph_of_very_many_paths_is_encoded():
    # Thirty diamonds one after the other: 2³⁰ paths.
    edges = [
        edge
        for start in range(0, 90, 3)
        for edge in (
            *((start, start + 1), (start, start + 2)),
            *((start + 1, start + 3), (start + 2, start + 3)),
        )
    ]
    graph = ArchGraph(("input", *"abc" * 29, "a", "b", "c", "output"), [*edges, (90, 91)])
    encoder = PathEncoder(operations=("a", "b", "c")).fit([graph])
    row = dict(zip(encoder.get_feature_names_out(), encoder.transform([graph])[0], strict=True))
    assert (row["a"], row["a>c"], row["a>c>b"], row["b>c>a>c>output"]) == (30, 30, 29, 1)

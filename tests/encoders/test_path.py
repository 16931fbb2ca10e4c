import itertools

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


def test_too_many_long_paths_are_truncated_unless_asked_for():
    operations = [f"op{index}" for index in range(11)]
    nodes = ("input", *operations[:9], "output")
    chain = ArchGraph(nodes, tuple((node, node + 1) for node in range(10)))
    encoder = PathEncoder(operations=operations).fit([chain])
    # 1 + 11 + 11² + 11³ + 11⁴; one more operation would be 177,156 columns.
    assert encoder.max_length_ == 4
    assert len(encoder.get_feature_names_out()) == 16_105
    with pytest.raises(EncodingError, match="expected at most 1,000,000 paths"):
        PathEncoder(operations=operations, max_length=9).fit([chain])

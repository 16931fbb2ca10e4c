import numpy as np
import pandas as pd
import pytest

from encoders import (
    ENCODERS,
    AdjacencyEncoder,
    ArchGraph,
    GraphFeatureEncoder,
    LaplacianEncoder,
    PathEncoder,
)
from predictnas.errors import InputError
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import read_inputs
from predictnas.predictors.warp import YeoJohnson


def chain(*operations):
    nodes = ("input", *operations, "output")
    return ArchGraph(nodes, tuple((k, k + 1) for k in range(len(nodes) - 1)))


GRAPHS = [chain("a", "b"), chain("b", "b"), chain("b", "a"), chain("a", "a")]


@pytest.fixture
def inputs():
    proxies = {"small": [1.0, 2.0, 3.0, 4.0], "large": [1e9, -3e4, 2e7, 5.0]}
    return read_inputs(pd.DataFrame({"graph": GRAPHS, **proxies}))


def test_groups_have_unit_variance_and_zero_mean(inputs):
    features = Features.learn(inputs, ("adjacency", "path"), None)
    matrix = features.transform(inputs)
    assert matrix.flags.c_contiguous
    np.testing.assert_allclose(matrix.mean(axis=0), 0, atol=1e-12)
    assert features.groups.max() == 3  # adjacency, path, large, small
    for group in range(4):
        total = matrix[:, features.groups == group].var(axis=0).sum()
        assert total == pytest.approx(1.0)


def test_distances_within_an_encoding_are_those_of_the_encoding(inputs):
    features = Features.learn(inputs, ("adjacency", "path"), None)
    matrix = features.transform(inputs)
    for group, encoder in enumerate((AdjacencyEncoder(), PathEncoder())):
        encoded = encoder.fit_transform(GRAPHS)
        expected = ((encoded[:, None] - encoded) ** 2).sum(axis=-1)
        columns = matrix[:, features.groups == group]
        found = ((columns[:, None] - columns) ** 2).sum(axis=-1)
        np.testing.assert_allclose(found, expected / encoded.var(axis=0).sum(), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "encoder"), [("graf", GraphFeatureEncoder()), ("laplacian", LaplacianEncoder())]
)
def test_columns_of_different_units_are_standardised_within_their_encoding(name, encoder, inputs):
    features = Features.learn(inputs, (name, "path"), None)
    assert set(features.groups) == {0, 1, 2, 3}
    encoded = encoder.fit_transform(GRAPHS)
    columns = encoded[:, np.ptp(encoded, axis=0) > 1e-9]
    expected = (columns - columns.mean(axis=0)) / columns.std(axis=0) / np.sqrt(columns.shape[1])
    found = features.transform(inputs)[:, features.groups == 0]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.var(axis=0).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_graphs_larger_than_those_of_training_have_rows(encoding, inputs):
    features = Features.learn(inputs, encoding, None)
    larger = [chain("a", *"ba" * 4, *"b" * extra) for extra in (0, 1)]
    rows = features.transform(read_inputs(pd.DataFrame({"graph": larger, "small": 1, "large": 1})))
    assert rows.shape == (2, len(features.kept))
    assert np.isfinite(rows).all()
    # They do not change what is said of others in the same table.
    both = features.transform(
        read_inputs(pd.DataFrame({"graph": [*GRAPHS, *larger], "small": 1.0, "large": 1.0}))
    )
    alone = features.transform(read_inputs(pd.DataFrame({"graph": GRAPHS, "small": 1, "large": 1})))
    np.testing.assert_allclose(both[:4], alone, atol=1e-9)
    np.testing.assert_allclose(both[4:], rows, atol=1e-9)


def test_numeric_columns_are_warped_and_clipped_to_the_training_range(inputs):
    features = Features.learn(inputs, (), None)
    matrix = features.transform(inputs)
    large = inputs.numeric[:, 0]
    np.testing.assert_allclose(matrix[:, 0], YeoJohnson.learn(large).transform(large), atol=1e-12)
    beyond = read_inputs(pd.DataFrame({"graph": GRAPHS[:1], "small": [99.0], "large": [-1e300]}))
    np.testing.assert_allclose(features.transform(beyond)[0], [matrix[:, 0].min(), matrix[3, 1]])


def test_constant_columns_are_left_out(inputs):
    table = pd.DataFrame({"graph": GRAPHS, "constant": 0.1 + np.array([0, 1e-17, 0, -1e-17])})
    features = Features.learn(read_inputs(table), "path", None)
    assert [features.names[column] for column in features.kept] == [
        "input>a>a>output",
        "input>a>b>output",
        "input>b>a>output",
        "input>b>b>output",
    ]
    alone = Features.learn(read_inputs(table[["constant"]]), "path", None)
    unvarying = alone.transform(read_inputs(table[["constant"]]))
    np.testing.assert_allclose(unvarying, np.zeros((4, 1)), atol=1e-9)


def test_many_rows_are_encoded_in_chunks(inputs, monkeypatch):
    features = Features.learn(inputs, ("adjacency", "path"), None)
    whole = features.transform(inputs)
    monkeypatch.setattr("predictnas.predictors.features.CHUNK_ROWS", 3)
    np.testing.assert_array_equal(features.transform(inputs), whole)


def test_mistakes_are_refused(inputs):
    graphs = read_inputs(pd.DataFrame({"graph": GRAPHS}))
    with pytest.raises(InputError, match="unknown encoding 'one_hot'; choose from: adjacency"):
        Features.learn(graphs, ("path", "one_hot"), None)
    with pytest.raises(InputError, match="every encoding once, found path, path"):
        Features.learn(graphs, ("path", "path"), None)
    with pytest.raises(InputError, match="numeric columns beside 'graph' where no encoding"):
        Features.learn(graphs, (), None)
    with pytest.raises(InputError, match="expected encoding as a tuple of names, found 5"):
        Features.learn(graphs, 5, None)
    with pytest.raises(InputError, match="expected operations as a tuple of names, found 'a'"):
        Features.learn(graphs, "path", "a")
    features = Features.learn(graphs, "adjacency", None)
    with pytest.raises(InputError, match="found c; fit again"):
        features.transform(read_inputs(pd.DataFrame({"graph": [chain("c")]})))


def test_another_layout_of_an_encoding_is_noticed(inputs, monkeypatch):
    features = Features.learn(inputs, "path", None)
    features.check_layout()
    names = PathEncoder._feature_names
    monkeypatch.setattr(PathEncoder, "_feature_names", lambda self: names(self)[::-1])
    with pytest.raises(InputError, match="columns of encoding path as another version"):
        features.check_layout()


def test_unlabelled_graphs_scale_encodings_but_not_numbers(cells):
    table, _ = cells(40)
    few, whole = read_inputs(table[:8]), read_inputs(table)
    features = Features.learn(few, "graf", None, list(table["graph"][8:]))
    alone = read_inputs(table[["graph"]])
    graphs = Features.learn(alone, "graf", None)
    numbers = Features.learn(few, (), None)
    expected = np.hstack([graphs.transform(alone), numbers.transform(whole)])
    np.testing.assert_allclose(features.transform(whole), expected, rtol=1e-12)
    assert features.groups.max() == 2

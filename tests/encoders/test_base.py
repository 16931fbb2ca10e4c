"""What holds for every encoder of the registry."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError

from encoders import ENCODERS, ArchGraph, EncodingError, GraphBatch, get_encoder
from encoders.base import as_graphs

OPERATIONS = ("a", "b", "none", "skip_connect")
PAIRS = tuple(itertools.combinations(range(5), 2))
# What is trained is trained for a moment.
QUICK = {"embedding": {"steps": 3, "dimensions": 4}}
# Rows that are computed from eigenvalues or by a network are the same up to rounding only.
ROUNDED = {"rtol": 1e-8, "atol": 1e-8}

drawn_often = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def random_graph(draw):
    """Draw a graph of up to four inner nodes, numbered anyhow, some edges repeated."""
    names = draw(st.lists(st.sampled_from(OPERATIONS), max_size=4))
    nodes = len(names) + 2
    pairs = list(itertools.combinations(range(nodes), 2))
    times = draw(
        st.lists(st.sampled_from((0, 0, 1, 1, 2)), min_size=len(pairs), max_size=len(pairs))
    )
    edges = [pair for pair, count in zip(pairs, times, strict=True) for _ in range(count)]
    graph = ArchGraph(("input", *names, "output"), edges)
    return graph.relabelled(draw(st.permutations(range(nodes))))


random_graphs = st.lists(random_graph(), min_size=1, max_size=8)


def make(name, **parameters):
    return get_encoder(name)(operations=OPERATIONS, **QUICK.get(name, {}), **parameters)


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return make(request.param)


@pytest.fixture
def graphs():
    """Return forty graphs with three inner nodes, some of them twice."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(32):
        names = rng.choice(OPERATIONS, size=3).tolist()
        edges = [pair for pair in PAIRS if rng.random() < 0.6]
        drawn.append(ArchGraph(("input", *names, "output"), edges))
    return drawn + drawn[:8]


def test_the_constructor_only_stores(encoder):
    params = encoder.get_params()
    assert params["operations"] is OPERATIONS
    assert vars(encoder).keys() == params.keys()
    copy = clone(encoder)
    assert copy is not encoder
    assert copy.get_params() == params


def test_fitting_changes_no_parameter_and_returns_the_encoder(encoder, graphs):
    before = encoder.get_params()
    assert encoder.fit(graphs, y=np.zeros(len(graphs))) is encoder
    assert encoder.get_params() == before


def test_rows_are_finite_float64_and_as_many_as_graphs(encoder, graphs):
    given = list(graphs)
    array = encoder.fit_transform(graphs)
    assert type(array) is np.ndarray
    assert array.dtype == np.float64
    assert array.shape == (len(graphs), len(encoder.get_feature_names_out()))
    assert np.isfinite(array).all()
    assert graphs == given
    assert array.any()


def test_equal_graphs_have_equal_rows_and_rows_depend_on_their_graph_alone(encoder, graphs):
    array = encoder.fit(graphs).transform(graphs)
    np.testing.assert_array_equal(array[32:], array[:8])
    rebuilt = [ArchGraph(graph.operations, graph.edges[::-1]) for graph in graphs]
    np.testing.assert_array_equal(encoder.transform(rebuilt[::-1]), array[::-1])
    for graph, row in zip(graphs[:5], array, strict=False):
        np.testing.assert_array_equal(encoder.transform([graph])[0], row)


def test_canonical_encodings_are_the_same_for_isomorphic_graphs(encoder, graphs):
    encoder.set_params(canonical=True).fit(graphs)
    moved = [graph.relabelled((2, 0, 4, 3, 1)) for graph in graphs]
    np.testing.assert_array_equal(encoder.transform(moved), encoder.transform(graphs))


@pytest.mark.parametrize("canonical", [False, True])
@pytest.mark.parametrize("name", ENCODERS)
@given(graphs=random_graphs, data=st.data())
@drawn_often
def test_what_holds_for_any_graphs(name, canonical, graphs, data):
    encoder = make(name, canonical=canonical).fit(graphs)
    array = encoder.transform(graphs)
    names = encoder.get_feature_names_out()
    assert array.dtype == np.float64
    assert array.shape == (len(graphs), len(names))
    assert np.isfinite(array).all()
    assert len(set(names)) == len(names)
    # A batch is as good as its graphs one by one, in any order, and as arrays.
    order = data.draw(st.permutations(range(len(graphs))))
    np.testing.assert_array_equal(encoder.transform([graphs[i] for i in order]), array[order])
    np.testing.assert_array_equal(np.vstack([encoder.transform([g]) for g in graphs]), array)
    arrays = GraphBatch.of(graphs, OPERATIONS[::-1])
    np.testing.assert_allclose(encoder.transform(arrays), array, **ROUNDED)
    # Relabelling changes nothing in canonical forms, nor where the encoder says so.
    moved = [g.relabelled(data.draw(st.permutations(range(g.num_nodes)))) for g in graphs]
    if canonical:
        np.testing.assert_array_equal(encoder.transform(moved), array)
    elif encoder.invariant:
        np.testing.assert_allclose(encoder.transform(moved), array, **ROUNDED)
    # Fitting again forgets what was there before.
    np.testing.assert_array_equal(encoder.fit(moved[:1]).fit(graphs).transform(graphs), array)
    assert encoder.get_feature_names_out().tolist() == names.tolist()


@pytest.mark.parametrize("name", [name for name in ENCODERS if not ENCODERS[name].invariant])
def test_what_is_not_declared_invariant_is_not(name):
    graph = ArchGraph(("input", "a", "b", "output"), ((0, 1), (1, 3), (0, 2), (2, 3)))
    encoder = make(name, canonical=False).fit([graph])
    rows = encoder.transform([graph, graph.relabelled((0, 2, 1, 3))])
    assert not np.array_equal(rows[0], rows[1])


def test_a_fit_to_arrays_is_one_to_their_graphs(encoder, graphs):
    arrays = GraphBatch.of(graphs, OPERATIONS)
    names = encoder.fit(graphs).get_feature_names_out().tolist()
    array = encoder.transform(graphs)
    assert encoder.fit(arrays).get_feature_names_out().tolist() == names
    np.testing.assert_array_equal(encoder.transform(arrays), array)


LAYOUTS = [name for name in ENCODERS if not ENCODERS[name].learns_weights]


@pytest.mark.parametrize("canonical", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_same_layout_comes_from_given_and_from_learnt_parameters(name, graphs, canonical):
    """All that is learnt is in attributes with the name of their parameter."""
    encoder = get_encoder(name)
    learnt = encoder(canonical=canonical).fit(graphs)
    given = {
        name: getattr(learnt, f"{name}_", value) for name, value in learnt.get_params().items()
    }
    rebuilt = encoder(**given).fit(graphs[:1])
    names = learnt.get_feature_names_out().tolist()
    assert rebuilt.get_feature_names_out().tolist() == names
    np.testing.assert_array_equal(rebuilt.transform(graphs), learnt.transform(graphs))


def test_feature_names_are_distinct_strings(encoder, graphs):
    names = encoder.fit(graphs).get_feature_names_out()
    assert names.dtype == object
    assert len(set(names)) == len(names)
    assert all(type(name) is str for name in names)


def test_every_form_of_column_gives_the_same_rows(encoder, graphs):
    array = encoder.fit(graphs).transform(graphs)
    objects = np.array(graphs, dtype=object)
    for column in (
        tuple(graphs),
        objects,
        objects[:, None],
        pd.Series(graphs, index=range(100, 140)),
        pd.DataFrame({"graph": graphs}),
    ):
        np.testing.assert_array_equal(encoder.transform(column), array)


def test_it_composes_with_numeric_columns_and_pandas_output(encoder, graphs):
    table = pd.DataFrame({"graph": graphs, "size": np.arange(40.0)})
    composed = ColumnTransformer([("cell", encoder, "graph"), ("number", "passthrough", ["size"])])
    array = composed.fit_transform(table)
    np.testing.assert_array_equal(array[:, -1], table["size"])
    np.testing.assert_array_equal(array[:, :-1], encoder.fit_transform(graphs))
    assert composed.get_feature_names_out()[-1] == "number__size"
    frame = composed.set_output(transform="pandas").fit_transform(table)
    np.testing.assert_array_equal(frame, array)


def test_no_graphs_make_no_rows(encoder, graphs):
    width = encoder.fit_transform(graphs).shape[1]
    assert encoder.transform([]).shape == (0, width)


def test_fitting_to_no_graphs_is_refused(encoder):
    with pytest.raises(EncodingError, match="at least one graph to fit to, found none"):
        encoder.fit([])


def test_an_operation_outside_the_vocabulary_is_refused_by_name(encoder, graphs):
    stranger = ArchGraph(("input", "a", "pool", "output"), ((0, 1), (1, 2), (2, 3)))
    arrays = GraphBatch.of([stranger], ("pool", "a"))
    encoder.fit(graphs)
    for column in ([*graphs, stranger], arrays):
        with pytest.raises(EncodingError, match=r"operations a, b.*, found pool; fit again"):
            encoder.transform(column)


def test_an_encoder_that_is_not_fitted_says_so(encoder, graphs):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        encoder.transform(graphs)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        encoder.get_feature_names_out()


@pytest.mark.parametrize("operations", [("a", "a"), ("a", "input"), ("output",)])
def test_a_vocabulary_with_repeats_or_ends_is_refused(encoder, graphs, operations):
    with pytest.raises(EncodingError, match="expected every operation once, without 'input'"):
        encoder.set_params(operations=operations).fit(graphs)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (ArchGraph(("input", "output"), ()), "found one ArchGraph; put it into a list"),
        ("graph", "found one str"),
        (None, "found one NoneType"),
        ([ArchGraph(("input", "output"), ()), None], "found NoneType in row 1"),
        (pd.DataFrame({"a": [1], "b": [2]}), r"found an array of shape \(1, 2\)"),
        (np.zeros((2, 1, 1)), r"found an array of shape \(2, 1, 1\)"),
        (np.zeros(2), "found float64 in row 0"),
    ],
)
def test_what_is_no_column_of_graphs_is_refused(column, message):
    with pytest.raises(EncodingError, match=message):
        as_graphs(column)


def test_an_unknown_encoder_is_refused_with_the_choices():
    with pytest.raises(
        EncodingError, match="unknown encoder 'paths'; choose from: adjacency, path"
    ):
        get_encoder("paths")

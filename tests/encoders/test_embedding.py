import itertools
import pickle

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.linear_model import Ridge

from encoders import AdjacencyEncoder, ArchGraph, EmbeddingEncoder, EncodingError, GraphBatch

OPERATIONS = ("conv", "pool", "none", "skip_connect")
# Two nodes between input and output, an operation on each of the six edges.
ENDS = tuple(itertools.combinations(range(4), 2))
WIRING = [
    *((0, 1 + edge) for edge, (source, _) in enumerate(ENDS) if source == 0),
    *((1 + edge, 7) for edge, (_, target) in enumerate(ENDS) if target == 3),
    *((1 + i, 1 + j) for i, j in itertools.permutations(range(6), 2) if ENDS[i][1] == ENDS[j][0]),
]


def cell(names):
    return ArchGraph(("input", *names, "output"), WIRING)


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    return [cell(rng.choice(OPERATIONS, size=6).tolist()) for _ in range(400)]


@pytest.fixture(scope="module")
def encoder(cells):
    return EmbeddingEncoder(OPERATIONS, dimensions=16).fit(cells[:300])


def quality(graph):
    """Return the most convolutions on a path, less a little for every pooling."""
    form = graph.canonical()
    longest = {0: 0}
    for node in form.topological_order()[1:]:
        before = [longest[source] for source in form.predecessors[node]]
        longest[node] = max(before, default=0) + (form.operations[node] == "conv")
    return longest[form.num_nodes - 1] - 0.3 * form.operations.count("pool")


def test_points_of_cells_that_differ_little_are_close(encoder, cells):
    rng = np.random.default_rng(1)
    edits, distances = [], []
    for graph in cells[300:]:
        names = list(graph.operations[1:-1])
        origin = encoder.transform([graph])[0]
        for count, edge in enumerate(rng.permutation(6).tolist(), start=1):
            names[edge] = rng.choice([name for name in OPERATIONS[:3] if name != names[edge]])
            edits.append(count)
            distances.append(np.linalg.norm(encoder.transform([cell(names)])[0] - origin))
    assert spearmanr(edits, distances).statistic > 0.3
    means = [np.mean([d for d, e in zip(distances, edits, strict=True) if e == n]) for n in (1, 5)]
    assert means[0] < 0.7 * means[1]


def test_a_linear_model_on_points_predicts_better_than_on_one_hot_operations(encoder, cells):
    labels = np.array([quality(graph) for graph in cells])
    rank = []
    for rows in (
        encoder.transform(cells),
        AdjacencyEncoder(OPERATIONS).fit_transform(cells),
    ):
        rows = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-9)
        model = Ridge(alpha=1.0).fit(rows[:60], labels[:60])
        rank.append(spearmanr(model.predict(rows[300:]), labels[300:]).statistic)
    assert rank[0] > 0.8
    assert rank[0] > rank[1] + 0.05


def test_training_makes_points_tell_more(cells):
    forms = list(dict.fromkeys(graph.canonical() for graph in cells[:300]))
    errors = []
    for steps in (0, 150):
        encoder = EmbeddingEncoder(OPERATIONS, dimensions=8, steps=steps).fit(forms)
        targets = torch.from_numpy(np.hstack(encoder._descriptions(forms)))
        inputs = encoder.network_.inputs(GraphBatch.of(forms, encoder.operations_))
        errors.append(encoder.network_.error(*inputs, targets).item())
    assert errors[1] < 0.5 * errors[0]


def test_scores_are_told_by_the_points(cells):
    cells, rng = cells[:150], np.random.default_rng(2)
    # A number that the structure does not tell: another one for every canonical form.
    hidden = {}
    for graph in cells:
        hidden.setdefault(graph.canonical(), rng.normal())
    scores = np.array([[np.exp(5 * hidden[graph.canonical()]), np.nan] for graph in cells])
    scores[::7, 0] = np.nan
    known = ~np.isnan(scores[:, 0])
    ranks = []
    for given in (None, scores):
        encoder = EmbeddingEncoder(OPERATIONS, steps=150).fit(cells, scores=given)
        points = encoder.transform(cells)[known]
        told = Ridge(1e-3).fit(points, np.log(scores[known, 0])).predict(points)
        ranks.append(spearmanr(told, scores[known, 0]).statistic)
    assert ranks[1] > ranks[0] + 0.15


def test_the_same_seed_gives_the_same_points_and_torch_is_left_alone(cells):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    rows = [
        EmbeddingEncoder(OPERATIONS, steps=5, seed=seed).fit(cells[:50]).transform(cells[:5])
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.allclose(rows[0], rows[2])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_labels_are_ignored(cells):
    encoder = EmbeddingEncoder(OPERATIONS, steps=5)
    rows = encoder.fit(cells[:50]).transform(cells[:5])
    labels = np.arange(50)
    np.testing.assert_array_equal(encoder.fit(cells[:50], labels).transform(cells[:5]), rows)


def test_what_is_fitted_can_be_pickled_and_a_clone_is_not_fitted(encoder, cells):
    copy = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(copy.transform(cells[:5]), encoder.transform(cells[:5]))
    assert not hasattr(clone(encoder), "network_")


@pytest.mark.parametrize(
    "parameters", [{"dimensions": 0}, {"dimensions": 2.5}, {"steps": -1}, {"seed": True}]
)
def test_parameters_are_whole_numbers(cells, parameters):
    (name,) = parameters
    with pytest.raises(EncodingError, match=f"expected {name} as a whole number of at least"):
        EmbeddingEncoder(OPERATIONS, **parameters).fit(cells[:5])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros(4), r"shape \(5,\) or \(5, c\), found float64 of shape \(4,\)"),
        (np.zeros((5, 1, 1)), r"found float64 of shape \(5, 1, 1\)"),
        (["a"] * 5, "expected scores as numbers"),
        (np.full(5, np.inf), "expected finite scores, found infinite ones; write NaN"),
    ],
)
def test_scores_that_do_not_fit_are_refused(cells, scores, message):
    with pytest.raises(EncodingError, match=message):
        EmbeddingEncoder(OPERATIONS).fit(cells[:5], scores=scores)

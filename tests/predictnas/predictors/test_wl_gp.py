from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.predictors import WLGPPredictor
from predictnas.predictors.wl_kernel import WLGraphs, gram_among, grams_by_iterations
from predictnas.predictors.wl_search import covariance, most_likely_gram
from predictnas.spaces.nasbench201 import NasBench201


def subtrees(graph, iterations):
    """Count the labels of all iterations, labels being nested tuples."""
    graph = graph.canonical()
    labels = list(graph.operations)
    counts = Counter((0, label) for label in labels)
    for iteration in range(1, iterations + 1):
        before = [
            sorted((labels[u] for u, v in graph.edges if v == node), key=repr)
            for node in range(graph.num_nodes)
        ]
        after = [
            sorted((labels[v] for u, v in graph.edges if u == node), key=repr)
            for node in range(graph.num_nodes)
        ]
        labels = [
            (label, tuple(above), tuple(below))
            for label, above, below in zip(labels, before, after, strict=True)
        ]
        counts.update((iteration, label) for label in labels)
    return counts


def brute_force(first, second, iterations):
    counts = [[subtrees(graph, iterations) for graph in graphs] for graphs in (first, second)]

    def product(one, other):
        return sum(number * other[label] for label, number in one.items())

    return np.array(
        [
            [product(a, b) / np.sqrt(product(a, a) * product(b, b)) for b in counts[1]]
            for a in counts[0]
        ]
    )


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_kernel_is_that_of_counted_subtrees(iterations, cells):
    graphs = list(cells(24)[0]["graph"])
    seen, new = graphs[:10], graphs[10:]
    learned = WLGraphs.learn(seen, NasBench201.operations, iterations)
    np.testing.assert_allclose(
        (learned.rows @ learned.rows.T).toarray(), brute_force(seen, seen, iterations)
    )
    rows = learned.transform(new)
    assert iterations == 0 or rows.shape[1] > len(learned.labels)  # labels that are new
    np.testing.assert_allclose(learned.cross(rows), brute_force(new, seen, iterations))
    # Labels that no training graph has are shared among new graphs, and lengthen them.
    numbers = np.array([[0, 3, 3], [7, 1, 13]])
    among = brute_force(new, new, iterations)
    found = gram_among(rows, numbers)
    np.testing.assert_allclose(found, among[numbers[:, :, None], numbers[:, None, :]])
    np.testing.assert_allclose(gram_among(rows, np.arange(14)), among)
    np.testing.assert_allclose(gram_among(rows, numbers[:, :1]), np.ones((2, 1, 1)))


def test_grams_of_fewer_iterations_are_those_of_their_own_counts(cells):
    graphs = list(cells(12)[0]["graph"])
    grams = grams_by_iterations(WLGraphs.learn(graphs, None, 2))
    for iterations, gram in enumerate(grams):
        np.testing.assert_allclose(gram, brute_force(graphs, graphs, iterations))


def test_kernel_with_numbers_is_the_formula():
    rng = np.random.default_rng(0)
    gram = rng.random((4, 5))
    first, second = rng.standard_normal((4, 2)), rng.standard_normal((5, 2))
    rbf = np.exp(-0.5 * ((first[:, None] - second) ** 2).sum(axis=-1))
    scales = np.array([0.5, 0.2, 0.7])
    given = [torch.from_numpy(each) for each in (scales, gram, first, second)]
    expected = 0.5 * gram * rbf + 0.2 * gram + 0.7 * rbf
    np.testing.assert_allclose(covariance(*given), expected)
    scales[1:] = 0
    alone = covariance(given[0], None, *given[2:])
    np.testing.assert_allclose(alone, 0.5 * rbf)
    graphs = covariance(given[0], given[1], torch.zeros(4, 0), torch.zeros(5, 0))
    np.testing.assert_allclose(graphs, 0.5 * gram)


@pytest.mark.parametrize("columns", [["graph"], ["graph", "proxy_heavy", "proxy_noise"]])
def test_posterior_is_the_dense_one(columns, cells):
    table, accuracy = cells(40, noise=0.3)
    table = table[columns]
    predictor = WLGPPredictor(warp="none", iterations=2).fit(table[:30], accuracy[:30])
    found = predictor.hyperparameters_
    gram = brute_force(list(table["graph"]), list(table["graph"]), 2)
    rbf = np.ones((40, 40))
    if len(columns) > 1:
        # Numbers are compared as `Features` lays them out, which has tests of its own.
        from predictnas.predictors.inputs import read_inputs

        rows = predictor.features_.transform(read_inputs(table)) / found.lengthscales
        rbf = np.exp(-0.5 * ((rows[:, None] - rows) ** 2).sum(axis=-1))
        prior = found.scales[0] * gram * rbf + found.scales[1] * gram + found.scales[2] * rbf
    else:
        prior = found.scales[0] * gram
        assert found.scales[1:].tolist() == [0, 0]
    noisy = prior[:30, :30] + found.noise * np.eye(30)
    targets = predictor.warp_.transform(accuracy[:30]) - found.mean
    mean = found.mean + prior[30:, :30] @ np.linalg.solve(noisy, targets)
    joint = prior[30:, 30:] - prior[30:, :30] @ np.linalg.solve(noisy, prior[:30, 30:])
    std = np.sqrt(np.diag(joint) + found.noise)
    expected = predictor.warp_.moments(mean, std)
    np.testing.assert_allclose(predictor.predict(table[30:], return_std=True), expected, rtol=1e-7)
    unit = predictor.warp_.std * predictor.warp_.scale
    covariances = predictor.posterior(table[30:]).distribution.covariance_matrix.numpy()
    np.testing.assert_allclose(covariances, joint * unit**2, atol=1e-5 * unit**2)


def test_the_most_likely_number_of_iterations_is_chosen():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 3))
    targets = rows[:, 0]
    right, wrong = (np.outer(rows[:, column], rows[:, column]) for column in (0, 2))
    assert most_likely_gram([wrong, right, np.eye(60)], targets, 100) == 1
    # Here the order of operations decides, which their numbers alone do not tell.
    space = NasBench201()
    graphs = space.graphs(space.sample(80, rng, distinct=True))
    quality = np.array(
        [subtrees(graph, 2)[1, ("nor_conv_3x3", ("input",), ("output",))] for graph in graphs]
    )
    predictor = WLGPPredictor().fit(pd.DataFrame({"graph": graphs}), 90 + quality)
    assert predictor.graphs_.iterations >= 1


def test_encodings_can_stand_beside_the_kernel(cells):
    table, accuracy = cells(120)
    table = table[["graph"]]
    plain = WLGPPredictor().fit(table[:60], accuracy[:60])
    beside = WLGPPredictor(encoding="graf").fit(table[:60], accuracy[:60])
    assert plain.features_ is None
    assert beside.features_.encodings.names == ("graf",)
    assert spearmanr(beside.predict(table[60:]), accuracy[60:]).statistic > 0.8


def test_vocabularies_without_sense_are_refused(cells):
    table, accuracy = cells(5)
    with pytest.raises(InputError, match="expected operations as a tuple of names, found 'a'"):
        WLGPPredictor(operations="a").fit(table[["graph"]], accuracy)
    fitted = WLGPPredictor().fit(table[["graph"]], accuracy)
    odd = ArchGraph(("input", "strange", "output"), ((0, 1), (1, 2)))
    with pytest.raises(InputError, match="found strange"):
        fitted.predict(pd.DataFrame({"graph": [odd]}))


@pytest.mark.parametrize("limit", [1000, 12])
def test_order_of_training_rows_makes_no_difference(cells, limit):
    table, accuracy = cells(40)
    order = np.random.default_rng(0).permutation(30)
    first = WLGPPredictor(max_search_labels=limit).fit(table[:30], accuracy[:30])
    second = WLGPPredictor(max_search_labels=limit).fit(table.iloc[order], accuracy[order])
    np.testing.assert_allclose(second.predict(table), first.predict(table), rtol=1e-3)

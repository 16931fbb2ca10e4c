import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.predictors import GNNPredictor, load_predictor, save_predictor
from predictnas.predictors.flow_graph import FlowGraphs
from predictnas.predictors.flow_network import FlowWeights
from predictnas.predictors.flow_training import predict, start, train
from predictnas.predictors.gnn import _line
from predictnas.predictors.ranking import LOSSES, hinge
from predictnas.spaces.nasbench201 import NasBench201

SMALL = {"repeats": 2, "width": 8, "steps": 30, "operations": NasBench201.operations}


@pytest.fixture(scope="module")
def graphs(cells):
    table, accuracy = cells(24)
    operations = ("avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
    batch = FlowGraphs.of([graph.canonical() for graph in table["graph"]], operations)
    numbers = np.random.default_rng(0).standard_normal((24, 2))
    return batch, numbers, accuracy[:, None]


def trained(graphs, weights, seen, **changes):
    batch, numbers, targets = graphs
    settings = {"loss": hinge, "learning_rate": 0.01, "steps": 8, "batch_size": 100} | changes
    generator = np.random.default_rng(5)
    arrays = train(weights, batch, numbers, targets, seen, generator=generator, **settings)
    return predict(arrays, batch, np.arange(len(batch)), numbers)


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("batch_size", [100, 10])
def test_a_member_is_what_it_would_be_alone(loss, batch_size, graphs):
    weights = start(3, 3, 6, 2, 12, 1, np.random.default_rng(0))
    seen = np.arange(24) % 3 != np.arange(3)[:, None]
    settings = {"loss": LOSSES[loss], "batch_size": batch_size}
    together = trained(graphs, weights, seen, **settings)
    by_direction = {"start", "gates", "turn", "bias"}
    for member in range(3):
        alone = {}
        for name, each in weights._asdict().items():
            axis = (2 if name == "gates" else 1) if name in by_direction else 0
            alone[name] = each.narrow(axis, member, 1)
        single = trained(graphs, FlowWeights(**alone), seen[member : member + 1], **settings)
        # Losses of order leave the mean of the scores to rounding errors.
        shift = 0.0 if loss == "squared" else (together[member] - single[0]).mean()
        np.testing.assert_allclose(together[member], single[0] + shift, atol=1e-4)


def test_members_never_see_what_they_leave_out(graphs):
    batch, numbers, targets = graphs
    weights = start(2, 3, 6, 2, 12, 1, np.random.default_rng(0))
    seen = np.ones((2, 24), dtype=bool)
    seen[1, 7] = False
    changed = targets.copy()
    changed[7] += 50.0
    before = trained(graphs, weights, seen)
    after = trained((batch, numbers, changed), weights, seen)
    np.testing.assert_array_equal(before[1], after[1])
    assert np.abs(before[0] - after[0]).max() > 1e-3


def test_line_takes_scores_to_the_unit_of_targets():
    rng = np.random.default_rng(0)
    targets = rng.standard_normal(400)
    targets = (targets - targets.mean()) / targets.std()
    scores = np.stack([3.0 + 0.01 * targets, -50.0 + 7.0 * targets])
    held_out = np.stack([np.arange(400) % 2 == 0, np.arange(400) % 2 == 1])
    twice = np.concatenate([scores, scores]), np.concatenate([held_out, held_out])
    factors, shifts = _line(twice[0], targets, twice[1], 2)
    np.testing.assert_allclose(
        factors[:, None] * twice[0] + shifts[:, None], np.tile(targets, (4, 1)), atol=0.01
    )
    # Where unseen labels say that the order is wrong, scores keep it and mean next to nothing.
    factors, _ = _line(-twice[0], targets, twice[1], 2)
    assert (factors > 0).all()
    # Members that say nothing stay silent.
    factors, shifts = _line(np.zeros((4, 400)), targets, twice[1], 2)
    np.testing.assert_allclose(shifts, 0.0, atol=1e-12)


def test_order_of_training_rows_makes_no_difference(cells):
    table, accuracy = cells(30)
    first = GNNPredictor(**SMALL).fit(table[:20], accuracy[:20])
    order = np.random.default_rng(0).permutation(20)
    second = GNNPredictor(**SMALL).fit(table[:20].iloc[order], accuracy[:20][order])
    np.testing.assert_allclose(first.predict(table), second.predict(table), rtol=1e-6)
    held_out, moved = first.held_out_predictions(), second.held_out_predictions()
    np.testing.assert_allclose(np.array(held_out)[:, order], moved, rtol=1e-5)


def test_isomorphic_graphs_are_one_architecture(cells):
    table, accuracy = cells(20)
    predictor = GNNPredictor(**SMALL).fit(table[["graph"]], accuracy)
    graph = table["graph"][3]
    turned = list(range(graph.num_nodes))[::-1]
    twin = ArchGraph(
        graph.operations[::-1],
        tuple((turned[source], turned[target]) for source, target in graph.edges),
    )
    assert twin != graph
    pair = predictor.predict(pd.DataFrame({"graph": [graph, twin]}), return_std=True)
    np.testing.assert_allclose(pair[0][0], pair[0][1], rtol=1e-12)


def test_larger_graphs_than_those_of_fit(cells):
    table, accuracy = cells(20)
    predictor = GNNPredictor(**SMALL).fit(table[["graph"]], accuracy)
    nodes = 30
    names = ("input", *["nor_conv_3x3", "avg_pool_3x3"] * (nodes // 2 - 1), "output")
    dense = tuple((a, b) for b in range(nodes) for a in range(max(0, b - 3), b))
    mean, std = predictor.predict(
        pd.DataFrame({"graph": [ArchGraph(names, dense)]}), return_std=True
    )
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()


@pytest.fixture(scope="module")
def pretrained(cells):
    table, _ = cells(200, seed=9)
    return GNNPredictor(**SMALL).pretrain(table, steps=60).pretrained


def test_pretraining_tells_numeric_columns_from_graphs_and_helps(pretrained, cells):
    table, accuracy = cells(500, seed=2)
    ranks = {}
    for first_weights in (None, pretrained):
        predictor = GNNPredictor(encoding=(), pretrained=first_weights, **SMALL)
        predictor.fit(table[["graph"]][:30], accuracy[:30])
        prediction = predictor.predict(table[["graph"]][30:])
        ranks[first_weights is not None] = kendalltau(prediction, accuracy[30:]).statistic
    assert ranks[True] > ranks[False]


def test_pretrained_weights_are_a_parameter(pretrained, cells, tmp_path):
    table, accuracy = cells(30)
    before = [array.copy() for array in pretrained.weights]
    predictor = GNNPredictor(pretrained=pretrained, **SMALL).fit(table, accuracy)
    for array, kept in zip(pretrained.weights, before, strict=True):
        np.testing.assert_array_equal(array, kept)
    save_predictor(predictor, tmp_path / "gnn")
    loaded, _ = load_predictor(tmp_path / "gnn")
    np.testing.assert_array_equal(loaded.predict(table), predictor.predict(table))
    assert loaded.pretrained.operations == pretrained.operations
    again = loaded.fit(table, accuracy)
    np.testing.assert_array_equal(again.predict(table), predictor.predict(table))


def test_pretraining_that_does_not_fit_is_refused(pretrained, cells):
    table, accuracy = cells(20)
    message = "expected pretrained weights of 10 members of width 9, found 10 of width 8"
    with pytest.raises(InputError, match=message):
        GNNPredictor(**SMALL | {"width": 9}, pretrained=pretrained).fit(table, accuracy)
    with pytest.raises(InputError, match="operations that there were in pretraining.*attention"):
        GNNPredictor(
            **SMALL | {"operations": (*NasBench201.operations, "attention")}, pretrained=pretrained
        ).fit(table, accuracy)
    with pytest.raises(InputError, match="expected a column 'graph' to pretrain on, found none"):
        GNNPredictor().pretrain(table[["proxy_heavy"]])
    with pytest.raises(InputError, match="expected steps as a whole number of at least 1"):
        GNNPredictor().pretrain(table, steps=0)


def test_pretraining_needs_graphs_that_differ(cells):
    table, _ = cells(3)
    alike = table.iloc[[0, 0, 0]]
    with pytest.raises(InputError, match="different graphs to pretrain on, found 3 alike"):
        GNNPredictor(**SMALL).pretrain(alike)

import numpy as np
import pytest

from predictnas.predictors import AutoPredictor, get_predictor
from predictnas.predictors.ensemble import excess_share, left_out, unseen
from predictnas.predictors.stacking import stack_weights


def test_copies_of_an_architecture_are_left_out_together():
    architectures = np.tile(np.arange(7), 3)
    held_out = left_out(architectures, 3, 2, np.random.default_rng(0))
    assert held_out.shape == (6, 21)
    np.testing.assert_array_equal(held_out[:, :7], held_out[:, 7:14])
    np.testing.assert_array_equal(held_out[:3].sum(axis=0), np.ones(21))
    np.testing.assert_array_equal(held_out[3:].sum(axis=0), np.ones(21))


def test_of_few_architectures_each_is_a_fold_and_one_is_left_out_nowhere():
    generator = np.random.default_rng(0)
    assert left_out(np.array([0, 1, 2]), 5, 2, generator).sum(axis=1).tolist() == [1] * 6
    nothing = left_out(np.zeros(4, dtype=np.int64), 5, 2, generator)
    assert nothing.shape == (10, 4)
    assert not nothing.any()
    means, variances = unseen(np.ones((10, 4)), nothing, 2)
    assert np.isnan(means).all()
    assert np.isnan(variances).all()


def test_a_label_is_judged_by_the_members_that_did_not_see_it():
    # Two splits into two folds: of label 0, members 0 and 3 know nothing; of label 1, 1 and 2.
    held_out = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.bool_)
    predictions = np.array([[1.0, 9.0], [9.0, 2.0], [9.0, 6.0], [4.0, 9.0]])
    means, variances = unseen(predictions, held_out, 2)
    np.testing.assert_allclose(means, [2.5, 4.0])
    np.testing.assert_allclose(variances, [4.5, 8.0])


def test_fewer_members_vary_more_by_their_share():
    rng = np.random.default_rng(0)
    held_out = left_out(np.arange(50), 5, 2, rng)
    predictions = rng.normal(size=(10, 4000))
    few, all_of_them = predictions[:2].mean(axis=0).var(), predictions.mean(axis=0).var()
    share = excess_share(held_out, 2)
    assert share == 0.4
    np.testing.assert_allclose(few - all_of_them, share * predictions.var(), rtol=0.1)


@pytest.mark.parametrize("name", ["gnn", "mlp", "boosting"])
def test_ensembles_know_the_excess_of_their_held_out_means(cells, name):
    table, accuracy = cells(40, noise=0.5)
    predictor = get_predictor(name, folds=4, repeats=2).fit(table, accuracy)
    _, stds = predictor.held_out_
    spreads = (stds**2 - predictor.noise_) / predictor.factor_
    np.testing.assert_allclose(predictor.held_out_excess_, (1 / 2 - 1 / 8) * spreads, atol=1e-9)
    assert (predictor.held_out_excess_ > 0).all()


def test_a_stack_weighs_members_with_their_excess(cells):
    table, accuracy = cells(40, noise=0.5)
    stack = AutoPredictor(members=("gp", "gnn")).fit(table, accuracy)
    excess = stack.members_[1].held_out_excess_
    assert stack.members_[0]._held_out_excess() is None
    np.testing.assert_allclose(stack.held_out_excess_, stack.weights_[1] ** 2 * excess)
    held_out = np.array([member.held_out_predictions() for member in stack.members_])
    targets, draws = stack.warp_.transform(accuracy), np.random.default_rng(0)
    expected = stack_weights(
        *held_out.swapaxes(0, 1), targets, 5.0, draws, excess=np.stack([0 * excess, excess])
    )
    np.testing.assert_allclose(stack.weights_, expected, rtol=1e-6)

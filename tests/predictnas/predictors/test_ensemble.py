import numpy as np

from predictnas.predictors.ensemble import left_out, unseen


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

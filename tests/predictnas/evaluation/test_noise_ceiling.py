from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from predictnas.errors import InputError
from predictnas.evaluation import noise_ceiling


def test_against_scipy():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(40, 1)) + 0.5 * rng.normal(size=(40, 4))
    ceiling = noise_ceiling(labels)
    pairs = [stats.kendalltau(labels[:, i], labels[:, j])[0] for i, j in combinations(range(4), 2)]
    against = [
        stats.kendalltau(labels[:, i], np.delete(labels, i, axis=1).mean(axis=1))[0]
        for i in range(4)
    ]
    assert (ceiling.n, ceiling.num_seeds) == (40, 4)
    assert ceiling.between_seeds == pytest.approx(np.mean(pairs))
    assert ceiling.one_against_others == pytest.approx(np.mean(against))
    assert ceiling.one_against_others > ceiling.between_seeds


def test_by_hand():
    # Seeds 1 2 3, 1 3 2 and 2 1 3: of three pairs two agree, two agree and one agrees.
    ceiling = noise_ceiling([[1, 1, 2], [2, 3, 1], [3, 2, 3]])
    assert ceiling.between_seeds == pytest.approx((1 / 3 + 1 / 3 - 1 / 3) / 3)
    # Against the means of the others, 1.5 2 2.5, 1.5 1.5 3 and 1 2.5 2.5: all pairs agree; of two
    # untied ones one does (τ 0); of two untied ones one does (τ 0).
    assert ceiling.one_against_others == pytest.approx(1 / 3)


def test_mean_of_seeds_against_what_is_expected():
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(4000, 1))
    labels = expected + 0.8 * rng.normal(size=(4000, 3))
    reached = stats.kendalltau(labels.mean(axis=1), expected[:, 0])[0]
    assert noise_ceiling(labels).of_mean == pytest.approx(reached, abs=0.015)
    # τ 1/3 is r = 1/2; of three, R = 3/4, whose root is the sine of 60°.
    assert noise_ceiling([[1, 2], [2, 1], [3, 3]]).of_mean == pytest.approx(
        2 / np.pi * np.arcsin(np.sqrt(2 / 3))
    )
    assert np.isnan(noise_ceiling([[1, 2], [2, 1]]).of_mean)


def test_two_seeds_are_one_against_the_other():
    ceiling = noise_ceiling([[1, 2], [2, 1], [3, 3], [4, 5]])
    assert ceiling.between_seeds == ceiling.one_against_others == pytest.approx(2 / 3)


def test_architectures_with_fewer_labels_are_left_out():
    nan = np.nan
    labels = [[1, 1, 2], [2, 3, 1], [3, 2, 3], [9, nan, nan], [0, 9, nan]]
    assert noise_ceiling(labels) == noise_ceiling(labels[:3])
    mostly_two = [[nan, 1, 2], [2, nan, 1], [3, 2, 3], [4, 4, nan], [5, nan, nan]]
    assert noise_ceiling(mostly_two) == noise_ceiling([[1, 2], [2, 1], [3, 2], [4, 4]])


def test_without_repetitions_there_is_none():
    assert noise_ceiling([[1.0], [2.0]]) is None
    assert noise_ceiling([[1.0, 2.0], [2.0, np.nan]]) is None
    with pytest.raises(InputError, match=r"expected labels of shape .*found \(3,\)"):
        noise_ceiling([1.0, 2.0, 3.0])


def test_as_json():
    assert noise_ceiling([[1, 1], [1, 1]]).to_dict() == {
        "n": 2,
        "num_seeds": 2,
        "between_seeds": None,
        "one_against_others": None,
        "of_mean": None,
    }

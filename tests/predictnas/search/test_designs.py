import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from predictnas.errors import InputError
from predictnas.predictors import ForestPredictor, GPPredictor
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import read_inputs
from predictnas.search import DESIGNS, diverse_design, get_design, uncertain_batch


@pytest.fixture(scope="module")
def pool(space):
    archs = space.sample(150, np.random.default_rng(0), distinct=True)
    numbers = np.random.default_rng(1).normal(size=150)
    return pd.DataFrame({"graph": space.graphs(archs), "proxy_a": numbers})


def coverage(pool, rows):
    """The mean distance of an architecture to the closest of those chosen."""
    inputs = read_inputs(pool)
    matrix = Features.learn(inputs, ("graf",), None).transform(inputs)
    return cdist(matrix, matrix[rows]).min(axis=1).mean()


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("columns", [["graph", "proxy_a"], ["graph"], ["proxy_a"]])
def test_rows_are_distinct_and_repeatable(name, columns, pool):
    table = pool[columns]
    first, second = (get_design(name)(table, 12, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(set(first)) == 12
    assert set(first) <= set(range(150))
    assert set(get_design(name)(table, 12, seed=4)) != set(first)
    assert sorted(get_design(name)(table[:5], 5, seed=0)) == [0, 1, 2, 3, 4]


def test_diverse_ones_are_closer_to_all_others_than_random_ones(pool):
    random = [coverage(pool, DESIGNS["random"](pool, 12, seed=seed)) for seed in range(8)]
    diverse = [coverage(pool, diverse_design(pool, 12, seed=seed)) for seed in range(3)]
    assert max(diverse) < min(random)


def test_clusters_have_one_each():
    places = np.repeat([0.0, 10.0, 20.0, 30.0], 10) + 0.1 * np.random.default_rng(0).normal(size=40)
    rows = diverse_design(pd.DataFrame({"x": places}), 4, seed=0)
    assert sorted(rows // 10) == [0, 1, 2, 3]


def test_equal_rows_are_chosen_once(pool):
    table = pd.concat([pool[:1]] * 6, ignore_index=True)
    with pytest.warns(UserWarning, match="distinct clusters"):
        assert sorted(diverse_design(table, 4, seed=0)) != []


def test_uncertain_batch_is_the_greedy_choice_by_posterior_variance(pool):
    rng = np.random.default_rng(0)
    predictor = GPPredictor(warp="none").fit(pool[:20], rng.normal(size=20))
    others = pool[20:60].reset_index(drop=True)
    rows = uncertain_batch(predictor, others, 5)
    import torch

    covariance = predictor.posterior_over(others, warped=True)(
        torch.arange(40)
    ).distribution.covariance_matrix.numpy()
    chosen = []
    for _ in range(5):
        given = covariance[:, chosen] @ np.linalg.solve(
            covariance[np.ix_(chosen, chosen)], covariance[chosen]
        )
        chosen.append(int(np.argmax((covariance - given).diagonal())))
    assert rows.tolist() == chosen


def test_what_cannot_be_done_is_refused(pool):
    for name in DESIGNS:
        for count in (0, 151):
            with pytest.raises(InputError, match=f"from 1 to 150 architectures .* found {count}"):
                get_design(name)(pool, count, seed=0)
    with pytest.raises(InputError, match="unknown design 'best'; choose from: random, diverse"):
        get_design("best")
    forest = ForestPredictor(trees=5).fit(pool[:10], np.arange(10.0))
    with pytest.raises(InputError, match="Gaussian posterior such as gp, found ForestPredictor"):
        uncertain_batch(forest, pool, 3)

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from predictnas.errors import InputError
from predictnas.predictors import ForestPredictor, GPPredictor
from predictnas.predictors.features import Features
from predictnas.predictors.inputs import read_inputs
from predictnas.search import (
    DESIGNS,
    ROUND,
    design_of_table,
    diverse_design,
    get_design,
    uncertain_batch,
)


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


@pytest.mark.parametrize("name", DESIGNS)
def test_equal_rows_are_chosen_once(name, pool):
    table = pd.concat([pool[:1]] * 6 + [pool[1:2]], ignore_index=True)
    rows = get_design(name)(table, 4, seed=0)
    assert len(set(rows)) == 4
    assert name == "random" or 6 in rows


@pytest.mark.parametrize("name", DESIGNS)
def test_held_rows_are_not_chosen(name, pool):
    held = np.arange(150) < 140
    labels = np.where(held, np.arange(150.0), np.nan)
    rows = get_design(name)(pool, 10, seed=0, held=held, labels=labels)
    assert sorted(rows) == list(range(140, 150))
    with pytest.raises(InputError, match="from 1 to 10 architectures to choose.* found 11"):
        get_design(name)(pool, 11, seed=0, held=held, labels=labels)


def test_a_choice_carried_out_in_part_goes_on_as_it_began(pool):
    given = np.zeros(150, dtype=bool)
    given[[3, 77, 78]] = True
    whole = diverse_design(pool, 12, seed=0, held=given)
    for done in (whole[:5], whole[[0, 2, 11]], whole[:11]):
        held = given.copy()
        held[done] = True
        rest = diverse_design(pool, 12 - len(done), seed=0, held=held)
        assert set(rest) == set(whole) - set(done)


def test_a_cluster_that_has_a_label_gets_no_other_and_large_ones_come_first():
    places = np.repeat([0.0, 10.0, 20.0, 30.0], [5, 20, 10, 15])
    places += 0.1 * np.random.default_rng(0).normal(size=50)
    held = np.zeros(50, dtype=bool)
    held[26] = True  # of the third cluster
    rows = diverse_design(pd.DataFrame({"x": places}), 3, seed=0, held=held)
    assert [round(place, -1) for place in places[rows]] == [10, 30, 0]


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
    # Chosen before: the first two rows, whatever their variance.
    chosen = [0, 1]
    for _ in range(3):
        given = covariance[:, chosen] @ np.linalg.solve(
            covariance[np.ix_(chosen, chosen)], covariance[chosen]
        )
        variances = (covariance - given).diagonal().copy()
        variances[chosen] = 0.0
        chosen.append(int(np.argmax(variances)))
    assert uncertain_batch(predictor, others, 3, pending=2).tolist() == chosen[2:]


def test_uncertain_ones_are_where_labels_are_missing():
    # In the middle, but for one row there that is held: it counts as chosen without a label.
    places = np.linspace(0.0, 1.0, 41)
    held, labels = np.abs(places - 0.5) > 0.3, np.full(41, np.nan)
    labels[held] = np.sin(6 * places[held])
    table = pd.DataFrame({"x": places})
    uncertain = DESIGNS["uncertain"]
    (first,) = uncertain(table, 1, seed=0, held=held, labels=labels)
    assert 0.4 < places[first] < 0.6
    held[first] = True
    (second,) = uncertain(table, 1, seed=0, held=held, labels=labels)
    assert 0.05 < abs(places[second] - places[first]) < 0.28


def test_operations_that_no_label_has_seen_are_no_obstacle(space):
    archs = np.array([[3, 3, 3, 3, 3, k] for k in (1, 2, 3)] + [[k, 3, 1, 2, 3, 3] for k in (1, 2)])
    archs = np.concatenate([archs, space.sample(30, np.random.default_rng(0), distinct=True)])
    table = pd.DataFrame({"graph": space.graphs(archs)})
    held = np.arange(35) < 5
    labels = np.where(held, np.arange(35.0), np.nan)
    rows = DESIGNS["uncertain"](table, 3, seed=0, held=held, labels=labels)
    assert (rows >= 5).all()


def test_a_table_tells_labels_as_a_design_asks(pool):
    targets = np.random.default_rng(2).normal(size=150)
    chosen = design_of_table("uncertain", pool, targets, 13, seed=0)
    assert len(set(chosen)) == 13
    np.testing.assert_array_equal(
        design_of_table("uncertain", pool, targets, 8, seed=0), chosen[:8]
    )
    held = np.zeros(150, dtype=bool)
    held[chosen[:ROUND]] = True
    np.testing.assert_array_equal(chosen[:ROUND], diverse_design(pool, ROUND, seed=0))
    labels = np.where(held, targets, np.nan)
    second = DESIGNS["uncertain"](pool, ROUND, seed=0, held=held, labels=labels)
    np.testing.assert_array_equal(chosen[ROUND : 2 * ROUND], second)
    np.testing.assert_array_equal(
        design_of_table("diverse", pool, targets, 13, seed=0), diverse_design(pool, 13, seed=0)
    )
    with pytest.raises(InputError, match="from 1 to 150 architectures to choose.* found 151"):
        design_of_table("uncertain", pool, targets, 151, seed=0)


def test_what_cannot_be_done_is_refused(pool):
    for name in DESIGNS:
        for count in (0, 151):
            with pytest.raises(InputError, match=f"from 1 to 150 architectures .* found {count}"):
                get_design(name)(pool, count, seed=0)
    with pytest.raises(
        InputError, match="unknown design 'best'; choose from: random, diverse, uncertain"
    ):
        get_design("best")
    forest = ForestPredictor(trees=5).fit(pool[:10], np.arange(10.0))
    with pytest.raises(InputError, match="Gaussian posterior such as gp, found ForestPredictor"):
        uncertain_batch(forest, pool, 3)

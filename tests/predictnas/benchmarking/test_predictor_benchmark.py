"""One experiment: its training and test sets, and what a record holds."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from predictnas.benchmarking import Job
from predictnas.errors import InputError
from predictnas.evaluation import calibration, ndcg
from predictnas.predictors import get_predictor
from predictnas.search import ROUND


def keys(benchmark, rows):
    return [graph.key() for graph in benchmark.X["graph"].iloc[rows]]


def test_architectures_are_distinct_and_spelt_as_they_stand_first(experiment, labels):
    benchmark = experiment()
    first = pd.Series(labels.targets).groupby(labels.twins, sort=False).first()
    assert len(first) < len(labels)
    np.testing.assert_array_equal(benchmark.y, first)
    assert len(set(keys(benchmark, slice(None)))) == len(first)


def test_no_twin_of_a_training_architecture_is_tested_on(experiment):
    benchmark = experiment()
    for repeat in range(2):
        for size in (8, 20):
            train, test = benchmark.split(size, repeat)
            assert len(train) == size
            assert len(train) + len(test) == len(benchmark.X)
            assert not set(keys(benchmark, train)) & set(keys(benchmark, test))


def test_training_sets_are_drawn_anew_each_repeat_and_grow_with_the_size(experiment):
    benchmark = experiment()
    small, large = (set(benchmark.split(size, 0)[0]) for size in (8, 20))
    assert small < large
    assert small != set(benchmark.split(8, 1)[0])
    np.testing.assert_array_equal(benchmark.split(8, 1)[0], experiment().split(8, 1)[0])
    assert small != set(experiment(seed=1).split(8, 0)[0])


def test_limited_test_sets_are_the_same_for_all_sizes(experiment):
    limited = experiment(max_test=30)
    tests = [set(limited.split(size, 0)[1]) for size in (8, 20)]
    assert tests[0] == tests[1]
    assert len(tests[0]) == 30
    assert not tests[0] & set(limited.split(20, 0)[0])


def test_rows_without_proxies_are_left_out_where_these_are_inputs_or_asked_for(experiment, labels):
    lacking = labels.frame["proxy_partial"].isna().to_numpy()
    distinct = len(set(labels.twins))
    complete = len(set(labels.twins[~lacking]))
    assert complete < distinct
    assert len(experiment(features="graph").X) == distinct
    assert len(experiment(features="graph,proxies").X) == complete
    same = experiment(features="graph", complete=True)
    assert (len(same.X), list(same.X.columns)) == (complete, ["graph"])


def test_record_holds_the_measures_of_this_fit(experiment, space):
    benchmark = experiment()
    job = Job("forest", 20, 1)
    record = benchmark.measure(job)
    train, test = benchmark.split(20, 1)
    forest = get_predictor("forest", trees=10, random_state=1, operations=space.operations)
    forest.fit(benchmark.X.iloc[train], benchmark.y[train])
    mean, std = forest.predict(benchmark.X.iloc[test], return_std=True)
    y = benchmark.y[test]
    assert (record["predictor"], record["size"], record["repeat"]) == job
    assert record["test"] == len(test)
    assert record["kendall"] == pytest.approx(stats.kendalltau(mean, y).statistic)
    assert record["spearman"] == pytest.approx(stats.spearmanr(mean, y).statistic)
    best = {name: set(np.argsort(-v)[: round(0.1 * len(y))]) for name, v in (("y", y), ("m", mean))}
    found = len(best["y"] & best["m"]) / len(best["y"])
    assert record["precision"]["top 10 %"] == pytest.approx(found, abs=0.1)  # ties by lot
    assert record["ndcg"]["top 10 %"] == pytest.approx(ndcg(mean, y - y.min(), len(best["y"])))
    assert record["coverage"] == calibration(y, mean, std).coverage
    assert record["nll"] == pytest.approx(-stats.norm.logpdf(y, mean, std).mean())
    residuals = benchmark.y[train] - forest.held_out_predictions()[0]
    sigma = np.sqrt(np.nanmean(residuals**2))
    assert record["constant_nll"] == pytest.approx(-stats.norm.logpdf(y, mean, sigma).mean())
    assert record["baseline_nll"] <= record["constant_nll"]
    assert record["sharpness"] == pytest.approx(std.mean())
    assert record["seconds_fit"] > 0
    assert record["seconds_predict"] > 0


def test_without_held_out_predictions_residuals_come_from_a_cross_validation(
    experiment, monkeypatch
):
    benchmark = experiment()
    kind = type(benchmark.predictors["forest"])
    own = benchmark.measure(Job("forest", 20, 0))
    monkeypatch.setattr(kind, "held_out_predictions", lambda self: None)
    refitted = benchmark.measure(Job("forest", 20, 0))
    assert refitted["nll"] == own["nll"]
    assert refitted["constant_nll"] != own["constant_nll"]
    assert refitted["constant_nll"] == pytest.approx(own["constant_nll"], abs=1.0)


def test_a_simple_truth_is_ranked_better_with_more_labels(experiment):
    benchmark = experiment(sizes=[8, 60])
    few, many = (benchmark.measure(Job("forest", size, 0))["kendall"] for size in (8, 60))
    numbers = benchmark.X[["proxy_good"]]
    line = LinearRegression().fit(numbers, benchmark.y).predict(numbers)
    assert few < many
    assert many > stats.kendalltau(line, benchmark.y).statistic


def test_diverse_designs_leave_the_test_set_alone(experiment):
    random, diverse = (experiment(design=name, max_test=30) for name in ("random", "diverse"))
    assert set(random.split(8, 0)[1]) == set(diverse.split(8, 0)[1])
    train, test = diverse.split(8, 0)
    assert len(set(train)) == 8
    assert not set(train) & set(test)
    assert set(train) != set(random.split(8, 0)[0])


def test_designs_that_look_at_labels_are_told_those_of_what_they_choose(experiment):
    benchmark = experiment(design="uncertain", max_test=30)
    small, large = (benchmark.split(size, 1)[0] for size in (8, 20))
    np.testing.assert_array_equal(large[:8], small)
    assert not set(large) & set(benchmark.split(20, 1)[1])
    alone = experiment(design="uncertain", max_test=30, sizes=[8])
    np.testing.assert_array_equal(alone.split(8, 1)[0], small)
    # Other labels, other choice, once there were any to look at.
    other = experiment(design="uncertain", max_test=30)
    object.__setattr__(other, "y", np.sort(other.y))
    changed = other.split(20, 1)[0]
    np.testing.assert_array_equal(changed[:ROUND], large[:ROUND])
    assert set(changed) != set(large)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sizes": [0]}, "expected from 1 to .* labels, .* found 0 to 0"),
        ({"sizes": [8, 9999]}, "expected from 1 to .* labels, .* found 8 to 9999"),
        ({"sizes": []}, "a benchmark needs a predictor and a number of labels"),
        ({"predictors": {}}, "a benchmark needs a predictor and a number of labels"),
        ({"repeats": 0}, "repeats must be at least 1, found 0"),
        ({"max_test": -1}, "max_test must be at least 1, found -1"),
        ({"design": "best"}, "unknown design 'best'; choose from: random, diverse"),
        ({"features": "graph,depth"}, "no numeric column 'depth'"),
    ],
)
def test_what_cannot_be_done_is_refused(changed, message, experiment):
    with pytest.raises(InputError, match=message):
        experiment(**changed)


def test_predictors_that_cannot_be_fitted_are_named(experiment):
    benchmark = experiment(predictors={"mine": get_predictor("forest", trees=1)})
    with pytest.raises(InputError, match="mine with 8 labels: expected trees"):
        benchmark.measure(Job("mine", 8, 0))

"""Transfer: the source's predictions, the slope, and the stack with and without them."""

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, linregress
from sklearn.base import clone

from predictnas.errors import InputError
from predictnas.predictors import (
    RidgePredictor,
    SourceTask,
    TransferPredictor,
    get_predictor,
    load_predictor,
    plain_parameters,
    save_predictor,
    stacked,
)
from predictnas.predictors.ensemble import left_out
from predictnas.predictors.held_out import held_out_of
from predictnas.predictors.inputs import read_inputs
from predictnas.predictors.mixture import MixturePosterior
from predictnas.predictors.stacking import combine, stack_weights
from predictnas.predictors.transfer import garrote_slope, slopes_without
from predictnas.spaces.nasbench201 import NasBench201


def learned(table, labels, name="ridge"):
    predictor = get_predictor(name, operations=NasBench201.operations)
    return SourceTask.learn(predictor, table[["graph"]], labels)


@pytest.fixture(scope="module")
def fitted(cells, source):
    table, accuracy = cells(120, noise=0.5)
    predictor = TransferPredictor("ridge", source).fit(table[:20], accuracy[:20])
    return predictor, table, accuracy


def test_slope_is_shrunk_by_its_error():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, 30)
    assert garrote_slope(x, 5 - 2 * x) == pytest.approx(-2)
    y = 0.5 * x + rng.normal(size=30)
    line = linregress(x, y)
    assert garrote_slope(x, y) == pytest.approx(line.slope - line.stderr**2 / line.slope)
    unrelated = [linregress(x, rng.normal(size=30)) for _ in range(20)]
    assert any(abs(each.slope) < each.stderr for each in unrelated)


def test_slope_is_zero_below_one_standard_error():
    # Slope 1/5 and variance (4 - 1/5) / 2 / 5: by hand.
    assert garrote_slope(np.array([-1.0, 2.0, 0.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])) == 0
    assert garrote_slope(np.arange(3.0), np.arange(3.0)) == 0
    assert garrote_slope(np.full(9, 0.1), np.arange(9.0)) == 0


def test_slopes_without_an_architecture_are_those_of_the_others():
    rng = np.random.default_rng(3)
    architectures = np.array([0, 1, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8])
    x = rng.normal(5, 2, 12)
    y = 0.4 * x + rng.normal(size=12)
    found = slopes_without(x, y, architectures)
    expected = [
        garrote_slope(x[others], y[others]) for others in architectures != architectures[:, None]
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert len(set(found.round(9))) > 5
    few = np.array([0, 0, 1, 2, 3])  # three rows are left without the first
    slopes = slopes_without(x[:5], -3 * x[:5], few)
    np.testing.assert_allclose(slopes, [0, 0, -3, -3, -3], rtol=1e-6)
    assert not slopes_without(x, y, np.zeros(12, dtype=np.int64)).any()


def test_weights_see_slopes_without_the_label(cells, source, monkeypatch):
    table, accuracy = cells(20, noise=1.0)
    seen = []

    def spy(means, *rest, **options):
        seen.append(means)
        return stack_weights(means, *rest, **options)

    monkeypatch.setattr(stacked, "stack_weights", spy)
    predictor = TransferPredictor("gp", source).fit(table, accuracy)
    rest, _ = predictor.members_[1].held_out_predictions()
    warped = predictor.source_warp_.transform(source.predict(table)[:, None])[:, 0]
    targets = predictor.warp_.transform(accuracy)
    slopes = slopes_without(warped, targets, predictor.architectures_)
    assert np.ptp(slopes) > 0
    np.testing.assert_allclose(seen[0][1], rest + slopes * warped, rtol=1e-9)


def test_source_predicts_labelled_architectures_held_out(cells):
    table, accuracy = cells(60)
    rows = np.repeat(np.arange(50), 2)
    labels = accuracy[rows] + np.tile([-3.0, 3.0], 50)
    source = learned(table.iloc[rows], labels, "gp")
    assert source.columns == ("graph",)
    held_out, _ = source.predictor.held_out_predictions()
    keys = np.array([graph.key() for graph in table["graph"]])
    expected = source.predictor.predict(table[["graph"]])
    plain = expected.copy()
    for row in np.flatnonzero(np.isin(keys, keys[:50])):
        expected[row] = held_out[keys[rows] == keys[row]].mean()
    found = source.predict(table)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.abs(found - plain).max() > 0.01
    assert (found == plain).any()
    # A predictor alone, as saved, tells the same of everything.
    np.testing.assert_array_equal(SourceTask(source.predictor).predict(table), plain)


def test_labels_are_no_better_known_where_the_source_has_them(cells):
    """On pure noise a label says nothing, and predictions may not give it away."""
    table, _ = cells(120)
    noise = np.random.default_rng(0).normal(size=120)
    source = learned(table, noise, "forest")
    given_away = kendalltau(source.predictor.predict(table[["graph"]]), noise).statistic
    assert given_away > 0.4
    assert abs(kendalltau(source.predict(table), noise).statistic) < 0.2


class Forgetful(RidgePredictor):
    """Lacks held-out predictions of every third label."""

    def _held_out(self):
        mean, std = (np.array(each) for each in super()._held_out())
        mean[::3] = np.nan
        return mean, std


def test_what_the_source_lacks_is_held_out_by_refits(cells):
    table, _ = cells(60)
    graphs = table[["graph"]]
    noise = np.random.default_rng(0).normal(size=60)
    predictor = Forgetful(operations=NasBench201.operations)
    fitted = clone(predictor).fit(graphs, noise)
    own, _ = fitted.held_out_predictions()
    mean, std = held_out_of(fitted, graphs, noise, fitted.architectures_, 0, complete=True)
    assert np.isnan(held_out_of(fitted, graphs, noise, fitted.architectures_, 0)[0][::3]).all()
    np.testing.assert_array_equal(mean[1::3], own[1::3])
    assert np.isfinite(std).all()
    for fold in left_out(fitted.architectures_, 5, 1, np.random.default_rng(0)):
        rows = fold & (np.arange(60) % 3 == 0)
        part = clone(predictor).fit(graphs[~fold], noise[~fold])
        np.testing.assert_array_equal(mean[rows], part.predict(graphs[rows]))
    source = SourceTask.learn(predictor, graphs, noise, seed=0)
    names, numbers = np.unique(read_inputs(graphs).identities(), return_inverse=True)
    np.testing.assert_allclose(source.held_out, np.bincount(numbers, mean) / np.bincount(numbers))
    assert source.identities == tuple(names)


def test_one_architecture_is_predicted_by_what_there_is(cells):
    table, accuracy = cells(3)
    source = learned(table[:1], accuracy[:1])
    np.testing.assert_allclose(source.predict(table), accuracy[0], rtol=0.01)


@pytest.mark.parametrize("name", ["gp", "ridge"])
def test_a_related_task_helps(name, cells, source):
    gains = []
    for seed in range(2):
        table, accuracy = cells(150, seed=seed, noise=0.3)
        taus = []
        for predictor in (get_predictor(name), TransferPredictor(name, source)):
            predictor.fit(table[["graph"]][:15], accuracy[:15])
            mean = predictor.predict(table[["graph"]][15:])
            taus.append(kendalltau(mean, accuracy[15:]).statistic)
        gains.append(taus[1] - taus[0])
    assert np.mean(gains) > 0.03


@pytest.mark.parametrize("name", ["gp", "ridge"])
def test_an_unrelated_task_does_little_harm(name, cells):
    losses = []
    for seed in range(3):
        table, accuracy = cells(150, seed=seed, noise=0.3)
        other, labels = cells(60, seed=seed + 20)
        shuffled = np.random.default_rng(seed).permutation(labels)
        source = learned(other, shuffled)
        assert np.ptp(source.predict(table)) > 0  # it says something, though of nothing
        taus = []
        for predictor in (get_predictor(name), TransferPredictor(name, source)):
            predictor.fit(table[["graph"]][:30], accuracy[:30])
            mean = predictor.predict(table[["graph"]][30:])
            taus.append(kendalltau(mean, accuracy[30:]).statistic)
        losses.append(taus[0] - taus[1])
    assert np.mean(losses) < 0.02


def test_members_are_the_predictor_without_and_with_the_source(fitted, source):
    predictor, table, accuracy = fitted
    targets = predictor.warp_.transform(accuracy[:20])
    alone, helped = predictor.members_
    plain = get_predictor("ridge", warp="none").fit(table[:20], targets)
    np.testing.assert_allclose(alone.predict(table), plain.predict(table), rtol=1e-12)
    assert set(helped.columns_) - set(alone.columns_) == {"source_prediction"}
    column = source.predict(table)
    warped = predictor.source_warp_.transform(column[:, None])[:, 0]
    assert warped.min() == warped[:20].min()  # clipped
    rest = get_predictor("ridge", warp="none").fit(
        table[:20].assign(source_prediction=column[:20]), targets - predictor.slope_ * warped[:20]
    )
    mean, std = rest.predict(table.assign(source_prediction=column), return_std=True)
    both = [alone.predict(table, return_std=True), (mean + predictor.slope_ * warped, std)]
    means, stds = np.array(both).swapaxes(0, 1)
    mean, variance = combine(predictor.weights_, means, stds)
    expected = predictor.warp_.moments(mean, np.sqrt(predictor.factor_ * variance))
    np.testing.assert_allclose(predictor.predict(table, return_std=True), expected, rtol=1e-9)


def test_posterior_is_a_mixture_around_the_prediction(fitted):
    predictor, table, _ = fitted
    posterior = predictor.posterior_over(table[20:40], warped=True)(torch.arange(20))
    assert isinstance(posterior, MixturePosterior)
    mean = predictor.warp_.moments(posterior.mean[:, 0].numpy(), np.full(20, 1e-6))[0]
    assert np.corrcoef(mean, predictor.predict(table[20:40]))[0, 1] > 0.999


def test_copies_share_the_source_and_files_hold_it(fitted, source, tmp_path):
    predictor, table, accuracy = fitted
    assert clone(predictor).source is source
    save_predictor(predictor, tmp_path / "p.npz")
    loaded, _ = load_predictor(tmp_path / "p.npz")
    np.testing.assert_array_equal(loaded.predict(table), predictor.predict(table))
    again = clone(loaded).fit(table[:20], accuracy[:20])
    np.testing.assert_allclose(again.predict(table), predictor.predict(table), rtol=1e-9)
    assert plain_parameters(loaded) == plain_parameters(predictor)
    with pytest.raises(InputError, match="unfitted one; call fit"):
        save_predictor(clone(predictor), tmp_path / "q.npz")


def test_parameters_as_plain_values(cells, source):
    table, accuracy = cells(30)
    inner = get_predictor("gp", max_iterations=3)
    plain = plain_parameters(TransferPredictor(inner, source))
    assert plain["predictor"] == {"predictor": "gp", **plain_parameters(inner)}
    assert plain_parameters(TransferPredictor(inner, source)) == plain
    other = plain_parameters(TransferPredictor(inner, learned(table, accuracy)))
    assert other["source"] != plain["source"]
    assert other["predictor"] == plain["predictor"]


def test_every_parameter_matters(cells, source):
    table, accuracy = cells(40, noise=0.5)

    def predictions(**changed):
        settings = {"predictor": "forest", "source": source} | changed
        predictor = TransferPredictor(**settings).fit(table[:20], accuracy[:20])
        return np.array(predictor.predict(table, return_std=True))

    default = predictions()
    for changed in (
        {"predictor": "ridge"},
        {"predictor": get_predictor("forest", trees=5)},
        {"source": learned(table, accuracy)},
        {"encoding": "path"},
        {"warp": "none"},
        {"strength": 500.0},
        {"random_state": 1},
    ):
        assert not np.allclose(predictions(**changed), default, rtol=1e-6), changed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": None}, "expected source as a SourceTask, found NoneType"),
        ({"predictor": "svm"}, "unknown predictor 'svm'"),
        ({"predictor": 3}, "expected predictor as the name of a predictor"),
        ({"predictor": TransferPredictor()}, "an unfitted one, found TransferPredictor"),
        ({"strength": 0.0}, "expected strength"),
        ({"random_state": -1}, "expected random_state"),
        ({"warp": "logit"}, "expected warp"),
        ({"operations": ("nor_conv_1x1",)}, "expected only the operations nor_conv_1x1"),
    ],
)
def test_what_cannot_be_used_is_refused(changed, message, cells, source):
    settings = {"predictor": "ridge", "source": source} | changed
    with pytest.raises(InputError, match=message):
        TransferPredictor(**settings).fit(*cells(10))


def test_tables_that_do_not_fit_the_source_are_refused(cells, source):
    table, accuracy = cells(12)
    with pytest.raises(
        InputError, match="found graph missing; add graph to the table .--features.$"
    ):
        TransferPredictor("ridge", source).fit(table.drop(columns="graph"), accuracy)
    saved = SourceTask(source.predictor)
    with pytest.raises(InputError, match=r"--features\), or transfer from labels"):
        saved.check_columns(["proxy_heavy"])
    named = table.assign(source_prediction=1.0)
    with pytest.raises(InputError, match="without a column 'source_prediction'"):
        TransferPredictor("ridge", source).fit(named, accuracy)


def test_what_is_tuned_is_the_predictor(source):
    import optuna

    trial = optuna.create_study().ask()
    suggested = TransferPredictor(get_predictor("gp"), source).suggest(trial)
    assert set(suggested) == {"predictor__encoding", "warp"}
    tuned = TransferPredictor(get_predictor("gp"), source).set_params(**suggested)
    assert tuned.warp == trial.params["warp"]
    with pytest.raises(InputError, match="with something to tune, found auto"):
        TransferPredictor("auto", source).suggest(trial)

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from predictnas.errors import InputError
from predictnas.predictors import (
    AutoPredictor,
    ForestPredictor,
    GNNPredictor,
    GPPredictor,
    load_predictor,
    save_predictor,
)
from predictnas.predictors.inputs import read_inputs
from predictnas.predictors.mixture import MixturePosterior
from predictnas.predictors.stacking import combine

MEMBERS = ("gp", "forest")


@pytest.fixture(scope="module")
def fitted(cells):
    table, accuracy = cells(140, noise=0.6)
    return AutoPredictor(members=MEMBERS).fit(table[:40], accuracy[:40]), table, accuracy


def test_members_are_those_named_fitted_to_warped_targets(fitted):
    predictor, table, accuracy = fitted
    gp, forest = predictor.members_
    assert (type(gp), type(forest)) == (GPPredictor, ForestPredictor)
    alone = GPPredictor(warp="none").fit(table[:40], predictor.warp_.transform(accuracy[:40]))
    np.testing.assert_allclose(gp.predict(table), alone.predict(table), rtol=1e-12)
    assert predictor.weights_.sum() == pytest.approx(1)


def test_prediction_is_the_weighted_mixture(fitted):
    predictor, table, _ = fitted
    each = np.array([m.predict(table, return_std=True) for m in predictor.members_])
    mean, variance = combine(predictor.weights_, each[:, 0], each[:, 1])
    expected = predictor.warp_.moments(mean, np.sqrt(predictor.factor_ * variance))
    np.testing.assert_allclose(predictor.predict(table, return_std=True), expected)


def test_default_stack_is_about_as_good_as_its_best_member_or_better(cells):
    table, accuracy = cells(300, noise=0.5)
    predictor = AutoPredictor().fit(table[:60], accuracy[:60])
    stack = kendalltau(predictor.predict(table[60:]), accuracy[60:]).statistic
    members = [
        kendalltau(member.predict(table[60:]), accuracy[60:]).statistic
        for member in predictor.members_
    ]
    assert stack > max(members) - 0.02


def test_held_out_predictions_are_calibrated(fitted):
    predictor, _, accuracy = fitted
    mean, std = predictor.held_out_predictions()
    assert kendalltau(mean, accuracy[:40]).statistic > 0.3
    assert np.mean(np.abs(mean - accuracy[:40]) < 1.645 * std) == pytest.approx(0.9, abs=0.1)


def test_members_without_held_out_predictions_are_refitted_on_folds(cells, monkeypatch):
    table, accuracy = cells(20)
    rows = np.repeat(np.arange(20), 2)
    fits = []
    fit = ForestPredictor.fit

    def watched(self, X, y):
        fits.append({graph.key() for graph in X["graph"]})
        return fit(self, X, y)

    monkeypatch.setattr(ForestPredictor, "fit", watched)
    monkeypatch.setattr(ForestPredictor, "_held_out", lambda self: None)
    predictor = AutoPredictor(members=MEMBERS).fit(table.iloc[rows], accuracy[rows])
    whole, *parts = fits
    assert len(parts) == 5
    # Architectures with all their copies leave in turn, each once.
    left = [whole - part for part in parts]
    assert sorted(map(len, left)) == [4] * 5
    assert set.union(*left) == whole
    assert np.isfinite(predictor.held_out_predictions()).all()


def test_posterior_is_a_mixture_stretched_to_the_calibrated_variance(fitted):
    predictor, table, _ = fitted
    posterior = predictor.posterior_over(table[40:60], warped=True)(torch.arange(20))
    assert isinstance(posterior, MixturePosterior)
    np.testing.assert_array_equal(posterior.weights, predictor.weights_)
    mean, std = predictor._predict(read_inputs(table[40:60]))
    np.testing.assert_allclose(posterior.mean[:, 0], mean, rtol=1e-6)
    each = [member.posterior(table[40:60]) for member in predictor.members_]
    means = np.array([one.mean[:, 0].numpy() for one in each])
    stds = np.array([one.variance[:, 0].sqrt().numpy() for one in each])
    _, expected = combine(predictor.weights_, means, stds)
    np.testing.assert_allclose(posterior.variance[:, 0], predictor.factor_ * expected, rtol=1e-6)
    # That of a label is larger, by the noise.
    assert (posterior.variance[:, 0].numpy() < std**2).all()


def test_encoding_reaches_the_members(cells):
    table, accuracy = cells(15)
    own = AutoPredictor(members=MEMBERS).fit(table, accuracy)
    given = AutoPredictor(members=MEMBERS, encoding="path").fit(table, accuracy)
    assert own.members_[0].encoding == GPPredictor().encoding
    assert [member.encoding for member in given.members_] == ["path", "path"]


@pytest.mark.parametrize("members", ["gp", (), ("gp", "gp"), ("gp", "svm"), ("auto",)])
def test_members_that_are_none_are_refused(members, cells):
    with pytest.raises(InputError, match="expected members"):
        AutoPredictor(members=members).fit(*cells(5))


def test_pretrained_weights_reach_the_graph_network_alone(cells, tmp_path):
    table, accuracy = cells(30)
    predictor = AutoPredictor(members=("ridge", "gnn"), random_state=3)
    assert predictor.pretrain(table[["graph"]], steps=2) is predictor
    alone = GNNPredictor(random_state=3).pretrain(table[["graph"]], steps=2)
    for ours, theirs in zip(predictor.pretrained.weights, alone.pretrained.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    predictor.fit(table[:12], accuracy[:12])
    assert predictor.members_[1].pretrained is predictor.pretrained
    save_predictor(predictor, tmp_path / "p.npz")
    loaded, _ = load_predictor(tmp_path / "p.npz")
    np.testing.assert_array_equal(loaded.predict(table), predictor.predict(table))


def test_graphs_without_labels_reach_the_members_that_take_them(cells):
    table, accuracy = cells(20)
    predictor = AutoPredictor(members=MEMBERS).pretrain(table[["graph"]])
    assert predictor.pretrained is None
    assert predictor.smoother is None
    gp, _ = predictor.fit(table[:8], accuracy[:8]).members_
    assert gp.unlabelled == tuple(dict.fromkeys(table["graph"]))


def test_members_that_cannot_be_pretrained_are_named(cells):
    table, accuracy = cells(6)
    message = "that learn from architectures without labels, such as gnn and gp, found forest"
    with pytest.raises(InputError, match=message):
        AutoPredictor(members=("forest",)).pretrain(table)
    with pytest.raises(InputError, match=message):
        AutoPredictor(members=("forest",), unlabelled=()).fit(table, accuracy)


def test_members_read_smoothed_columns_beside_columns_as_they_are(cells, tmp_path):
    table, accuracy = cells(40)
    predictor = AutoPredictor(members=("gp", "forest")).pretrain(table, steps=5)
    predictor.fit(table[:20], accuracy[:20])
    assert predictor.smoothed_ == 1
    plain, _, smoothed = predictor.members_
    assert isinstance(smoothed, GPPredictor)
    rest = read_inputs(table[20:])
    frame = predictor.smoother.transform(rest).frame()
    each = [plain.predict(table[20:]), predictor.members_[1].predict(table[20:])]
    mean = predictor.weights_ @ np.array([*each, smoothed.predict(frame)])
    expected = predictor.warp_.moments(mean, predictor._predict(rest)[1])[0]
    np.testing.assert_allclose(predictor.predict(table[20:]), expected)
    assert predictor.posterior(table[20:]).mean.shape == (20, 1)
    save_predictor(predictor, tmp_path / "p.npz")
    loaded, _ = load_predictor(tmp_path / "p.npz")
    np.testing.assert_array_equal(loaded.predict(table), predictor.predict(table))
    # Graphs alone have nothing to smooth, and forget what was smoothed.
    predictor.pretrain(table[["graph"]], steps=5).fit(table[:20], accuracy[:20])
    assert (predictor.smoother, predictor.smoothed_) == (None, 0)


def test_smoothed_columns_help_where_scores_are_noisy(cells):
    table, accuracy = cells(400, noise=0.1)
    noise = accuracy.std() * np.random.default_rng(0).standard_normal((400, 2))
    table = table[["graph"]].assign(first=accuracy + noise[:, 0], second=accuracy + noise[:, 1])
    labelled, rest = table[:30], table[30:]
    predictor = AutoPredictor(members=MEMBERS).pretrain(table, steps=150)
    predictor.fit(labelled, accuracy[:30])
    plain, _, smoothed = predictor.members_
    smooth = predictor.smoother.transform(read_inputs(rest)).frame()
    before = kendalltau(plain.predict(rest), accuracy[30:]).statistic
    after = kendalltau(smoothed.predict(smooth), accuracy[30:]).statistic
    assert after > before + 0.05
    assert predictor.weights_[2] > predictor.weights_[0]


def test_what_cannot_be_smoothed_is_refused(cells):
    table, accuracy = cells(6)
    with pytest.raises(InputError, match="expected smoother as what pretrain sets"):
        AutoPredictor(members=MEMBERS, smoother=1).fit(table, accuracy)
    smoother = AutoPredictor(members=MEMBERS).pretrain(table, steps=1).smoother
    with pytest.raises(InputError, match="expected a member among gp, gnn to read smoothed"):
        AutoPredictor(members=("forest",), smoother=smoother).fit(table, accuracy)


def test_predictions_are_those_of_the_members_that_were_fitted(cells):
    table, accuracy = cells(30)
    stack = AutoPredictor(members=("gp", "ridge")).fit(table, accuracy)
    before = stack.predict(table)
    for members in (("gp",), ("gp", "ridge", "forest")):
        np.testing.assert_array_equal(stack.set_params(members=members).predict(table), before)

"""What every registered predictor must do."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.predictors import (
    PREDICTORS,
    WRAPPERS,
    load_predictor,
    plain_parameters,
    save_predictor,
)
from predictnas.spaces.nasbench201 import NasBench201

pytestmark = pytest.mark.parametrize("name", [*PREDICTORS, *WRAPPERS])


def test_overfits_eight_points(name, make, cells):
    table, accuracy = cells(8)
    predictions = make(name).fit(table, accuracy).predict(table)
    assert spearmanr(predictions, accuracy).statistic > 0.9


def test_is_better_than_the_mean(name, make, cells):
    table, accuracy = cells(260, noise=0.3)
    predictor = make(name).fit(table[:60], accuracy[:60])
    held_out = accuracy[60:]
    squared = np.mean((predictor.predict(table[60:]) - held_out) ** 2)
    assert squared < 0.5 * np.var(held_out)
    assert predictor.score(table[60:], held_out) == pytest.approx(1 - squared / np.var(held_out))


def test_graphs_alone_and_numbers_alone_suffice(name, make, cells):
    table, accuracy = cells(200)
    for columns in (["graph"], ["proxy_heavy", "proxy_noise"]):
        if name == "lcsvr" and columns == ["graph"]:  # it is about learning curves
            with pytest.raises(InputError, match="a learning curve, found no numeric column"):
                make(name).fit(table[columns], accuracy)
            continue
        if name == "transfer" and "graph" not in columns:  # what the other task's predictor reads
            with pytest.raises(InputError, match="found graph missing"):
                make(name).fit(table[columns], accuracy)
            continue
        predictor = make(name).fit(table[columns][:60], accuracy[:60])
        rank = spearmanr(predictor.predict(table[columns][60:]), accuracy[60:]).statistic
        assert rank > 0.7


def test_ninety_percent_intervals_cover(name, make, cells):
    table, accuracy = cells(1060, seed=3, noise=1.0)
    mean, std = make(name).fit(table[:60], accuracy[:60]).predict(table[60:], return_std=True)
    covered = np.mean(np.abs(mean - accuracy[60:]) < 1.645 * std)
    assert 0.80 <= covered <= 0.98


def test_standard_deviations_follow_the_noise(name, make, cells):
    stds = []
    for noise in (0.1, 3.0):
        table, accuracy = cells(160, noise=noise)
        _, std = make(name).fit(table[:60], accuracy[:60]).predict(table[60:], return_std=True)
        assert (std > 0).all()
        stds.append(np.median(std))
    assert stds[1] > 2 * stds[0]
    assert 2.0 < stds[1] < 6.0


def test_unit_of_the_targets_is_that_of_the_predictions(name, make, cells):
    table, accuracy = cells(60)
    mean, std = make(name).fit(table[:40], accuracy[:40]).predict(table[40:], return_std=True)
    # A power of two, so that rounding is the same in both units.
    scaled = make(name).fit(table[:40], 8 * accuracy[:40])
    mean_scaled, std_scaled = scaled.predict(table[40:], return_std=True)
    np.testing.assert_allclose(mean_scaled, 8 * mean, rtol=1e-12)
    np.testing.assert_allclose(std_scaled, 8 * std, rtol=1e-12)


def test_prediction_does_not_depend_on_other_rows_or_on_order(name, make, cells):
    table, accuracy = cells(60)
    predictor = make(name).fit(table[:40], accuracy[:40])
    mean, std = predictor.predict(table[40:], return_std=True)
    order = np.random.default_rng(0).permutation(20)
    shuffled = table[40:].iloc[order, ::-1]
    moved = predictor.predict(shuffled, return_std=True)
    np.testing.assert_allclose(moved, (mean[order], std[order]), rtol=1e-8)
    single = predictor.predict(table[45:46], return_std=True)
    np.testing.assert_allclose([single[0][0], single[1][0]], [mean[5], std[5]], rtol=1e-8)
    np.testing.assert_array_equal(predictor.predict(table[40:]), mean)


def test_order_of_columns_in_fit_makes_no_difference(name, make, cells):
    table, accuracy = cells(50)
    first = make(name).fit(table[:40], accuracy[:40])
    second = make(name).fit(table.iloc[:40, ::-1], accuracy[:40])
    np.testing.assert_array_equal(first.predict(table[40:]), second.predict(table[40:]))
    assert first.fingerprint_ == second.fingerprint_


def test_refit_forgets(name, make, cells):
    table, accuracy = cells(60)
    other = table.drop(columns="proxy_noise")
    fresh = make(name).fit(other[:30], accuracy[:30]).predict(other[50:], return_std=True)
    again = make(name).fit(table[20:50], -accuracy[20:50]).fit(other[:30], accuracy[:30])
    np.testing.assert_array_equal(fresh, again.predict(other[50:], return_std=True))


def test_constant_targets(name, make, cells):
    table, _ = cells(30)
    predictor = make(name).fit(table[:20], np.full(20, 10.0))
    mean, std = predictor.predict(table[20:], return_std=True)
    np.testing.assert_allclose(mean, 10.0, rtol=0.005)
    assert ((std > 0) & (std < 5)).all()


def test_one_label(name, make, cells):
    table, accuracy = cells(10)
    predictor = make(name, operations=NasBench201.operations)
    mean, std = predictor.fit(table[:1], accuracy[:1]).predict(table, return_std=True)
    np.testing.assert_allclose(mean, accuracy[0], rtol=0.1)
    assert (np.isfinite(std) & (std > 0)).all()


def test_duplicated_architectures(name, make, cells):
    table, accuracy = cells(12)
    rows = np.repeat(np.arange(10), 3)
    targets = accuracy[rows] + np.tile([-0.5, 0.0, 0.5], 10)
    mean, std = make(name).fit(table.iloc[rows], targets).predict(table, return_std=True)
    assert spearmanr(mean[:10], accuracy[:10]).statistic > 0.8
    assert (np.isfinite(std) & (std > 0)).all()


def test_constant_columns(name, make, cells):
    table, accuracy = cells(40)
    constant = table.assign(proxy_heavy=5.0, proxy_noise=table["proxy_noise"] * 0)
    predictor = make(name).fit(constant[:30], accuracy[:30])
    moved = constant.assign(proxy_heavy=-1e300)
    np.testing.assert_array_equal(predictor.predict(constant), predictor.predict(moved))


def test_broken_scores_of_unlabelled_architectures_do_little_harm(name, make, cells):
    table, accuracy = cells(160)
    predictor = make(name).fit(table[:60], accuracy[:60])
    broken = table[60:].assign(proxy_noise=-1e8)
    mean, std = predictor.predict(broken, return_std=True)
    assert spearmanr(mean, accuracy[60:]).statistic > 0.6
    assert np.isfinite(std).all()


def test_nan_and_infinity_are_refused_by_name(name, make, cells):
    table, accuracy = cells(12)
    predictor = make(name)
    for value, kind in ((np.nan, "NaN"), (np.inf, "inf")):
        broken = table.copy()
        broken.loc[3, "proxy_heavy"] = value
        message = f"finite numbers in column 'proxy_heavy', found {kind} in row 3"
        with pytest.raises(InputError, match=message):
            predictor.fit(broken, accuracy)
        with pytest.raises(InputError, match=message):
            make(name).fit(table, accuracy).predict(broken)
        targets = accuracy.copy()
        targets[5] = value
        with pytest.raises(InputError, match=f"the target y, found {kind} in row 5"):
            predictor.fit(table, targets)


def test_missing_and_unexpected_columns_are_refused_by_name(name, make, cells):
    table, accuracy = cells(12)
    predictor = make(name).fit(table, accuracy)
    with pytest.raises(InputError, match="found proxy_heavy missing and proxy_new too many"):
        predictor.predict(table.rename(columns={"proxy_heavy": "proxy_new"}))
    with pytest.raises(InputError, match="found graph missing"):
        predictor.posterior(table.drop(columns="graph"))


def test_unseen_operations_are_refused_by_name(name, make, cells):
    table, accuracy = cells(12)
    predictor = make(name).fit(table, accuracy)
    strange = ArchGraph(("input", "attention", "output"), ((0, 1), (1, 2)))
    with pytest.raises(InputError, match="found attention"):
        predictor.predict(table[:1].assign(graph=[strange]))
    vocabulary = (*NasBench201.operations, "attention")
    accepting = make(name, operations=vocabulary).fit(table, accuracy)
    assert np.isfinite(accepting.predict(table[:1].assign(graph=[strange]))).all()
    with pytest.raises(InputError, match="found avg_pool_3x3"):
        make(name, operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")).fit(
            table, accuracy
        )


def test_graphs_larger_than_those_of_training_are_predicted(name, make, cells):
    table, accuracy = cells(120)
    small = ArchGraph(("input", "nor_conv_3x3", "output"), ((0, 1), (1, 2)))
    pooled = ArchGraph(("input", "avg_pool_3x3", "output"), ((0, 1), (1, 2)))
    few = table[:12].assign(graph=[small, pooled] * 6)
    for encoding in ("adjacency", ("adjacency", "path", "laplacian", "graf")):
        predictor = make(name, encoding=encoding, operations=NasBench201.operations)
        mean, std = predictor.fit(few, accuracy[:12]).predict(table, return_std=True)
        assert (np.isfinite(mean) & (std > 0)).all()


def test_not_fitted(name, make, cells):
    table, _ = cells(3)
    for method in ("predict", "posterior", "posterior_over"):
        with pytest.raises(NotFittedError, match="not fitted"):
            getattr(make(name), method)(table)


def test_constructor_only_stores(name, make, cells):
    table, accuracy = cells(20)
    predictor = make(name, encoding=["path"])
    assert vars(predictor) == predictor.get_params()
    before = dict(vars(predictor))
    predictor.fit(table, accuracy)
    assert {key: vars(predictor)[key] for key in before} == before
    copy = clone(predictor)
    assert copy.get_params() == predictor.get_params()
    assert not hasattr(copy, "warp_")


def test_global_randomness_and_threads_are_neither_used_nor_touched(name, make, cells):
    table, accuracy = cells(30)
    predictions = []
    threads = torch.get_num_threads()
    try:
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002 (the global state is what is tested)
            torch.manual_seed(seed)
            torch.set_num_threads(seed)
            states = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
            predictor = make(name).fit(table[:20], accuracy[:20])
            assert (np.random.get_state()[1] == states[0]).all()  # noqa: NPY002
            assert torch.equal(torch.get_rng_state(), states[1])
            assert torch.get_num_threads() == seed
            predictions.append(predictor.predict(table, return_std=True))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(predictions[0], predictions[1], rtol=1e-12)


def test_modes_of_torch_make_no_difference(name, make, cells):
    table, accuracy = cells(30)
    expected = make(name).fit(table[:20], accuracy[:20]).predict(table, return_std=True)
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # as many users of BoTorch do
    try:
        with torch.no_grad():
            predictor = make(name).fit(table[:20], accuracy[:20])
            found = predictor.predict(table, return_std=True)
            posterior = predictor.posterior(table)
    finally:
        torch.set_default_dtype(dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert posterior.mean.dtype == torch.float64


def test_posterior_has_botorch_shapes_and_agrees_with_predict(name, make, cells):
    table, accuracy = cells(40, noise=0.5)
    predictor = make(name).fit(table[:30], accuracy[:30])
    posterior = predictor.posterior(table[30:])
    mean, std = predictor.predict(table[30:], return_std=True)
    assert posterior.mean.shape == posterior.variance.shape == (10, 1)
    assert posterior.mean.dtype == torch.float64
    torch.manual_seed(0)
    assert posterior.rsample(torch.Size([7])).shape == (7, 10, 1)
    # Noise moves the mean of a warped target a little, and adds to its variance.
    np.testing.assert_allclose(posterior.mean[:, 0], mean, atol=0.5 * std.max())
    assert np.median(posterior.variance[:, 0].numpy() / std**2) < 0.9
    samples = posterior.rsample(torch.Size([4000]))
    error = (samples.mean(0) - posterior.mean).abs() / (posterior.variance / 4000).sqrt()
    assert error.max() < 5
    np.testing.assert_allclose(samples.var(0), posterior.variance, rtol=0.3)


def test_posterior_over_gives_any_rows_in_batches(name, make, cells):
    table, accuracy = cells(40)
    predictor = make(name).fit(table[:30], accuracy[:30])
    posterior_over = predictor.posterior_over(table)
    whole = predictor.posterior(table)
    rows = torch.tensor([[0, 33], [39, 39], [7, 1]])
    batch = posterior_over(rows)
    assert batch.mean.shape == batch.variance.shape == (3, 2, 1)
    torch.testing.assert_close(batch.mean, whole.mean[rows])
    torch.testing.assert_close(batch.variance, whole.variance[rows])
    torch.manual_seed(0)
    samples = batch.rsample(torch.Size([500]))
    assert samples.shape == (500, 3, 2, 1)
    # The second batch holds one row twice: its samples are joint.
    assert np.corrcoef(samples[:, 1, :, 0].T)[0, 1] > 0.99


def test_saved_and_loaded_it_predicts_the_same(name, make, cells, tmp_path):
    table, accuracy = cells(40)
    predictor = make(name, operations=list(NasBench201.operations))
    predictor.fit(table[:30], accuracy[:30])
    save_predictor(predictor, tmp_path / "predictor", metadata={"target": "valid_accuracy"})
    loaded, metadata = load_predictor(tmp_path / "predictor")
    assert type(loaded) is type(predictor)
    assert metadata == {"target": "valid_accuracy"}
    if name in PREDICTORS:
        assert loaded.get_params() == predictor.get_params()
    assert plain_parameters(loaded) == plain_parameters(predictor)
    assert vars(loaded).keys() == vars(predictor).keys()
    np.testing.assert_array_equal(
        loaded.predict(table, return_std=True), predictor.predict(table, return_std=True)
    )
    torch.testing.assert_close(
        loaded.posterior(table).mean, predictor.posterior(table).mean, rtol=0, atol=0
    )


SCRIPT = """
import json, sys
import numpy as np
import pandas as pd
from encoders import ArchGraph
from predictnas.predictors import PREDICTORS, get_predictor

assert "torch" not in sys.modules  # importing predictors is cheap
names, records, accuracy = json.loads(sys.stdin.read())
table = pd.DataFrame(records)
table["graph"] = [ArchGraph.from_json(text) for text in table["graph"]]
predictions = {}
for name, parameters in names.items():
    predictor = get_predictor(name, **parameters).fit(table[:30], accuracy[:30])
    predictions[name] = np.concatenate(predictor.predict(table, return_std=True)).tolist()
assert "botorch" not in sys.modules
print(json.dumps(predictions))
"""


@pytest.fixture(scope="module")
def elsewhere(make, cells):
    """Predictions of another process, in which BoTorch was not imported."""
    table, accuracy = cells(40)
    records = table.assign(graph=[graph.to_json() for graph in table["graph"]])
    parameters = {name: make(name).get_params() for name in PREDICTORS}
    message = json.dumps([parameters, records.to_dict("list"), accuracy.tolist()])
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=message,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_same_in_another_process_whether_botorch_was_imported_or_not(name, make, cells, elsewhere):
    import botorch  # noqa: F401 (changes GPyTorch's global settings)

    if name in WRAPPERS:
        pytest.skip("it does what the predictor in it does")
    table, accuracy = cells(40)
    predictor = make(name).fit(table[:30], accuracy[:30])
    here = np.concatenate(predictor.predict(table, return_std=True))
    np.testing.assert_allclose(here, elsewhere[name], rtol=1e-12)

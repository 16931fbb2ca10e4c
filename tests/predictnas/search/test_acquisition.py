import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from predictnas.predictors import Predictor, get_predictor
from predictnas.search.acquisition import log_expected_improvement, thompson_sampling
from predictnas.spaces import Space


@pytest.fixture(scope="module")
def table(space: Space) -> pd.DataFrame:
    archs = space.sample(60, np.random.default_rng(0), distinct=True)
    return pd.DataFrame({"graph": pd.Series(space.graphs(archs), dtype=object)})


@pytest.fixture(scope="module")
def labels(space: Space) -> np.ndarray:
    archs = space.sample(60, np.random.default_rng(0), distinct=True)
    noise = np.random.default_rng(1).normal(0, 0.3, size=60)
    return 50.0 + 5.0 * (archs == 3).sum(1) + noise


@pytest.fixture(scope="module", params=["gp", "mlp", "forest"])
def predictor(request: pytest.FixtureRequest, table: pd.DataFrame, labels: np.ndarray) -> Predictor:
    return get_predictor(request.param).fit(table[:30], labels[:30])


def test_expected_improvement_is_the_closed_form(predictor: Predictor, table: pd.DataFrame) -> None:
    """E[max(f − f*, 0)] = σ (z Φ(z) + φ(z)), z = (μ − f*) / σ, in the warped unit."""
    posterior = predictor.posterior_over(table[30:], warped=True)(torch.arange(30))
    mean = posterior.mean.detach().numpy().reshape(-1)
    sigma = np.sqrt(posterior.variance.detach().numpy().reshape(-1))
    incumbent = float(np.median(mean))
    z = (mean - incumbent) / sigma
    expected = sigma * (z * norm.cdf(z) + norm.pdf(z))
    in_labels_unit = float(predictor.warp_.inverse(np.array([incumbent]))[0])
    found = log_expected_improvement(predictor, table[30:], in_labels_unit, 0)
    # Where it is not lost to cancellation in the closed form.
    reliable = expected > 1e-9
    assert reliable.sum() > 10
    np.testing.assert_allclose(found[reliable], np.log(expected[reliable]), rtol=1e-4, atol=1e-5)


def test_expected_improvement_orders_hopeless_candidates(
    predictor: Predictor, table: pd.DataFrame
) -> None:
    """Far below the incumbent plain expected improvement is zero everywhere; its log is not."""
    found = log_expected_improvement(predictor, table[30:], 300.0, 0)
    assert np.isfinite(found).all()
    assert len(np.unique(found)) > 5


def test_thompson_draws_follow_the_posterior(predictor: Predictor, table: pd.DataFrame) -> None:
    posterior = predictor.posterior(table[30:])
    draws = np.array([thompson_sampling(predictor, table[30:], 0.0, seed) for seed in range(300)])
    mean = posterior.mean.detach().numpy().reshape(-1)
    sigma = np.sqrt(posterior.variance.detach().numpy().reshape(-1))
    error = (draws.mean(0) - mean) / (sigma / np.sqrt(300) + 1e-9)
    assert np.abs(error).max() < 5
    assert len(np.unique(draws[:, 0])) > 1


def test_thompson_draws_depend_on_the_seed_alone(predictor: Predictor, table: pd.DataFrame) -> None:
    one = thompson_sampling(predictor, table[30:], 0.0, 7)
    np.testing.assert_array_equal(one, thompson_sampling(predictor, table[30:], 0.0, 7))

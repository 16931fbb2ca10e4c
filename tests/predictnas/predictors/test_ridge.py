import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import lognorm, multivariate_normal

from predictnas.predictors import RidgePredictor
from predictnas.predictors.inputs import read_inputs
from predictnas.predictors.ridge import _most_likely


def test_predictions_are_the_closed_form_of_ridge_regression(cells):
    table, accuracy = cells(50, noise=0.3)
    predictor = RidgePredictor(warp="none").fit(table[:30], accuracy[:30])
    features, numbers = predictor.features_, predictor.hyperparameters_
    seen, new = (features.transform(read_inputs(part)) for part in (table[:30], table[30:]))
    targets = predictor.warp_.transform(accuracy[:30])
    # Of the intercept and the weights, each with its own penalty.
    penalties = numbers.noise / np.append(1.0, numbers.scales[features.groups] ** 2)
    seen, new = (np.column_stack([np.ones(len(rows)), rows]) for rows in (seen, new))
    inverse = np.linalg.inv(seen.T @ seen + np.diag(penalties))
    mean = new @ (inverse @ seen.T @ targets)
    variance = numbers.noise * (1 + np.einsum("ij,jk,ik->i", new, inverse, new))
    expected = predictor.warp_.moments(mean, np.sqrt(variance))
    found = predictor.predict(table[30:], return_std=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    joint = predictor.posterior(table[30:]).distribution.covariance_matrix.numpy()
    unit = predictor.warp_.std * predictor.warp_.scale
    covariance = numbers.noise * new @ inverse @ new.T * unit**2
    np.testing.assert_allclose(joint, covariance, atol=1e-5 * unit**2)


def test_hyperparameters_have_the_highest_posterior_density():
    rng = np.random.default_rng(0)
    rows, groups = rng.standard_normal((25, 3)), np.array([0, 0, 1])
    targets = rows[:, 0] + 0.3 * rng.standard_normal(25)

    def negative_log_posterior(logs):
        noise, *scales = np.exp(logs)
        scaled = rows * np.array(scales)[groups]
        covariance = scaled @ scaled.T + 1 + noise * np.eye(25)
        prior = lognorm.logpdf(noise, s=1, scale=np.exp(-2))
        prior += lognorm.logpdf(scales, s=2, scale=np.sqrt(0.5)).sum()
        return -(multivariate_normal.logpdf(targets, np.zeros(25), covariance) + prior)

    found = _most_likely(rows, groups, targets, max_iterations=200)
    logs = np.log([found.noise, *found.scales])
    best = minimize(negative_log_posterior, logs * 0.5 + 0.1)
    assert negative_log_posterior(logs) < best.fun + 1e-3


def test_a_linear_function_is_found_and_idle_columns_are_left_alone():
    x = np.random.default_rng(0).standard_normal((100, 2))
    noise = 0.1 * np.random.default_rng(1).standard_normal(100)
    table = pd.DataFrame(x, columns=["used", "idle"])
    predictor = RidgePredictor(warp="none").fit(table, 5 + 2 * x[:, 0] + noise)
    idle, used = predictor.hyperparameters_.scales
    assert used > 10 * idle
    unit = predictor.warp_.std * predictor.warp_.scale
    assert np.sqrt(predictor.hyperparameters_.noise) * unit == pytest.approx(0.1, rel=0.3)

import numpy as np
import pandas as pd
import pytest
import torch
from gpytorch.mlls import ExactMarginalLogLikelihood
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.stats import lognorm, multivariate_normal
from sklearn.base import clone

from predictnas.predictors import GPPredictor
from predictnas.predictors.exact_gp import (
    ExactGP,
    GroupRBFKernel,
    covariance,
    fit,
)
from predictnas.predictors.hyperparameters import Hyperparameters
from predictnas.predictors.inputs import read_inputs

GROUPS = np.array([0, 0, 1])


def dense_kernel(hyperparameters, groups, first, second):
    scale = hyperparameters.lengthscales[groups]
    difference = (first[:, None] - second) / scale
    return hyperparameters.outputscale * np.exp(-0.5 * (difference**2).sum(axis=-1))


@pytest.mark.parametrize("warp", ["none", "yeo-johnson"])
def test_posterior_is_the_dense_one(warp, cells):
    table, accuracy = cells(50, noise=0.3)
    predictor = GPPredictor(warp=warp).fit(table[:30], accuracy[:30])
    numbers, groups = predictor.hyperparameters_, predictor.features_.groups
    seen = predictor.features_.transform(read_inputs(table[:30]))
    new = predictor.features_.transform(read_inputs(table[30:]))
    targets = predictor.warp_.transform(accuracy[:30]) - numbers.mean
    noisy = dense_kernel(numbers, groups, seen, seen) + numbers.noise * np.eye(30)
    cross = dense_kernel(numbers, groups, seen, new)
    factor = cho_factor(noisy, lower=True)
    mean = numbers.mean + cross.T @ cho_solve(factor, targets)
    joint = dense_kernel(numbers, groups, new, new) - cross.T @ cho_solve(factor, cross)

    std = np.sqrt(np.diag(joint) + numbers.noise)
    expected = predictor.warp_.moments(mean, std)
    np.testing.assert_allclose(predictor.predict(table[30:], return_std=True), expected, rtol=1e-8)

    posterior = predictor.posterior(table[30:])
    if warp == "none":
        unit = predictor.warp_.std * predictor.warp_.scale
        found = posterior.distribution.covariance_matrix.numpy()
        np.testing.assert_allclose(found, joint * unit**2, atol=2e-6 * unit**2)
        np.testing.assert_allclose(posterior.mean[:, 0], expected[0], rtol=1e-8)
    else:
        clean = predictor.warp_.moments(mean, np.sqrt(np.diag(joint)))
        np.testing.assert_allclose(posterior.mean[:, 0], clean[0], rtol=1e-6)
        np.testing.assert_allclose(posterior.variance[:, 0], clean[1] ** 2, rtol=1e-3)


def test_kernel_is_the_formula_and_with_groups_of_one_that_of_gpytorch():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((4, 3)), rng.standard_normal((5, 3))
    numbers = Hyperparameters(np.array([0.7, 2.0]), 1.3, 0.1, 0.0)
    found = covariance(numbers, torch.from_numpy(GROUPS), *map(torch.from_numpy, (first, second)))
    np.testing.assert_allclose(found, dense_kernel(numbers, GROUPS, first, second), rtol=1e-10)

    from gpytorch.kernels import RBFKernel

    reference = RBFKernel(ard_num_dims=3).double()
    reference.lengthscale = torch.tensor([0.5, 1.0, 2.0])
    kernel = GroupRBFKernel(torch.arange(3)).double()
    kernel.lengthscales = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    x1, x2 = torch.from_numpy(first), torch.from_numpy(second)
    torch.testing.assert_close(kernel(x1, x2).to_dense(), reference(x1, x2).to_dense())
    torch.testing.assert_close(kernel(x1, x2[:4], diag=True), reference(x1, x2[:4], diag=True))


def test_hyperparameters_have_the_highest_posterior_density():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((25, 3))
    targets = np.sin(rows[:, 0]) + 0.2 * rng.standard_normal(25)

    def negative_log_posterior(logs):
        *lengthscales, outputscale, noise = np.exp(logs[:-1])
        numbers = Hyperparameters(np.array(lengthscales), outputscale, noise, logs[-1])
        noisy = dense_kernel(numbers, GROUPS, rows, rows) + noise * np.eye(25)
        prior = lognorm.logpdf(lengthscales, s=0.7, scale=np.sqrt(2)).sum()
        prior += lognorm.logpdf(outputscale, s=1) + lognorm.logpdf(noise, s=1, scale=np.exp(-2))
        likelihood = multivariate_normal.logpdf(targets, np.full(25, numbers.mean), noisy)
        return -(likelihood + prior)

    found = fit(rows, targets, GROUPS, max_iterations=200)
    logs = np.log([*found.lengthscales, found.outputscale, found.noise])
    best = minimize(negative_log_posterior, np.append(logs, found.mean) * 0.5 + 0.1)
    assert negative_log_posterior(np.append(logs, found.mean)) < best.fun + 1e-3


def test_log_posterior_and_its_derivatives_are_those_of_gpytorch():
    rng = np.random.default_rng(0)
    rows, targets = rng.standard_normal((25, 3)), rng.standard_normal(25)
    model = ExactGP(*map(torch.from_numpy, (rows, targets, GROUPS)))
    model.hyperparameters = Hyperparameters(np.array([0.7, 2.0]), 1.3, 0.1, 0.4)
    model.train()
    reference = ExactMarginalLogLikelihood(model.likelihood, model)
    expected = 25 * reference(model(*model.train_inputs), model.train_targets)
    found = model.log_posterior()
    # That of GPyTorch has no jitter.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    parameters = list(model.parameters())
    for value, other in zip(
        torch.autograd.grad(found, parameters),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        torch.testing.assert_close(value, other, rtol=1e-3, atol=1e-4)


def test_noise_is_learned():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 1))
    for noise in (0.05, 0.5):
        y = np.sin(2 * x[:, 0]) + noise * rng.standard_normal(200)
        predictor = GPPredictor(warp="none").fit(x, y)
        unit = predictor.warp_.std * predictor.warp_.scale
        assert np.sqrt(predictor.hyperparameters_.noise) * unit == pytest.approx(noise, rel=0.2)


def test_irrelevant_columns_get_long_lengthscales():
    x = np.random.default_rng(0).standard_normal((100, 2))
    predictor = GPPredictor().fit(pd.DataFrame(x, columns=["used", "idle"]), np.sin(2 * x[:, 0]))
    idle, used = predictor.hyperparameters_.lengthscales
    assert idle > 4 * used


@pytest.mark.parametrize("limit", [1000, 12])
def test_order_of_training_rows_makes_no_difference(cells, limit):
    table, accuracy = cells(40)
    predictor = GPPredictor(max_search_labels=limit)
    first = clone(predictor).fit(table[:30], accuracy[:30])
    order = np.random.default_rng(0).permutation(30)
    second = clone(predictor).fit(table.iloc[order], accuracy[order])
    np.testing.assert_allclose(second.predict(table), first.predict(table), rtol=1e-4)
    assert first.fingerprint_ == second.fingerprint_


def test_the_posterior_has_all_labels_where_the_search_had_some():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=(60, 1))
    y = np.sin(3 * x[:, 0])
    predictor = GPPredictor(warp="none", max_search_labels=20).fit(x, y)
    assert predictor.rows_.shape == (60, 1)
    assert np.abs(predictor.predict(x) - y).max() < 0.1


def test_global_settings_are_neither_used_nor_touched(cells):
    import gpytorch

    table, accuracy = cells(40)
    expected = GPPredictor().fit(table[:30], accuracy[:30]).predict(table, return_std=True)
    with (
        gpytorch.settings.fast_computations(True, True, True),
        gpytorch.settings.max_cholesky_size(5),
        gpytorch.settings.cholesky_jitter(double_value=1e-2),
        gpytorch.settings.max_eager_kernel_size(5),
    ):
        predictor = GPPredictor().fit(table[:30], accuracy[:30])
        np.testing.assert_array_equal(predictor.predict(table, return_std=True), expected)
        assert gpytorch.settings.max_cholesky_size.value() == 5
        assert gpytorch.settings.fast_computations.log_prob.on()


def test_model_gives_gpytorchs_posterior_too():
    rng = np.random.default_rng(0)
    rows, new = rng.standard_normal((20, 3)), rng.standard_normal((6, 3))
    targets = rows.sum(axis=1)
    numbers = Hyperparameters(np.array([1.0, 1.5]), 2.0, 0.05, 0.3)
    model = ExactGP(*map(torch.from_numpy, (rows, targets, GROUPS)))
    model.hyperparameters = numbers
    assert model.hyperparameters.noise == pytest.approx(0.05)
    with torch.no_grad():
        posterior = model.eval()(torch.from_numpy(new))
        found = posterior.mean, posterior.covariance_matrix
    noisy = dense_kernel(numbers, GROUPS, rows, rows) + 0.05 * np.eye(20)
    cross = dense_kernel(numbers, GROUPS, rows, new)
    mean = 0.3 + cross.T @ np.linalg.solve(noisy, targets - 0.3)
    joint = dense_kernel(numbers, GROUPS, new, new) - cross.T @ np.linalg.solve(noisy, cross)
    np.testing.assert_allclose(found[0], mean, rtol=1e-8)
    np.testing.assert_allclose(found[1], joint, atol=1e-8)

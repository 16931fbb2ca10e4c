import numpy as np
import pytest
from scipy.spatial.distance import cdist

from predictnas.predictors import DeepGPPredictor, GPPredictor
from predictnas.predictors.deep_kernel import train
from predictnas.predictors.hyperparameters import Hyperparameters
from predictnas.predictors.inputs import read_inputs

SETTINGS = {"width": 16, "prior_std": 0.1, "learning_rate": 0.01, "batch_size": 100}


def dense_covariance(kernel, first, second):
    return kernel.outputscale * np.exp(-0.5 * cdist(first, second, "sqeuclidean"))


def embedded(kernel, rows):
    scaled = rows / kernel.lengthscales
    return scaled + np.tanh(scaled @ kernel.inner + kernel.bias) @ kernel.outer


def test_posterior_is_the_dense_one(cells):
    table, accuracy = cells(50, noise=0.3)
    predictor = DeepGPPredictor(warp="none").fit(table[:30], accuracy[:30])
    kernel = predictor.kernel_
    rows = predictor.features_.transform(read_inputs(table))
    points = embedded(kernel, rows)
    assert np.abs(points - rows / kernel.lengthscales).max() > 1e-3  # something was learned
    prior = dense_covariance(kernel, points, points)
    noisy = prior[:30, :30] + kernel.noise * np.eye(30)
    targets = predictor.warp_.transform(accuracy[:30]) - kernel.mean
    mean = kernel.mean + prior[30:, :30] @ np.linalg.solve(noisy, targets)
    joint = prior[30:, 30:] - prior[30:, :30] @ np.linalg.solve(noisy, prior[:30, 30:])
    expected = predictor.warp_.moments(mean, np.sqrt(np.diag(joint) + kernel.noise))
    np.testing.assert_allclose(predictor.predict(table[30:], return_std=True), expected, rtol=1e-6)
    unit = predictor.warp_.std * predictor.warp_.scale
    found = predictor.posterior(table[30:]).distribution.covariance_matrix.numpy()
    np.testing.assert_allclose(found, joint * unit**2, atol=1e-5 * unit**2)


def test_a_tight_prior_leaves_the_plain_gaussian_process(cells):
    table, accuracy = cells(50, noise=0.3)
    deep = DeepGPPredictor(prior_std=1e-4, learning_rate=1e-4).fit(table[:30], accuracy[:30])
    plain = GPPredictor().fit(table[:30], accuracy[:30])
    np.testing.assert_allclose(deep.predict(table), plain.predict(table), rtol=1e-3)


@pytest.mark.parametrize("batch_size", [200, 40])
def test_training_finds_what_stretched_rows_hide(batch_size):
    # The function has changes only where the first column is near zero.
    rng = np.random.default_rng(0)
    rows = rng.uniform(-2, 2, size=(240, 1))
    targets = np.tanh(8 * rows[:, 0])
    start = Hyperparameters(np.array([1.0]), 1.0, 0.05, 0.0)
    errors = []
    for steps in (1, 300):
        kernel = train(
            rows[:60],
            targets[:60],
            start,
            np.zeros(1, dtype=np.int64),
            steps=steps,
            generator=np.random.default_rng(1),
            **SETTINGS | {"prior_std": 2.0, "batch_size": batch_size},
        )
        points = kernel.embed(rows)
        noisy = dense_covariance(kernel, points[:60], points[:60]) + kernel.noise * np.eye(60)
        cross = dense_covariance(kernel, points[60:], points[:60])
        mean = kernel.mean + cross @ np.linalg.solve(noisy, targets[:60] - kernel.mean)
        errors.append(np.mean((mean - targets[60:]) ** 2))
    assert errors[1] < 0.7 * errors[0]


def test_what_the_network_has_seen_is_not_called_held_out(cells):
    table, accuracy = cells(20)
    assert DeepGPPredictor(steps=2).fit(table, accuracy).held_out_predictions() is None

import numpy as np
import pytest
import torch
from botorch.acquisition import (
    LogExpectedImprovement,
    UpperConfidenceBound,
    qLogExpectedImprovement,
)
from botorch.acquisition.objective import ScalarizedPosteriorTransform
from botorch.generation.sampling import MaxPosteriorSampling
from botorch.sampling import SobolQMCNormalSampler
from botorch.sampling.index_sampler import IndexSampler
from scipy.stats import norm, spearmanr

from predictnas.errors import InputError
from predictnas.predictors import PREDICTORS
from predictnas.predictors.botorch_model import PoolModel
from predictnas.predictors.inputs import read_inputs


def fitted(name, make, cells, **parameters):
    table, accuracy = cells(60, noise=0.5)
    predictor = make(name, **parameters).fit(table[:25], accuracy[:25])
    return predictor, table[25:], accuracy[:25]


def expected_improvement(mean, std, best):
    u = (mean - best) / std
    return std * (norm.pdf(u) + u * norm.cdf(u))


@pytest.mark.parametrize("name", PREDICTORS)
def test_log_expected_improvement_is_the_closed_form(name, make, cells):
    predictor, table, accuracy = fitted(name, make, cells)
    model, best = PoolModel(predictor, table), float(np.quantile(accuracy, 0.7))
    posterior = predictor.posterior(table)
    mean, std = posterior.mean[:, 0].numpy(), posterior.variance[:, 0].sqrt().numpy()
    expected = expected_improvement(mean, std, best)
    with torch.no_grad():
        found = LogExpectedImprovement(model, best_f=best)(model.rows())
    assert found.shape == (35,)
    np.testing.assert_allclose(found.exp(), expected, rtol=1e-4, atol=1e-9)


def test_gaussian_improvement_follows_from_predict_without_noise(make, cells):
    predictor, table, accuracy = fitted("gp", make, cells, warp="none")
    model, best = PoolModel(predictor, table), float(np.quantile(accuracy, 0.7))
    mean, std = predictor.predict(table, return_std=True)
    unit = predictor.warp_.std * predictor.warp_.scale
    clean = np.sqrt(std**2 - predictor.hyperparameters_.noise * unit**2)
    with torch.no_grad():
        found = LogExpectedImprovement(model, best_f=best)(model.rows()).exp()
    np.testing.assert_allclose(found, expected_improvement(mean, clean, best), rtol=1e-3)


def test_warped_improvement_is_the_closed_form_over_warped_targets(make, cells):
    predictor, table, accuracy = fitted("gp", make, cells)
    model = PoolModel(predictor, table, warped=True)
    best = model.in_model_unit(float(np.quantile(accuracy, 0.7)))
    assert best == pytest.approx(predictor.warp_.transform(np.quantile(accuracy, [0.7]))[0])
    mean, std = predictor._predict(read_inputs(table))
    clean = np.sqrt(std**2 - predictor.hyperparameters_.noise)
    with torch.no_grad():
        found = LogExpectedImprovement(model, best_f=best)(model.rows()).exp()
    np.testing.assert_allclose(found, expected_improvement(mean, clean, best), rtol=1e-3)


@pytest.mark.parametrize("name", PREDICTORS)
def test_warped_samples_are_the_warped_samples(name, make, cells):
    predictor, table, accuracy = fitted(name, make, cells)
    draws = []
    for warped in (False, True):
        model = PoolModel(predictor, table, warped=warped)
        torch.manual_seed(0)
        draws.append(model.posterior(model.rows()[:, 0]).rsample(torch.Size([5])).numpy())
    np.testing.assert_allclose(predictor.warp_.transform(draws[0]), draws[1], atol=1e-6)
    assert PoolModel(predictor, table).in_model_unit(accuracy[0]) == accuracy[0]


def test_sampled_improvement_of_a_gaussian_is_the_closed_form(make, cells):
    predictor, table, accuracy = fitted("gp", make, cells, warp="none")
    model, best = PoolModel(predictor, table), float(np.quantile(accuracy, 0.5))
    sampler = SobolQMCNormalSampler(torch.Size([4096]), seed=0)
    with torch.no_grad():
        sampled = qLogExpectedImprovement(model, best, sampler=sampler)(model.rows())
        exact = LogExpectedImprovement(model, best)(model.rows())
    likely = exact > exact.max() - 2
    np.testing.assert_allclose(sampled[likely].exp(), exact[likely].exp(), rtol=0.05)


@pytest.mark.parametrize("name", ["mlp", "forest"])
def test_sampled_improvement_of_an_ensemble_is_that_of_its_members(name, make, cells):
    predictor, table, accuracy = fitted(name, make, cells)
    model, best = PoolModel(predictor, table), float(np.quantile(accuracy, 0.5))
    members = predictor.posterior(table).values[..., 0].numpy()
    expected = np.maximum(members - best, 0).mean(axis=0)
    sampler = IndexSampler(torch.Size([2000]), seed=0)
    with torch.no_grad():
        sampled = qLogExpectedImprovement(model, best, sampler=sampler)(model.rows())
    np.testing.assert_allclose(sampled.exp(), expected, rtol=0.15, atol=0.02)


@pytest.mark.parametrize("name", PREDICTORS)
def test_batches_of_several_architectures(name, make, cells):
    predictor, table, accuracy = fitted(name, make, cells)
    model = PoolModel(predictor, table)
    torch.manual_seed(0)
    with torch.no_grad():
        singles = qLogExpectedImprovement(model, float(accuracy.mean()))(model.rows())
        # Where an improvement is likely: the logarithm of a rare one is uncertain by its samples.
        best = float(singles.argmax())
        pairs = torch.tensor([[[0.0], [1.0]], [[best], [best]], [[34.0], [2.0]]]).double()
        joint = qLogExpectedImprovement(model, float(accuracy.mean()))(pairs)
    assert joint.shape == (3,)
    assert joint[0] >= max(singles[0], singles[1]) - 0.2
    assert joint[1].item() == pytest.approx(singles.max().item(), abs=0.2)


@pytest.mark.parametrize("name", PREDICTORS)
def test_thompson_sampling_prefers_what_is_predicted_to_be_good(name, make, cells):
    predictor, table, _ = fitted(name, make, cells)
    model = PoolModel(predictor, table)
    torch.manual_seed(0)
    with torch.no_grad():
        chosen = MaxPosteriorSampling(model)(model.rows()[:, 0], num_samples=60)[:, 0].long()
    rank = np.argsort(np.argsort(-predictor.predict(table)))
    assert rank[chosen].mean() < 14  # 17 by chance
    assert len(set(chosen.tolist())) > 1


def test_posterior_transforms_are_applied(make, cells):
    predictor, table, _ = fitted("gp", make, cells, warp="none")
    model = PoolModel(predictor, table)
    negative = ScalarizedPosteriorTransform(torch.tensor([-1.0], dtype=torch.float64))
    found = model.posterior(model.rows(), posterior_transform=negative).mean
    torch.testing.assert_close(found, -model.posterior(model.rows()).mean)


def test_model_describes_itself(make, cells):
    predictor, table, _ = fitted("gp", make, cells)
    model = PoolModel(predictor, table, warped=True)
    assert model.num_outputs == 1
    assert model.batch_shape == torch.Size()
    with torch.no_grad():
        values = UpperConfidenceBound(model, beta=0.25)(model.rows())
    assert spearmanr(values, predictor.predict(table)).statistic > 0.5


def test_mistakes_are_refused(make, cells):
    predictor, table, _ = fitted("gp", make, cells)
    model = PoolModel(predictor, table)
    for wrong in ([[35.0]], [[-1.0]], [[0.5]], [[0.0, 1.0]], [0.0], [[float("nan")]]):
        with pytest.raises(InputError, match="row numbers from 0 to 34"):
            model.posterior(torch.tensor(wrong))
    with pytest.raises(InputError, match="observation_noise=False"):
        model.posterior(model.rows(), observation_noise=True)
    with pytest.raises(InputError, match=r"expected output 0, the only one, found \[1\]"):
        model.posterior(model.rows(), output_indices=[1])

import numpy as np
import pytest
import torch

from predictnas.predictors import MLPEnsemble
from predictnas.predictors.batched_mlp import _Batches, _initial_layers, train
from predictnas.predictors.mlp import _forward

SETTINGS = {"hidden": (6, 5), "learning_rate": 0.01, "batch_size": 100}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((12, 3))
    return rows, rows[:, 0] - np.abs(rows[:, 1])


def one_by_one(rows, targets, held_out, steps):
    """Train each member on its own with the building blocks of torch."""
    layers = _initial_layers(len(held_out), (3, 6, 5, 1), np.random.default_rng(7))
    predictions = []
    for member, left_out in enumerate(held_out):
        modules = []
        for weights, biases in zip(layers[::2], layers[1::2], strict=True):
            linear = torch.nn.Linear(*weights.shape[1:])
            linear.weight.data = weights[member].detach().T.clone()
            linear.bias.data = biases[member, 0].detach().clone()
            modules += [linear, torch.nn.ReLU()]
        network = torch.nn.Sequential(*modules[:-1])
        optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        x = torch.tensor(rows[~left_out], dtype=torch.float32)
        y = torch.tensor(targets[~left_out], dtype=torch.float32)
        for _ in range(steps):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(network(x)[:, 0], y).backward()
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            predictions.append(network(torch.tensor(rows, dtype=torch.float32))[:, 0].numpy())
    return np.stack(predictions)


@pytest.mark.parametrize("folds", [0, 3])
def test_batched_training_is_separate_training(data, folds):
    rows, targets = data
    held_out = np.arange(12) % 3 == np.arange(3)[:, None] if folds else np.zeros((3, 12), bool)
    generator = np.random.default_rng(7)
    # Nine steps: the weights are judged once, at the end.
    layers = train(rows, targets, held_out, steps=9, generator=generator, **SETTINGS)
    expected = one_by_one(rows, targets, held_out, 9)
    np.testing.assert_allclose(_forward(layers, rows), expected, atol=1e-5)


def test_members_never_see_what_they_leave_out(data):
    rows, targets = data
    held_out = np.arange(12) % 3 == np.arange(3)[:, None]
    predictions = []
    for last in (0.0, 50.0):
        changed = np.append(targets[:-1], last)  # row 11 is left out by member 2
        generator = np.random.default_rng(7)
        settings = SETTINGS | {"batch_size": 4}
        layers = train(rows, changed, held_out, steps=9, generator=generator, **settings)
        predictions.append(_forward(layers, rows))
    np.testing.assert_array_equal(predictions[0][2], predictions[1][2])
    assert (np.abs(predictions[0][:2] - predictions[1][:2]).max(axis=1) > 1e-3).all()


def test_training_stops_where_the_error_on_unseen_labels_is_smallest(data):
    rows, _ = data
    noise = np.random.default_rng(3).standard_normal(12)
    held_out = np.arange(12) % 4 == np.arange(8)[:, None] % 4

    def unseen_error(steps):
        generator = np.random.default_rng(7)
        layers = train(rows, noise, held_out, steps=steps, generator=generator, **SETTINGS)
        predictions = _forward(layers, rows)
        unseen = np.where(held_out, predictions, 0).sum(axis=0) / held_out.sum(axis=0)
        return np.mean((unseen - noise) ** 2)

    # Members would fit the noise in 400 steps; their unseen error stays near that of a constant.
    assert unseen_error(400) < 1.3 * np.mean(noise**2)


def test_batches_are_drawn_without_replacement_from_what_a_member_may_see():
    held_out = np.arange(12) % 3 == np.arange(3)[:, None]
    batches = _Batches(held_out, 5, np.random.default_rng(0))
    drawn = np.zeros((3, 12))
    for _ in range(200):
        (members, rows), weights = batches.draw()
        assert rows.shape == weights.shape == (3, 5)
        np.testing.assert_allclose(weights.sum(dim=1), 1.0)
        assert all(len(set(row)) == 5 for row in rows.tolist())
        np.add.at(drawn, (members.numpy(), rows.numpy()), 1)
    assert (drawn[held_out] == 0).all()
    np.testing.assert_allclose(drawn[~held_out], 200 * 5 / 8, rtol=0.3)


def test_fewer_architectures_than_folds(cells):
    table, accuracy = cells(3)
    predictor = MLPEnsemble(folds=5, repeats=2, steps=20).fit(table, accuracy)
    assert predictor.layers_[0].shape[0] == 3 * 2


def test_seed_decides(cells):
    table, accuracy = cells(30)
    first, again, other = (
        MLPEnsemble(steps=20, random_state=seed).fit(table, accuracy).predict(table)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3

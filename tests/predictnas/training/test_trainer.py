import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from predictnas.errors import CandidateError, InputError
from predictnas.spaces import Space
from predictnas.training import (
    Epoch,
    Recipe,
    Split,
    Task,
    accuracy,
    resolve_device,
    seeded,
    train,
    train_architecture,
)
from predictnas.training.trainer import _augment, _learning_rate_factor, _memory_format

CONV_CELL = (3, 3, 3, 3, 3, 3)


def network(task: Task) -> nn.Module:
    with seeded(0):
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(task.input_shape), task.num_classes))


class TestTraining:
    def test_learns(self, tiny_task: Task) -> None:
        training = train(network(tiny_task), tiny_task, Recipe(epochs=8, batch_size=32), seed=0)
        assert training.epochs[-1].train_loss < 0.5 * training.epochs[0].train_loss
        assert training.valid_accuracy > 80
        assert training.test_accuracy > 80

    def test_seed_decides_everything(
        self, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        def curve(seed: int) -> list[tuple[float, float]]:
            torch.rand(seed + 1)  # the surrounding stream must not matter
            _, training = train_architecture(space, CONV_CELL, tiny_task, tiny_recipe, seed=seed)
            return [(epoch.train_loss, epoch.valid_accuracy) for epoch in training.epochs]

        assert curve(0) == curve(0)
        assert curve(0) != curve(1)

    def test_leaves_the_random_stream_alone(
        self, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        before = torch.random.get_rng_state()
        train_architecture(space, CONV_CELL, tiny_task, tiny_recipe, seed=0)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_reports_every_epoch_and_the_last_counts(
        self, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        seen: list[Epoch] = []
        net, training = train_architecture(
            space, CONV_CELL, tiny_task, tiny_recipe, seed=0, on_epoch=seen.append
        )
        assert [epoch.number for epoch in seen] == [1, 2]
        assert tuple(seen) == training.epochs
        assert training.valid_accuracy == seen[-1].valid_accuracy
        assert accuracy(net, tiny_task.valid) == training.valid_accuracy
        assert accuracy(net, tiny_task.test) == training.test_accuracy

    def test_validation_data_do_not_influence_weights(self, tiny_task: Task) -> None:
        shuffled = Task(
            **{
                **tiny_task.__dict__,
                "valid": Split(tiny_task.valid.images * 0, tiny_task.valid.labels),
            }
        )
        nets = [network(tiny_task) for _ in range(2)]
        recipe = Recipe(epochs=2, batch_size=32)
        for net, task in zip(nets, (tiny_task, shuffled), strict=True):
            train(net, task, recipe, seed=0)
        for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            assert torch.equal(one, other)

    @pytest.mark.parametrize("largest", [100.0, 0.05])
    def test_one_step_is_nesterov_sgd_worked_by_hand(self, largest: float) -> None:
        """One epoch of one batch: w ← w − η (g + λw + m (g + λw)), with no decay on the bias.

        g is the gradient, scaled to the norm `largest` where its own is larger.
        """
        images = torch.tensor([[[[1.0]]], [[[2.0]]]])
        split = Split(images, torch.tensor([0, 1]))
        task = Task("hand", split, split, split, 2, (0.0,), (1.0,))
        net = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
        with torch.no_grad():
            net[1].weight[:] = torch.tensor([[0.5], [-0.5]])
            net[1].bias.zero_()
        recipe = Recipe(
            epochs=1, batch_size=2, learning_rate=0.1, momentum=0.9, weight_decay=0.01,
            warmup_epochs=0.0, gradient_clip=largest,
        )  # fmt: skip
        x, w = np.array([1.0, 2.0]), np.array([0.5, -0.5])
        p = np.exp(np.outer(x, w))
        p /= p.sum(1, keepdims=True)
        error = (p - np.eye(2)) / 2
        norm = np.sqrt(np.sum((error.T @ x) ** 2) + np.sum(error.sum(0) ** 2))
        assert 0.05 < norm < 100.0
        scale = min(largest / norm, 1.0)
        weight_gradient = scale * error.T @ x + 0.01 * w
        bias_gradient = scale * error.sum(0)
        train(net, task, recipe, seed=0)
        np.testing.assert_allclose(
            net[1].weight.detach()[:, 0], w - 0.1 * 1.9 * weight_gradient, rtol=1e-5
        )
        np.testing.assert_allclose(net[1].bias.detach(), -0.1 * 1.9 * bias_gradient, rtol=1e-5)


class TestFailures:
    def test_divergence(self, tiny_task: Task) -> None:
        class Diverging(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.scale = nn.Parameter(torch.ones(1))

            def forward(self, x: Tensor) -> Tensor:
                return self.scale * torch.full((len(x), 3), torch.nan)

        with pytest.raises(CandidateError, match="diverged: the loss of epoch 1 is not finite"):
            train(Diverging(), tiny_task, Recipe(batch_size=32), seed=0)

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
        ],
    )
    def test_out_of_memory(self, tiny_task: Task, error: Exception) -> None:
        net = network(tiny_task)
        net.register_forward_hook(lambda *_: (_ for _ in ()).throw(error))
        with pytest.raises(CandidateError, match="out of memory on cpu"):
            train(net, tiny_task, Recipe(batch_size=32), seed=0)

    def test_other_errors_are_not_hidden(self, tiny_task: Task) -> None:
        wrong = nn.Sequential(nn.Flatten(), nn.Linear(7, 3))
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            train(wrong, tiny_task, Recipe(batch_size=32), seed=0)

    def test_time_limit(self, tiny_task: Task) -> None:
        with pytest.raises(CandidateError, match="timed out after 0 s in epoch 1"):
            train(network(tiny_task), tiny_task, Recipe(batch_size=32), seed=0, time_limit=0.0)

    def test_batch_larger_than_the_task(self, tiny_task: Task) -> None:
        with pytest.raises(InputError, match="batch_size 512 exceeds the 96 training images"):
            train(network(tiny_task), tiny_task, Recipe(batch_size=512), seed=0)


class TestSchedule:
    def test_warm_up_then_half_a_cosine(self) -> None:
        recipe = Recipe(epochs=5, warmup_epochs=1.0)
        factors = [_learning_rate_factor(step, 10, recipe) for step in range(51)]
        np.testing.assert_allclose(factors[:10], np.arange(1, 11) / 10)
        expected = 0.5 * (1 + np.cos(np.pi * np.arange(41) / 40))
        np.testing.assert_allclose(factors[10:], expected, atol=1e-12)

    @pytest.mark.parametrize("warmup", [0.06, 0.1, 0.5])
    def test_a_warm_up_that_ends_within_a_step_does_not_overshoot(self, warmup: float) -> None:
        recipe = Recipe(epochs=5, warmup_epochs=warmup)
        factors = [_learning_rate_factor(step, 19, recipe) for step in range(96)]
        assert max(factors) == 1.0


class TestAugmentation:
    def test_shift_moves_whole_images(self) -> None:
        images = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4).repeat(200, 1, 1, 1)
        moved = _augment(images, Recipe(shift=1), torch.Generator().manual_seed(0))
        padded = nn.functional.pad(images[:1], (1, 1, 1, 1))
        allowed = {
            tuple(padded[0, 0, r : r + 4, c : c + 4].flatten().tolist())
            for r in range(3)
            for c in range(3)
        }
        assert {tuple(image.flatten().tolist()) for image in moved} == allowed

    def test_flip_mirrors_about_half(self) -> None:
        images = torch.arange(1.0, 5.0).reshape(1, 1, 1, 4).repeat(400, 1, 1, 1)
        flipped = _augment(images, Recipe(flip=True), torch.Generator().manual_seed(0))
        first = flipped[:, 0, 0, 0]
        assert set(first.tolist()) == {1.0, 4.0}
        assert 0.4 < (first == 4.0).float().mean().item() < 0.6

    def test_off_by_default(self) -> None:
        images = torch.rand(3, 1, 4, 4)
        assert _augment(images, Recipe(), torch.Generator()) is images


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), torch.contiguous_format),
        (nn.Conv2d(8, 8, 1, stride=2, groups=2), torch.contiguous_format),
        (nn.Conv2d(8, 8, 1, stride=2), torch.channels_last),
        (nn.Conv2d(4, 8, 3, stride=2, padding=1), torch.channels_last),
    ],
)
def test_layouts_with_which_kernels_write_past_their_memory_are_avoided(
    layer: nn.Conv2d, expected: torch.memory_format
) -> None:
    assert _memory_format(nn.Sequential(nn.ReLU(), nn.Sequential(layer))) is expected


def test_unknown_device() -> None:
    with pytest.raises(InputError, match="device 'gpu' cannot be used .* try 'auto'"):
        resolve_device("gpu")

"""Training many multilayer perceptrons at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictnas.predictors.threads import single_thread

__all__ = ["train"]

CHECK_EVERY = 10


def train(
    matrix: NDArray[np.float64],
    targets: NDArray[np.float64],
    held_out: NDArray[np.bool_],
    *,
    hidden: Sequence[int],
    learning_rate: float,
    steps: int,
    batch_size: int,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float64], ...]:
    """Train `s` members with rectified linear units on the squared error.

    All members take the same steps. Every few steps the mean prediction of the members that do not
    see a row is compared with its target, and the weights at the smallest mean squared error are
    what is returned.

    Parameters
    ----------
    matrix
        Training rows ``(n, d)``, standardised.
    targets
        Their targets ``(n,)``, of about zero mean and unit variance.
    held_out
        Whether a member does not see a row, shape ``(s, n)``.
    hidden
        The widths of the hidden layers.
    learning_rate
        The first step size of Adam; it falls to zero along a cosine.
    steps
        The number of steps.
    batch_size
        The number of rows in a step.
    generator
        The source of weights and batches.

    Returns
    -------
    tuple of arrays
        Weights ``(s, inputs, outputs)`` and biases ``(s, 1, outputs)`` of the layers, in turn.
    """
    with single_thread(), torch.enable_grad():
        widths = (matrix.shape[1], *hidden, 1)
        layers = _initial_layers(len(held_out), widths, generator)
        rows = torch.from_numpy(matrix.astype(np.float32)).expand(len(held_out), -1, -1)
        labels = torch.from_numpy(targets.astype(np.float32)).expand(len(held_out), -1)
        batches = _Batches(held_out, batch_size, generator)
        judge = torch.from_numpy(_mean_over(held_out.T).T)
        optimiser = torch.optim.Adam(layers, lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        best, smallest_error = layers, float("inf")
        for step in range(1, steps + 1):
            chosen, weights = batches.draw()
            predictions = _forward(layers, rows[chosen])
            loss = (weights * (predictions - labels[chosen]).square()).sum()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            if held_out.any() and (step % CHECK_EVERY == 0 or step == steps):
                with torch.no_grad():
                    unseen = (judge * _forward(layers, rows)).sum(dim=0)
                    error = float((unseen - labels[0]).square().mean())
                if error < smallest_error:
                    smallest_error = error
                    best = [layer.detach().clone() for layer in layers]
        return tuple(layer.detach().numpy().astype(np.float64) for layer in best)


class _Batches:
    """The rows that each member sees in a step.

    Where all rows that a member may see fit into a batch, a batch is all rows and those left out
    have weight zero, which needs no copies. Otherwise rows are drawn without replacement.
    """

    def __init__(
        self, held_out: NDArray[np.bool_], batch_size: int, generator: np.random.Generator
    ) -> None:
        self.held_out = held_out
        self.size = min(batch_size, int((~held_out).sum(axis=1).min()))
        self.draws = bool(batch_size < (~held_out).sum(axis=1).max())
        self.generator = generator
        self.members = torch.arange(len(held_out)).unsqueeze(1)
        self.weights = torch.from_numpy(_mean_over(~held_out))

    def draw(self) -> tuple[Any, Tensor]:
        """Return an index into ``(s, n)`` and the weights of the rows that it selects."""
        if not self.draws:
            return ..., self.weights
        # Random keys, with those of unseen rows at the end, order each member's rows.
        keys = self.generator.random(self.held_out.shape) + self.held_out
        rows = np.argpartition(keys, self.size - 1, axis=1)[:, : self.size]
        weights = torch.full(rows.shape, 1 / self.size, dtype=torch.float32)
        return (self.members, torch.from_numpy(rows)), weights


def _mean_over(selected: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return weights ``(s, n)`` that average over the selected entries of each row."""
    counts = selected.sum(axis=1, keepdims=True)
    weights: NDArray[np.float32] = (selected / np.maximum(counts, 1)).astype(np.float32)
    return weights


def _initial_layers(
    members: int, widths: Sequence[int], generator: np.random.Generator
) -> list[Tensor]:
    """Draw weights of variance ``2 / inputs`` and zero biases; the last layer starts small."""
    gains = [*(1.0 for _ in widths[2:]), 0.1]
    layers: list[Tensor] = []
    for inputs, outputs, gain in zip(widths, widths[1:], gains, strict=False):
        weights = gain * np.sqrt(2 / inputs) * generator.normal(size=(members, inputs, outputs))
        biases = np.zeros((members, 1, outputs))
        layers += [
            torch.tensor(values, dtype=torch.float32, requires_grad=True)
            for values in (weights, biases)
        ]
    return layers


def _forward(layers: Sequence[Tensor], rows: Tensor) -> Tensor:
    """Return the outputs ``(s, b)`` of all members for their rows ``(s, b, d)``."""
    *hidden, weights, biases = layers
    for index in range(0, len(hidden), 2):
        rows = torch.baddbmm(hidden[index + 1], rows, hidden[index]).relu()
    return torch.baddbmm(biases, rows, weights).squeeze(-1)

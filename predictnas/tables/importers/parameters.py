"""What must hold of the numbers of parameters that a benchmark publishes.

They tell apart operations that the paths of a cell do not: a table whose codes were exchanged has
other numbers than the networks that the space builds.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from predictnas.spaces import Archs, Space
from predictnas.tables.importers.invariants import misread

__all__ = ["check_parameter_order", "check_parameters"]

SAME_ORDER = 0.8
"""Rank correlation of numbers of parameters from which on their order is the same."""

NETWORKS = 8
"""Networks to build for their number of parameters."""


def check_parameters(
    space: Space,
    archs: Archs,
    parameters: ArrayLike,
    *,
    input_shape: tuple[int, int, int],
    num_classes: int,
    scale: Mapping[str, int],
    source: str,
) -> int:
    """Compare published numbers of parameters with those of the networks that the space builds.

    Parameters
    ----------
    space, archs
        The architectures (n, len(choices)); up to 8 of them are built.
    parameters
        Their published numbers of trainable parameters, shape ``(n,)``.
    input_shape, num_classes, scale
        Those of the published networks.
    source
        The file, for the message.

    Returns
    -------
    int
        How many networks were built.

    Raises
    ------
    InputError
        When more than one in eight differs: publications have a few wrong numbers.
    """
    published = np.asarray(parameters, dtype=np.float64)
    rows = _spread(np.flatnonzero(np.isfinite(published)), NETWORKS)
    counts = [_count(space, archs[row], input_shape, num_classes, scale) for row in rows]
    wrong = [k for k, row in enumerate(rows) if abs(counts[k] - published[row]) > 0.5]
    if 8 * len(wrong) > len(rows):
        row, count = rows[wrong[0]], counts[wrong[0]]
        raise misread(
            source,
            f"{space.format(archs[row])} has {published[row]:,.0f} parameters there, and "
            f"{count:,} in the network of {space.name}; so it is for {len(wrong)} of {len(rows)}",
        )
    return len(rows)


def check_parameter_order(space: Space, archs: Archs, parameters: ArrayLike, *, source: str) -> int:
    """Compare the order of published numbers of parameters with that of the space's networks.

    For publications whose networks are of another scale than any of ours: Spearman's ρ of the
    numbers of up to 24 architectures is at least 0.8.

    Parameters
    ----------
    space, archs
        The architectures (n, len(choices)).
    parameters
        Their published numbers of parameters, in any unit, shape ``(n,)``.
    source
        The file, for the message.

    Returns
    -------
    int
        How many networks were built; 0 where there are too few.

    Raises
    ------
    InputError
        When the order is another.
    """
    published = np.asarray(parameters, dtype=np.float64)
    rows = _spread(np.flatnonzero(np.isfinite(published)), 3 * NETWORKS)
    if len(rows) < 2 * NETWORKS:
        return 0
    counts = [_count(space, archs[row], (3, 32, 32), 10, {}) for row in rows]
    found = float(stats.spearmanr(counts, published[rows]).statistic)
    if not found >= SAME_ORDER:
        raise misread(
            source,
            "the numbers of parameters there are not in the order of those in the networks of "
            f"{space.name} (rank correlation {found:.2f})",
        )
    return len(rows)


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return `count` rows, or all if they are fewer, evenly spread."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]


def _count(
    space: Space,
    arch: NDArray[np.int64],
    input_shape: tuple[int, int, int],
    num_classes: int,
    scale: Mapping[str, int],
) -> int:
    """Return the number of trainable parameters of a network."""
    import torch

    with torch.random.fork_rng():
        network = space.build(arch, input_shape, num_classes, **scale)
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)

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

SAME_ORDER = 0.6
"""Rank correlation (Somers' D) of numbers of parameters from which on their order is the same."""

SAME_ORDER_AT_ANY_SCALE = {"nasbench201": 0.9}
"""That of spaces where the order does not depend on the scale; a few numbers may be wrong."""

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

    For networks of another scale than any of ours: of the pairs among up to 24 architectures whose
    published numbers differ, so rounded as they may be, the share in the same order less that in
    the opposite one (Somers' D) is at least 0.6. In NAS-Bench-201 it is at least 0.9, as the order
    is the same at every scale: that of the numbers of 3 × 3 and then of 1 × 1 convolutions.

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
        How many networks were built; 0 where there are too few, or all numbers are the same.

    Raises
    ------
    InputError
        When the order is another.
    """
    published = np.asarray(parameters, dtype=np.float64)
    rows = _spread(np.flatnonzero(np.isfinite(published)), 3 * NETWORKS)
    if len(rows) < 2 * NETWORKS or not np.ptp(published[rows]):
        return 0
    counts = [_count(space, archs[row], (3, 32, 32), 10, {}) for row in rows]
    found = float(stats.somersd(published[rows], counts).statistic)
    if found < SAME_ORDER_AT_ANY_SCALE.get(space.name, SAME_ORDER):
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

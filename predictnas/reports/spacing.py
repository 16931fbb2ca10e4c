"""Where things stand on paper so that all can be seen."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["scale_floor", "spread"]


def spread(
    wanted: Sequence[float], gaps: Sequence[float], weights: Sequence[float] | None = None
) -> list[float]:
    """Move places as little as possible so that neighbours keep their distance.

    Minimises Σ wᵢ (xᵢ − wantedᵢ)² subject to xᵢ₊₁ − xᵢ ≥ gapsᵢ, which is an isotonic regression
    after subtracting the summed gaps.

    Parameters
    ----------
    wanted
        Where ``n`` things would stand; they keep this order, ascending or not.
    gaps
        Smallest distances between neighbours, ``n − 1``.
    weights
        How much each resists, ``n``; by default all the same.
    """
    from scipy.optimize import isotonic_regression

    offsets = np.concatenate([[0.0], np.cumsum(gaps)])
    places = isotonic_regression(np.asarray(wanted) - offsets, weights=weights).x + offsets
    result: list[float] = places.tolist()
    return result


def scale_floor(values: NDArray[np.float64]) -> float:
    """Return from where accuracies are drawn to scale; dead candidates would flatten the rest.

    max(min, q − 1.5 (max − q)) with the lower quartile q.

    Parameters
    ----------
    values
        Accuracies, at least one.
    """
    quartile, highest = float(np.quantile(values, 0.25)), float(values.max())
    return max(float(values.min()), quartile - 1.5 * (highest - quartile))

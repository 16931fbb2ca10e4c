"""The fitted numbers of a Gaussian process."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hyperparameters"]


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """The fitted numbers of a Gaussian process.

    Attributes
    ----------
    lengthscales
        One for every group of columns, shape ``(g,)``.
    outputscale
        The prior variance of the function.
    noise
        The variance of observation noise.
    mean
        The constant prior mean.
    """

    lengthscales: NDArray[np.float64]
    outputscale: float
    noise: float
    mean: float

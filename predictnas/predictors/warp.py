"""A monotone warp that makes a skewed column of numbers close to normal."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

__all__ = ["YeoJohnson"]

# Standardised values are clipped here, so that squares of outliers stay finite.
LARGEST = 1e9
# The same for the exponent in the inverse: e^300, squared, is still finite.
LARGEST_EXPONENT = 300.0
# Numbers that differ relatively by less are equal but for rounding errors.
ROUNDING = 1e-13
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
# Numbers whose nodes are held at once; more would leave the processor's cache.
CHUNK_NUMBERS = 512


@dataclass(frozen=True)
class YeoJohnson:
    r"""The Yeo-Johnson power transform of robustly standardised numbers.

    With :math:`x = (y - c) / s` and the power :math:`\lambda`,

    .. math::
        \psi(x) = \begin{cases}
            ((1 + x)^\lambda - 1) / \lambda & x \ge 0 \\
            -((1 - x)^{2 - \lambda} - 1) / (2 - \lambda) & x < 0
        \end{cases}, \qquad z = (\psi(x) - m) / t

    (logarithms where a denominator vanishes). Powers above 1 compress a long lower tail, such as
    that of accuracies. The power is kept within [0, 2], where the inverse exists everywhere, so
    a prediction may lie beyond the best label seen. A power of 1 is standardisation alone.

    Attributes
    ----------
    power
        :math:`\lambda`.
    centre, scale
        The median `c` and spread `s` of the numbers, in their unit.
    mean, std
        The mean `m` and standard deviation `t` of the transformed numbers.

    References
    ----------
    I. Yeo, R. Johnson. A new family of power transformations to improve normality or symmetry.
    Biometrika 87 (4), 2000.
    """

    power: float
    centre: float
    scale: float
    mean: float
    std: float

    @classmethod
    def learn(cls, values: NDArray[np.float64], power: float | None = None) -> Self:
        """Choose the warp for `n` numbers.

        The power maximises the likelihood of normality under a wide normal prior around 1, which
        settles it where there are few numbers. Where all numbers are equal there is no spread to
        learn; a tenth of their magnitude stands in for it, or 1 if they are zero.

        Parameters
        ----------
        values
            Finite numbers, shape ``(n,)``.
        power
            The power, None to learn it.
        """
        centre = float(np.median(values))
        scale = _spread(values, centre)
        if scale == 0.0:
            return cls(1.0, centre, abs(centre) / 10 or 1.0, 0.0, 1.0)
        x = _standardise(values, centre, scale)
        if power is None:
            # Rounding makes the choice depend on the unit of the values in the last digits.
            power = round(float(_most_likely_power(x)), 6)
        warped = _psi(x, power)
        std = float(warped.std())
        return cls(power, centre, scale, float(warped.mean()), std if std > 0.0 else 1.0)

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the warped numbers: about zero mean and unit variance."""
        x = _standardise(values, self.centre, self.scale)
        return (_psi(x, self.power) - self.mean) / self.std

    def inverse(self, warped: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the numbers whose warped values are given."""
        x = _psi_inverse(warped * self.std + self.mean, self.power)
        return x * self.scale + self.centre

    def moments(
        self, mean: NDArray[np.float64], std: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of numbers whose warped values are normal.

        They are exact for a power of 1 and come from Gauss-Hermite quadrature otherwise.

        Parameters
        ----------
        mean, std
            Of the warped values, any shape.
        """
        if self.power == 1.0:
            unit = self.std * self.scale
            return (mean * self.std + self.mean) * self.scale + self.centre, std * unit
        means, stds = mean.reshape(-1, 1), std.reshape(-1, 1)
        first, second = np.empty((2, len(means)))
        for start in range(0, len(means), CHUNK_NUMBERS):
            part = slice(start, start + CHUNK_NUMBERS)
            nodes = self.inverse(means[part] + stds[part] * NODES)
            first[part] = nodes @ WEIGHTS
            second[part] = (nodes - first[part, None]) ** 2 @ WEIGHTS
        return first.reshape(mean.shape), np.sqrt(second).reshape(mean.shape)


def _spread(values: NDArray[np.float64], centre: float) -> float:
    """Return a robust standard deviation, falling back on others where most values are tied."""
    deviations = np.abs(values - centre)
    widest = float(deviations.max())
    if widest <= ROUNDING * abs(centre):
        return 0.0
    lower, upper = np.percentile(values, [25, 75])
    candidates = (1.4826 * float(np.median(deviations)), float(upper - lower) / 1.349)
    return next((s for s in candidates if s > widest / LARGEST), float(deviations.mean()))


def _standardise(values: NDArray[np.float64], centre: float, scale: float) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return np.clip((values - centre) / scale, -LARGEST, LARGEST)


def _most_likely_power(x: NDArray[np.float64]) -> float:
    log_derivative = float((np.sign(x) * np.log1p(np.abs(x))).sum())

    def negative_log_posterior(power: float) -> float:
        variance = max(float(_psi(x, power).var()), 1e-300)
        likelihood = -0.5 * len(x) * np.log(variance) + (power - 1) * log_derivative
        return float(0.5 * (power - 1) ** 2 - likelihood)

    return float(minimize_scalar(negative_log_posterior, bounds=(0, 2), method="bounded").x)


def _psi(x: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    size, powers = np.log1p(np.abs(x)), _powers(x, power)
    with np.errstate(invalid="ignore"):
        return np.sign(x) * np.where(powers == 0.0, size, np.expm1(powers * size) / powers)


def _psi_inverse(z: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    size, powers = np.abs(z), _powers(z, power)
    with np.errstate(invalid="ignore"):
        exponent = np.where(powers == 0.0, size, np.log1p(powers * size) / powers)
    return np.sign(z) * np.expm1(np.minimum(exponent, LARGEST_EXPONENT))


def _powers(x: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Return the power on the side of zero where a number is."""
    return np.where(x >= 0, power, 2.0 - power)
